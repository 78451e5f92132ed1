/**
 * Verifies inclusion and consistency proofs: RFC 9162 sections 2.1.3.2 and 2.1.4.2. Numbers, lengths and sizes are
 * checked before anything is hashed.
 */
import { equal } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { ensureHash, nodeHash } from './hash.ts';
import { consistencyRanges, inclusionRanges } from './ranges.ts';

export interface InclusionClaim {
  /** Of the entry, from 0. */
  readonly index: number;
  readonly size: number;
  readonly leaf: Uint8Array;
  readonly root: Uint8Array;
  /** From the sibling of the leaf to the child of the root. */
  readonly proof: readonly Uint8Array[];
}

/** Throws tlog unless the proof shows that the tree of this size and root has the leaf at this index. */
export function verifyInclusion({ index, size, leaf, root, proof }: InclusionClaim): void {
  ensureSize(size, 'the tree');
  ensure(isCount(index) && index < size, 'tlog', `there is no entry ${index} in a tree of ${size}`);
  ensureHashes(proof, inclusionRanges(index, size).length);
  ensureHash(leaf, 'the leaf');
  ensureHash(root, 'the root');
  let [fn, sn, found] = [index, size - 1, leaf];
  for (const each of proof) {
    if (isOdd(fn) || fn === sn) {
      found = nodeHash(each, found);
      for (; !isOdd(fn) && fn > 0; sn = half(sn)) fn = half(fn);
    } else found = nodeHash(found, each);
    [fn, sn] = [half(fn), half(sn)];
  }
  ensure(
    equal(found, root),
    'tlog',
    `the proof does not lead from entry ${index} to the root of ${size} entries`,
  );
}

export interface ConsistencyClaim {
  readonly size1: number;
  readonly root1: Uint8Array;
  readonly size2: number;
  readonly root2: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** Throws tlog unless the proof shows that the first tree is the beginning of the second one. */
export function verifyConsistency({ size1, root1, size2, root2, proof }: ConsistencyClaim): void {
  ensureSize(size1, 'the first tree');
  ensureSize(size2, 'the second tree');
  ensure(size1 <= size2, 'tlog', `a tree of ${size2} entries does not contain one of ${size1}`);
  ensure(size1 > 0 || size2 === 0, 'tlog', 'the empty tree is the beginning of every tree: nothing to prove');
  ensureHash(root1, 'the first root');
  ensureHash(root2, 'the second root');
  ensureHashes(proof, size1 === size2 ? 0 : consistencyRanges(size1, size2).length);
  const says = `the trees of ${size1} and of ${size2} entries are not one history`;
  if (size1 === size2) {
    ensure(equal(root1, root2), 'tlog', says);
    return;
  }
  let [fn, sn] = [size1 - 1, size2 - 1];
  for (; isOdd(fn); sn = half(sn)) fn = half(fn);
  const [first, ...rest] = fn === 0 ? [root1, ...proof] : proof;
  ensure(first !== undefined, 'tlog', 'the proof is empty');
  let [left, right] = [first, first];
  for (const each of rest) {
    if (isOdd(fn) || fn === sn) {
      [left, right] = [nodeHash(each, left), nodeHash(each, right)];
      for (; !isOdd(fn) && fn > 0; sn = half(sn)) fn = half(fn);
    } else right = nodeHash(right, each);
    [fn, sn] = [half(fn), half(sn)];
  }
  ensure(equal(left, root1) && equal(right, root2), 'tlog', says);
}

/** Bitwise operators would cut a number to 32 bits. */
const half = (n: number): number => Math.floor(n / 2);
const isOdd = (n: number): boolean => n % 2 === 1;
const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;

function ensureSize(size: number, what: string): void {
  ensure(isCount(size), 'tlog', `${what} has a size of ${size}; a number of entries is expected`);
}

function ensureHashes(proof: readonly Uint8Array[], length: number): void {
  ensure(proof.length === length, 'tlog', `the proof has ${proof.length} hashes; ${length} are expected`);
  for (const each of proof) ensureHash(each, 'a hash of the proof');
}
