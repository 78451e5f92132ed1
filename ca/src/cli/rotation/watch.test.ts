/** `rotate --auto` against a CA that answers as it is told. */
import type { Rotation } from '@chancery/proto/gen/chancery/v1/rotation.ts';
import type { Io } from '@chancery/shared/cli/program.ts';
import { expect, test, vi } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { rotateAll } from './watch.ts';

const [OLD, NEW] = ['40aa', '40bb'];
const at = (stage: string, states: Readonly<Record<string, string>>): Rotation =>
  ({
    ...{
      stage,
      next: '',
      waits: [],
      stragglers: [],
      unheard: [],
      chained: [],
      above: [],
      warnings: [],
      leftBehind: [],
      agents: 0n,
      stragglerCount: 0n,
      ...{ kind: '', made: '', endedAt: 0n },
    },
    roots: Object.entries(states).map(([serial, state]) => ({
      ...{ serial, state, algorithm: 'ecdsa-p256' },
      ...{ movedAt: 0n, notAfter: 0n, keyHome: 'file' },
    })),
  }) as unknown as Rotation;
const IDLE = at('idle', { [OLD]: 'active' });
const PUBLISHED = at('published', { [OLD]: 'active', [NEW]: 'published' });
const RETIRING = at('retiring', { [NEW]: 'active', [OLD]: 'retiring' });
const BACK = at('retiring', { [OLD]: 'active', [NEW]: 'retiring' });
const DONE = at('idle', { [NEW]: 'active' });

/** The CA is at the first of these, and at the next one after each step. */
async function auto(...states: readonly Rotation[]) {
  const left = [...states];
  const next = vi.fn(async () => left.shift() ?? DONE);
  const io: Io = { out: () => {}, err: () => {}, columns: 80, signal: new AbortController().signal } as never;
  const first = await next();
  next.mockClear();
  const how = { json: false, olderThan: undefined };
  const status = rotateAll({ status: async () => first, begin: next, next }, io, how);
  return { ended: await status.catch((error: unknown) => error), next };
}

test.each([
  ['begun here', [IDLE, PUBLISHED, RETIRING, DONE]],
  ['gone on with', [RETIRING, DONE]],
])('a rotation that is %s ends with 0 when the new root signs alone', async (_, states) => {
  expect((await auto(...states)).ended).toBe(0);
});

test.each([
  ['before the new root signs', [PUBLISHED, IDLE], 1],
  ['while the old one retires, and removes nothing then', [PUBLISHED, RETIRING, BACK, IDLE], 2],
])('a rotation that somebody takes back %s is no success', async (_, states, steps) => {
  const { ended, next } = await auto(...states);
  expect(ended).toEqual(refusal('rotation', /^the rotation was taken back: root 40aa signs, not root 40bb/));
  expect(next).toHaveBeenCalledTimes(steps);
});
