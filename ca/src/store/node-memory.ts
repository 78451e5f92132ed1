/** What attestors remember of a node: read, checked, and swapped where it is still the same. */
import { type Node, nodeName } from '@chancery/shared/evidence/node.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { NodeStore, TokenName, TokenStore } from './store.ts';

/** Each failed try means that another process has changed the state in between. */
const TRIES = 100;

type Next = (previous: string | undefined) => string;

/**
 * `advance` stores `next(previous)` for the node. What `next` throws leaves the old state and is thrown on; `next` is
 * asked again if another process has changed the state meanwhile. Both throw store.
 */
export function nodeMemory(store: NodeStore & TokenStore) {
  /** The last advance of each node: those of this process take turns, so that none of many fails for the others. */
  const last = new Map<string, Promise<void>>();
  return {
    bind: (token: TokenName, keySha256: Uint8Array, until: Date) => store.bind(token, keySha256, until),
    advance: (platform: string, node: string, next: Next): Promise<void> => {
      const name = { platform, node };
      const key = nodeName(name);
      const turn = (last.get(key) ?? Promise.resolve()).catch(() => {}).then(() => swap(store, name, next));
      last.set(key, turn);
      const left = (): void => {
        if (last.get(key) === turn) last.delete(key);
      };
      turn.then(left, left);
      return turn;
    },
  };
}

async function swap(store: NodeStore, name: Node, next: Next): Promise<void> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const before = await store.nodeState(name);
    const after = next(before);
    if (before === after || (await store.swapNodeState(name, before, after))) return;
  }
  const says = `the state of node ${nodeName(name)} changed ${TRIES} times; try again`;
  throw new IdentityError('store', says);
}
