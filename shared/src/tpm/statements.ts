/**
 * Verifies the two statements of a TPM, quote and certify: fresh, signed by this AK, and about the expected objects.
 */
import { hash, type KeyObject, verify } from 'node:crypto';
import type { Statement } from '../evidence/tpm.ts';
import { concat, equal, u16, u32 } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { ALG, ENDORSEMENT } from './algorithms.ts';
import { type Attest, type ClockInfo, readCertify, readQuote } from './attest.ts';
import { PCR_BYTES, pcrDigest, writeSelection } from './boot/pcr.ts';
import { keyOf, nameOf, type PublicArea } from './public-area.ts';
import { readSignature } from './signature.ts';

/** The attestation key that a credential was made for, and the binding that its statements must carry. */
export interface Speaker {
  readonly key: KeyObject;
  readonly qualifiedName: Uint8Array;
  readonly binding: Uint8Array;
}

/** Throws ak_template if the area does not hold a point on its curve. */
export function speakerOf(ak: PublicArea, binding: Uint8Array): Speaker {
  return { key: keyOf(ak, 'ak_template'), qualifiedName: qualifiedNameOf(ak), binding };
}

export interface VerifiedQuote {
  /** By index, ascending. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  readonly clock: ClockInfo;
}

/**
 * `asked`: PCR indices in ascending order; `values`: their values, joined. Throws attest_parse, attest_type,
 * pcr_selection, pcr_digest, nonce_mismatch, ak_mixed, sig_alg, sig_invalid.
 */
export function verifyQuote(
  quote: Statement,
  values: Uint8Array,
  asked: readonly number[],
  speaker: Speaker,
): VerifiedQuote {
  const attest = readQuote(quote.attest);
  // Compared byte for byte: a TPM also signs a quote of an empty selection or an inactive bank, and only its selection
  // shows that.
  const selection = writeSelection(asked);
  ensure(
    equal(attest.selection, selection),
    'pcr_selection',
    'the quote covers another selection than was asked',
  );
  // An equal digest means equal bytes, so there are as many values as were asked for, each of 32 bytes.
  ensure(
    equal(attest.pcrDigest, pcrDigest(values)),
    'pcr_digest',
    'the PCR values do not hash to the digest',
  );
  verifyStatement(attest, quote.signature, speaker);
  const cut = (at: number): Uint8Array => values.subarray(at * PCR_BYTES, (at + 1) * PCR_BYTES);
  return { pcrs: new Map(asked.map((index, at) => [index, cut(at)])), clock: attest.clock };
}

/**
 * Verifies that the AK certified `key`. A name covers the attributes, so the certified key has those of `key`'s
 * template. Throws attest_parse, attest_type, certify_name, nonce_mismatch, ak_mixed, sig_alg, sig_invalid.
 */
export function verifyCertify(certify: Statement, key: PublicArea, speaker: Speaker): void {
  const attest = readCertify(certify.attest);
  ensure(equal(attest.name, nameOf(key)), 'certify_name', 'the statement certifies another key');
  verifyStatement(attest, certify.signature, speaker);
}

/** The cheap checks come first, the signature last. Throws nonce_mismatch, ak_mixed, sig_alg, sig_invalid. */
function verifyStatement(attest: Attest, signature: Uint8Array, speaker: Speaker): void {
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
 * The qualified name (Part 1, "Names") of a primary key of the endorsement hierarchy: nameAlg, then the hash over the
 * handle of the hierarchy and the key's name. Under another hierarchy the TPM obfuscates its reset count and firmware
 * version.
 */
export function qualifiedNameOf(primary: PublicArea): Uint8Array {
  return concat(u16(ALG.sha256), hash('sha256', concat(u32(ENDORSEMENT), nameOf(primary)), 'buffer'));
}
