/** The statement that an old key signs, so that a certificate for a new key may replace its own. */
import { hash } from 'node:crypto';
import { concat, lp, utf8 } from '../ground/bytes.ts';

/** Keeps this apart from what the key signs in TLS 1.3, which begins with 64 spaces (RFC 8446 section 4.4.3). */
const CONTEXT = utf8('chancery-succession-v1');

/**
 * Over the context, the trust domain, the old certificate's serial and SHA-256 of the new key's SubjectPublicKeyInfo
 * (DER). It names no exchange: a replay needs the new key.
 */
export function successionStatement(trustDomain: string, serial: Uint8Array, spki: Uint8Array): Uint8Array {
  return concat(CONTEXT, lp(utf8(trustDomain)), lp(serial), lp(hash('sha256', spki, 'buffer')));
}
