/** What every statement of a TPM must be, whatever it says: fresh, by this AK, and signed. */
import { hash, type KeyObject, verify } from 'node:crypto';
import { concat, equal, u16, u32 } from '../bytes.ts';
import { ensure } from '../errors.ts';
import { ALG, ENDORSEMENT } from './algorithms.ts';
import type { Attest } from './attest.ts';
import { keyOf, nameOf, type PublicArea } from './public-area.ts';
import { readSignature } from './signature.ts';

/** The attestation key that a credential was made for, and what its statements must carry. */
export interface Speaker {
  readonly key: KeyObject;
  readonly qualifiedName: Uint8Array;
  readonly binding: Uint8Array;
}

/** Throws ak_template where the area holds no point of the curve. */
export function speakerOf(ak: PublicArea, binding: Uint8Array): Speaker {
  return { key: keyOf(ak, 'ak_template'), qualifiedName: qualifiedNameOf(ak), binding };
}

/** The cheap checks first, the signature last. Throws nonce_mismatch, ak_mixed, sig_alg, sig_invalid. */
export function verifyStatement(attest: Attest, signature: Uint8Array, speaker: Speaker): void {
  ensure(
    equal(attest.extraData, speaker.binding),
    'nonce_mismatch',
    'the statement answers another nonce or key',
  );
  ensure(
    equal(attest.qualifiedSigner, speaker.qualifiedName),
    'ak_mixed',
    'the statement is by another key than the AK, or the AK is no primary of the endorsement hierarchy',
  );
  const scalars = readSignature(signature);
  const signed = verify('sha256', attest.bytes, { key: speaker.key, dsaEncoding: 'ieee-p1363' }, scalars);
  ensure(signed, 'sig_invalid', 'the AK did not sign this statement');
}

/**
 * Part 1, qualified names: the hash over the parent's, which for a primary is the hierarchy's handle, and the name.
 * Under another hierarchy the TPM obfuscates its reset count and firmware version.
 */
export function qualifiedNameOf(primary: PublicArea): Uint8Array {
  return concat(u16(ALG.sha256), hash('sha256', concat(u32(ENDORSEMENT), nameOf(primary)), 'buffer'));
}
