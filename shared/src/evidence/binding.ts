/** What every piece of evidence must carry, so that it speaks for one key, in one exchange, in one trust domain. */
import { hash } from 'node:crypto';
import { base64url, concat, lp, utf8 } from '../ground/bytes.ts';

/** Keeps these hashes apart from any other use of SHA-256; a change of the construction changes the number. */
const CONTEXT = utf8('chancery-attest-v1');

/** SHA-256 over the context, the trust domain, the CA's nonce and SHA-256 of the SubjectPublicKeyInfo (DER). */
export function attestationBinding(trustDomain: string, nonce: Uint8Array, spki: Uint8Array): Uint8Array {
  const key = hash('sha256', spki, 'buffer');
  return hash('sha256', concat(CONTEXT, lp(utf8(trustDomain)), lp(nonce), lp(key)), 'buffer');
}

/** The audience of a token that carries the binding, for platforms that let the caller choose its audience. */
export const audienceOf = (trustDomain: string, binding: Uint8Array): string =>
  `chancery://${trustDomain}/${base64url(binding)}`;
