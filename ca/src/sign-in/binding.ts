/** What ties an ID token to one key: the nonce of the sign-in is a digest of the public key. */
import { createHash } from 'node:crypto';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';

/** `spki` is the SubjectPublicKeyInfo of a key that is made for this sign-in, so the nonce cannot be guessed before. */
export const nonceFor = (trustDomain: TrustDomain, spki: Uint8Array): string =>
  createHash('sha256')
    .update(`chancery operator sign-in 1\n${trustDomain}\n`)
    .update(spki)
    .digest('base64url');
