/**
 * Decides which revocation lists of the CA are taken: each must be of an issuer that the bundle trusts, and not older
 * than the one that is held. Pure.
 */
import { equal } from '@chancery/shared/ground/bytes.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { readBasicConstraints } from '@chancery/shared/x509/extensions.ts';
import { verifyCrl } from '@chancery/shared/x509/verify/crl.ts';
import { verifyPath } from '@chancery/shared/x509/verify/path.ts';

/** A list as the CA sent it. */
export interface OfferedCrl {
  /** X.509 DER. */
  readonly issuer: Uint8Array;
  readonly der: Uint8Array;
}

/** A list that is verified. */
export interface HeldCrl extends OfferedCrl {
  readonly number: bigint;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
}

export interface Accepted {
  /** In an order that depends on nothing but the issuers. */
  readonly lists: readonly HeldCrl[];
  /** Why some of what was offered is not among them; the list that was held before stays. */
  readonly problems: readonly string[];
}

interface Known {
  readonly bundle: Bundle;
  readonly held: readonly HeldCrl[];
  readonly now: Date;
}

/** One bad list keeps no other one out. A list that is held and is not offered stays until its end. */
export function acceptCrls(offered: readonly OfferedCrl[], known: Known): Accepted {
  const anchors = known.bundle.authorities.map((der) => parseCertificate(der));
  const problems: string[] = [];
  const lists = new Map<string, HeldCrl>();
  for (const each of known.held) if (known.now < each.nextUpdate) lists.set(nameOf(each), each);
  for (const each of offered)
    try {
      lists.set(nameOf(each), accept(each, anchors, known));
    } catch (error) {
      if (!isRefusal(error)) throw error;
      problems.push(error.message);
    }
  return { lists: [...lists].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, list]) => list), problems };
}

const nameOf = ({ issuer }: OfferedCrl): string => Buffer.from(issuer).toString('latin1');

/** Throws crl, certificate_parse, chain, chain_too_long, expired_peer. */
function accept({ issuer, der }: OfferedCrl, anchors: readonly Certificate[], known: Known): HeldCrl {
  const { held, now } = known;
  const certificate = trusted(issuer, anchors, now);
  const before = held.find((each) => equal(each.issuer, issuer));
  // A list of a clock that was ahead must not keep those of the right time out.
  const isInTime = before !== undefined && before.thisUpdate <= now;
  const crl = verifyCrl({ der, issuer: certificate, now, held: isInTime ? before.number : undefined });
  const { number, thisUpdate, nextUpdate } = crl;
  return { issuer, der, number, thisUpdate, nextUpdate };
}

function trusted(issuer: Uint8Array, anchors: readonly Certificate[], now: Date): Certificate {
  const anchor = anchors.find(({ der }) => equal(der, issuer));
  if (anchor !== undefined) return anchor;
  const certificate = parseCertificate(issuer);
  ensure(
    readBasicConstraints(certificate, 'chain')?.ca === true,
    'chain',
    'the issuer of a CRL is not an authority',
  );
  verifyPath({ leaf: certificate, intermediates: [], anchors, now });
  return certificate;
}
