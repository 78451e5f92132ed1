/** Decides whether a new bundle may replace an old one. */
import { hash } from 'node:crypto';
import { equal } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { isSameJwt, type JwtAuthority } from '@chancery/shared/spiffe/jwt-authority.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { keyNameOf } from '@chancery/shared/x509/verify/svid.ts';

/** The version that this agent reads; 0 means 1, from a CA that names none (docs/versions.md). */
const READER_VERSION = 1;

/** Throws message_parse if the CA says that an agent of this version must not use its message. */
export function ensureReadable({ readerVersion }: { readonly readerVersion: number }): void {
  const says = `what the CA sends is for readers of version ${readerVersion}, and this agent is of ${READER_VERSION}`;
  ensure(readerVersion <= READER_VERSION, 'message_parse', `${says}: upgrade the agent`);
}

/** Whether an authority that is new was vouched for by one that is known. */
export type IsVouched = (authority: Uint8Array) => boolean;

/** Before the CA has named the key of its log nothing can be vouched for. */
const TAKES_ANY: IsVouched = () => true;

/**
 * An update adds authorities or removes some, and both only where each new one is vouched for: a bundle that shares
 * nothing with the last one is another trust domain's, or an attack (architecture.md section 7). Throws bundle.
 */
export function acceptBundle(known: Bundle, next: Bundle, isVouched = TAKES_ANY): Bundle {
  ensure(
    next.trustDomain === known.trustDomain,
    'bundle',
    `bundle is of ${next.trustDomain}, not ${known.trustDomain}`,
  );
  ensure(next.authorities.length > 0, 'bundle', 'bundle has no authorities');
  for (const der of next.authorities) parseCertificate(der);
  const superset = isWithin(known, next);
  const subset = isWithin(next, known);
  const bare = newIn(known, next).filter((der) => !isVouched(der)).length;
  ensure(bare === 0, 'bundle', `${bare} new authorities are not vouched for by one that is trusted`);
  const isProven = isVouched !== TAKES_ANY;
  ensure(superset || subset || isProven, 'bundle', 'bundle both adds and removes authorities');
  return next;
}

/** The authorities of `next` that are not known. */
export const newIn = (known: Bundle, next: Pick<Bundle, 'authorities'>): readonly Uint8Array[] =>
  next.authorities.filter((der) => !known.authorities.some((other) => equal(der, other)));

/** Whether the key of an authority is revoked. */
export function isTainted(der: Uint8Array, { list }: RevocationSet): boolean {
  const revoked = list.flatMap(({ target: { kind, value } }) => (kind === 'authority' ? [value] : []));
  return revoked.length > 0 && revoked.includes(keyNameOf(parseCertificate(der)));
}

/** Throws bundle if the key of an authority in it is revoked: the CA took it away, and nobody may bring it back. */
export function ensureUntainted(bundle: Bundle, set: RevocationSet): Bundle {
  const names = new Set(
    set.list.flatMap(({ target: { kind, value } }) => (kind === 'authority' ? [value] : [])),
  );
  if (names.size === 0) return bundle;
  const { authorities, jwtAuthorities = [] } = bundle;
  const isStolen = ({ spki }: JwtAuthority): boolean => names.has(hash('sha256', spki, 'hex'));
  const isClean = !authorities.some((der) => isTainted(der, set)) && !jwtAuthorities.some(isStolen);
  ensure(isClean, 'bundle', 'bundle has an authority whose key is revoked');
  return bundle;
}

/** Rejects an invalid bundle, logs and returns why; the known bundle stays in force. */
export function followBundle(live: LiveValue<Bundle>, next: Bundle, log: Log): string | undefined {
  const known = live.current();
  try {
    if (!isSameBundle(known, acceptBundle(known, next))) live.publish(next);
    return undefined;
  } catch (error) {
    log.error({ err: error }, 'the bundle from the CA is refused');
    const why = error instanceof Error ? error.message : String(error);
    return `the bundle is not taken and the one before stays in force: ${why}`;
  }
}

/** Whether both have the same sequence and the same authorities, in whatever order. */
export function isSameBundle(a: Bundle, b: Bundle): boolean {
  if (a === b) return true;
  const isSameX509 = isWithin(a, b) && isWithin(b, a);
  return a.sequence === b.sequence && isSameX509 && isSameJwt(a.jwtAuthorities, b.jwtAuthorities);
}

function isWithin(inner: Bundle, outer: Bundle): boolean {
  return inner.authorities.every((der) => outer.authorities.some((other) => equal(der, other)));
}
