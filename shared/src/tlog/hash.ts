/** The hashes of a Merkle tree of entries: RFC 9162 section 2.1.1, as RFC 6962 section 2.1 has them, with SHA-256. */
import { hash } from 'node:crypto';
import { ensure } from '../ground/errors.ts';

export const HASH_BYTES = 32;

/** The root of a tree without entries: the hash of nothing. */
export const EMPTY_ROOT: Uint8Array = hash('sha256', '', 'buffer');

/** Leaves and nodes are told apart by their first byte, so that no node can be presented as an entry. */
const [LEAF, NODE] = [0, 1];

/** The hash of one entry. */
export function leafHash(entry: Uint8Array): Uint8Array {
  const input = Buffer.allocUnsafe(entry.length + 1);
  input[0] = LEAF;
  input.set(entry, 1);
  return hash('sha256', input, 'buffer');
}

/** A node is made before the next one is: one place in memory serves all. */
const pair = Buffer.alloc(1 + 2 * HASH_BYTES, NODE);

/** The hash of a node by those of its two children. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  pair.set(left, 1);
  pair.set(right, 1 + HASH_BYTES);
  return hash('sha256', pair, 'buffer');
}

/** The hash above a power of two of neighbours. Throws tlog for another number of them. */
export function hashOfComplete(hashes: readonly Uint8Array[]): Uint8Array {
  let level = hashes;
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let at = 0; at < level.length; at += 2)
      above.push(nodeHash(existing(level[at]), existing(level[at + 1])));
    level = above;
  }
  return existing(level[0]);
}

function existing(found: Uint8Array | undefined): Uint8Array {
  ensure(found !== undefined, 'tlog', 'a complete subtree has a power of two of hashes');
  return found;
}

/** The root above complete subtrees of falling size, left to right; EMPTY_ROOT for none. */
export function rootOfSubtrees(subtrees: readonly Uint8Array[]): Uint8Array {
  return subtrees.length === 0 ? EMPTY_ROOT : subtrees.reduceRight((right, left) => nodeHash(left, right));
}

/** Throws tlog unless these are the bytes of a hash. */
export function ensureHash(bytes: Uint8Array, what: string): void {
  ensure(bytes.length === HASH_BYTES, 'tlog', `${what} has ${bytes.length} bytes; a hash has ${HASH_BYTES}`);
}
