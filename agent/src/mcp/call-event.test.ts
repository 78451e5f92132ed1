import { expect, test } from 'vitest';
import { bounded, type CallEvent, sha256 } from './call-event.ts';

const event = (more: Partial<CallEvent>) =>
  ({ id: 'a', time: new Date(0), bytes: 9_999, ...more }) as CallEvent;

test('an event without long text stays the same', () => {
  const short = event({ tool: 'x'.repeat(2_048) });
  expect(bounded(short)).toBe(short);
});

test('longer text is cut, with its length, and the rest of the event stays', () => {
  const long = event({ tool: 'x'.repeat(2_049), reason: 'y'.repeat(4_000), rule: 'r' });
  const [tool, reason] = [
    `${'x'.repeat(256)}... (2049 characters)`,
    `${'y'.repeat(256)}... (4000 characters)`,
  ];
  expect(bounded(long)).toEqual({ ...long, tool, reason });
});

test('a character is not cut in half', () => {
  const { tool = '' } = bounded(event({ tool: `${'x'.repeat(255)}${'🔥'.repeat(2_000)}` }));
  expect([tool.isWellFormed(), tool.length]).toEqual([true, 256 + '... (4255 characters)'.length]);
});

test('a digest is of the UTF-8 of a text', () => {
  expect(sha256('é')).toBe('4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c');
});

test('I242 a secret is masked before text is cut, and what the gateway found out stays', () => {
  const token = `ghp_${'a1B2'.repeat(9)}`;
  // So that the cut would leave all but its last characters.
  const detail = `${'x '.repeat(109)}${token}${' y'.repeat(2_000)}`;
  const caller = `spiffe://prod.example/${token}` as CallEvent['caller'];
  const kept = bounded(event({ detail, reason: `Bearer  ${token}`, caller }));
  expect(kept.detail).not.toContain('ghp_');
  expect(kept).toMatchObject({
    detail: expect.stringMatching(/ characters\)$/),
    reason: '[masked: bearer token]',
  });
  expect(kept.caller).toBe(caller);
});
