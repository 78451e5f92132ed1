/**
 * The chain for peers that trust only a CA above: that of the SVID, then what the CA above has certified. The CA sends
 * that with the bundle, and it is verified here before a program gets it.
 */
import { equal } from '@chancery/shared/ground/bytes.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { isSameName } from '@chancery/shared/x509/names.ts';
import { verifyCross } from '@chancery/shared/x509/verify/cross.ts';
import { namesOf } from '@chancery/shared/x509/verify/name-constraints.ts';

/** X.509 DER, leaf first. */
export interface WrittenChain {
  readonly chain: readonly Uint8Array[];
  /** Why it is the short one though the full one is wanted; undefined if it is as wanted. */
  readonly lacks: string | undefined;
}

export interface ChainsAbove {
  readonly bundle: Bundle;
  /** Not verified; each with its cross-certificate first. */
  readonly crossChains: readonly (readonly Uint8Array[])[];
  readonly now: Date;
}

/** The short one where there is no other that peers would take. */
export function fullChain(
  short: readonly Uint8Array[],
  { bundle, crossChains, now }: ChainsAbove,
): WrittenChain {
  try {
    const own = short.map(parseCertificate);
    const top = own.at(-1);
    const root = bundle.authorities
      .map(parseCertificate)
      .find(({ subject }) => top !== undefined && isSameName(subject, top.issuer, 'chain'));
    if (root === undefined)
      return { chain: short, lacks: 'the root of the certificate is not in the bundle' };
    const chains = crossChains.map((each) => each.map(parseCertificate));
    const chain = chains.find(([cross]) => cross !== undefined && equal(cross.spki, root.spki));
    if (chain === undefined) return { chain: short, lacks: NONE };
    const names = own
      .flatMap((each) => namesOf(each, 'chain'))
      .map((name) => ({ name, says: 'this certificate' }));
    verifyCross({ chain, root, names, now, code: 'chain' });
    return { chain: [...short, ...chain.map(({ der }) => der)], lacks: undefined };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return { chain: short, lacks: `the chain from the CA above is not in order: ${error.message}` };
  }
}

const NONE =
  'the CA has no cross-certificate for the root of this certificate (chancery-ca authorities request --above)';
