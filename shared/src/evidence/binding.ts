/** What every piece of evidence must carry, so that it speaks for one key, in one exchange, in one trust domain. */
import { hash } from 'node:crypto';
import { concat, lp, utf8 } from '../bytes.ts';

/** Keeps these hashes apart from any other use of SHA-256; a change of the construction changes the number. */
const CONTEXT = utf8('chancery-attest-v1');

/** SHA-256 over the context, the trust domain, the CA's nonce and SHA-256 of the SubjectPublicKeyInfo (DER). */
export function attestationBinding(trustDomain: string, nonce: Uint8Array, spki: Uint8Array): Uint8Array {
  const key = hash('sha256', spki, 'buffer');
  return hash('sha256', concat(CONTEXT, lp(utf8(trustDomain)), lp(nonce), lp(key)), 'buffer');
}
