/**
 * SHA-256 over what a state says, field by field and each with its length. A field that a later version adds is not in
 * it: a reader can check only what it knows.
 */
import { hash } from 'node:crypto';
import { concat, lp, u32, utf8 } from '../ground/bytes.ts';

interface BundleState {
  readonly trustDomain: string;
  readonly x509Authorities: readonly Uint8Array[];
  readonly jwtAuthorities: readonly {
    readonly keyId: string;
    readonly publicKey: Uint8Array;
    readonly expiresAt: bigint;
  }[];
  readonly readerVersion: number;
  readonly retiringX509: readonly Uint8Array[];
}

interface RevokedState {
  readonly number: bigint;
  readonly kind: string;
  readonly value: string;
  readonly serials: readonly string[];
  readonly reason: string;
  readonly until: bigint;
}

const text = (value: string | bigint): Uint8Array => lp(utf8(String(value)));
/** How many, then each. */
const list = (each: readonly Uint8Array[]): Uint8Array => concat(u32(each.length), ...each);
const sha256 = (...parts: readonly Uint8Array[]): Uint8Array => hash('sha256', concat(...parts), 'buffer');

/** In the order of the message. */
export const bundleDigest = (bundle: BundleState): Uint8Array =>
  sha256(
    text(bundle.trustDomain),
    list(bundle.x509Authorities.map(lp)),
    list(
      bundle.jwtAuthorities.map(({ keyId, publicKey, expiresAt }) =>
        concat(text(keyId), lp(publicKey), text(expiresAt)),
      ),
    ),
    u32(bundle.readerVersion),
    list(bundle.retiringX509.map(lp)),
  );

/** Of the resources as they were sent. */
export const policyDigest = (resources: readonly string[]): Uint8Array => sha256(list(resources.map(text)));

/** Thousands may be in force, and one changes. Messages are not changed once they are made. */
const known = new WeakMap<RevokedState, Uint8Array>();

/** Of all that are in force, whatever their order: by their numbers. */
export function revocationsDigest(revoked: readonly RevokedState[]): Uint8Array {
  const ordered = revoked.toSorted((a, b) => Number(a.number - b.number));
  return sha256(list(ordered.map(digestOfOne)));
}

function digestOfOne(revoked: RevokedState): Uint8Array {
  const before = known.get(revoked);
  if (before !== undefined) return before;
  const { number, kind, value, serials, reason, until } = revoked;
  const digest = sha256(
    text(number),
    text(kind),
    text(value),
    list(serials.map(text)),
    text(reason),
    text(until),
  );
  known.set(revoked, digest);
  return digest;
}
