import { expect, test, vi } from 'vitest';
import { newLogKey } from '../../../test/kit/voucher.ts';
import { StateNotes } from './state-notes.ts';

const digest = new Uint8Array(32);

test('a state is signed once, and a policy once for each agent', () => {
  const notes = new StateNotes(newLogKey('prod.example'));
  const claim = vi.fn(() => ({ part: 'policy', number: 7n, digest }) as const);
  const [state, next] = [{}, {}];
  const ids = ['spiffe://prod.example/a', 'spiffe://prod.example/b', undefined];
  const made = ids.map((id) => notes.of(state, id, claim));
  expect(ids.map((id) => notes.of(state, id, claim))).toEqual(made);
  expect(claim).toHaveBeenCalledTimes(3);
  expect(new Set(made).size).toBe(3);
  expect(made[0]).toMatch(/^prod\.example\/chancery\/log state v1\npolicy\n7\nspiffe:\/\/prod\.example\/a\n/);
  notes.of(next, undefined, claim);
  expect(claim).toHaveBeenCalledTimes(4);
});
