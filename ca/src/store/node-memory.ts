/** What attestors remember of a node: read, judged, and swapped where it is still the same. */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { NodeStore, TokenName, TokenStore } from './store.ts';

/** Each failed try means that another attestation of the same node was written in between. */
const TRIES = 100;

type Next = (previous: string | undefined) => string;

/**
 * `advance` stores `next(previous)` for the node. What `next` throws leaves the old state and is thrown on; `next` is
 * asked again where the state has changed meanwhile. Both throw store.
 */
export function nodeMemory(store: NodeStore & TokenStore) {
  return {
    bind: (token: TokenName, keySha256: Uint8Array, until: Date) => store.bind(token, keySha256, until),
    advance: async (platform: string, node: string, next: Next): Promise<void> => {
      const name = { platform, node };
      for (let tries = 0; tries < TRIES; tries += 1) {
        const before = await store.nodeState(name);
        const after = next(before);
        if (before === after || (await store.swapNodeState(name, before, after))) return;
      }
      throw new IdentityError(
        'store',
        `the state of node ${platform}/${node} changed ${TRIES} times; try again`,
      );
    },
  };
}
