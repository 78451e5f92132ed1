import { LiveValue } from '@chancery/shared/ground/source.ts';
import { expect, test, vi } from 'vitest';
import type { TrustState } from '../state/trust-state.ts';
import { type FollowOptions, followTrust } from './follow.ts';
import type { WatchDeps } from './watch.ts';

let watching: WatchDeps | undefined;
vi.mock('./watch.ts', () => ({
  watchTrust: async (deps: WatchDeps) => {
    watching = deps;
  },
}));
vi.mock('../state/ends.ts', () => ({ watchEnds: async () => {} }));

/** Each snapshot is taken or refused, and written or not, as the test says. */
function follow() {
  const state = {
    saved: Promise.resolve(),
    bundle: new LiveValue(() => new Error('none')),
    accept: () => {},
  };
  const { snapshotFailure } = followTrust(
    state as unknown as TrustState,
    { clock: { now: () => new Date(0) } } as FollowOptions,
    new AbortController().signal,
  );
  const accept = (saved: Promise<void>, refused?: Error): void => {
    state.accept = () => {
      state.saved = saved;
      if (refused !== undefined) throw refused;
    };
    try {
      watching?.accept({ sequence: 1n } as Parameters<WatchDeps['accept']>[0], undefined);
    } catch {}
  };
  return { snapshotFailure, accept };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('a snapshot that cannot be written is a failure until one is', async () => {
  const { snapshotFailure, accept } = follow();
  accept(Promise.reject(new Error('the disk is full')));
  await turn();
  expect(snapshotFailure()).toBe('the disk is full');
  accept(Promise.resolve());
  await turn();
  expect(snapshotFailure()).toBeUndefined();
});

test('a snapshot that is refused stays one, though the one before it is written later', async () => {
  const { snapshotFailure, accept } = follow();
  const disk = Promise.withResolvers<void>();
  accept(disk.promise);
  accept(Promise.resolve(), new Error('the policy cannot be read'));
  disk.resolve();
  await turn();
  expect(snapshotFailure()).toBe('the policy cannot be read');
});
