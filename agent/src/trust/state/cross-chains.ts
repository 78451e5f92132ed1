/** Chains from a CA above to the roots, as the CA sends them: bounded here, and verified where they are written. */
import { equal } from '@chancery/shared/ground/bytes.ts';
import { MAX_CROSS_CHAIN } from '@chancery/shared/x509/verify/cross.ts';
import type { State } from './snapshot.ts';

/** X.509 DER, each chain with its cross-certificate first. */
export type CrossChains = readonly (readonly Uint8Array[])[];

/** A bundle has two roots during a rotation, and one that stands by. */
export const MAX_CHAINS = 8;
/** Of all together: they are in memory and in the file of the last known good state. */
const MAX_BYTES = 256 * 1024;

/** None if the CA sends more than any needs: they are no part of what is acknowledged. */
export function crossChainsIn({ bundle }: State): CrossChains {
  const chains = (bundle?.crossChains ?? []).map(({ certificates }) => certificates);
  const bytes = chains.flat().reduce((sum, { length }) => sum + length, 0);
  const isBounded = chains.length <= MAX_CHAINS && chains.every(({ length }) => length <= MAX_CROSS_CHAIN);
  return isBounded && bytes <= MAX_BYTES ? chains.map((each) => each.map((der) => Uint8Array.from(der))) : [];
}

/** Whether both have the same chains, in this order. */
export const isSameChains = (a: CrossChains, b: CrossChains): boolean =>
  a.length === b.length && a.every((each, n) => isSame(each, b[n] ?? []));

const isSame = (a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean =>
  a.length === b.length && a.every((der, n) => equal(der, b[n] ?? new Uint8Array()));
