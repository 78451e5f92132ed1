import { expect, test } from 'vitest';
import { KnownNames } from './names.ts';

test('a name is known once a call of it has succeeded, at that server', () => {
  const names = new KnownNames();
  expect(names.of('s', 'echo', false)).toBeUndefined();
  expect(names.of('s', 'echo', true)).toBe('echo');
  expect(names.of('s', 'echo', false)).toBe('echo');
  expect(names.of('t', 'echo', false)).toBeUndefined();
  expect(names.of('s', undefined, true)).toBeUndefined();
  expect(names.of('s', 'x'.repeat(129), true)).toBeUndefined();
});

test('each server has room for 200 names', () => {
  const names = new KnownNames();
  const known = Array.from({ length: 300 }, (_, n) => names.of('s', `tool-${n}`, true));
  expect(known.filter((name) => name !== undefined)).toHaveLength(200);
  expect(names.of('s', 'tool-0', false)).toBe('tool-0');
  expect(names.of('t', 'tool-299', true)).toBe('tool-299');
});
