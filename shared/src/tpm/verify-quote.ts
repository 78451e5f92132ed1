/** A quote: the values of these PCRs, now, by this AK. */
import { equal } from '../bytes.ts';
import { ensure } from '../errors.ts';
import type { Statement } from '../evidence/tpm.ts';
import { type ClockInfo, readQuote } from './attest.ts';
import { PCR_BYTES, pcrDigest, writeSelection } from './pcr.ts';
import { type Speaker, verifyStatement } from './statement.ts';

export interface VerifiedQuote {
  /** By index, ascending. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  readonly clock: ClockInfo;
}

/** `asked`: the PCRs in ascending order; `values`: theirs, joined. */
export function verifyQuote(
  quote: Statement,
  values: Uint8Array,
  asked: readonly number[],
  speaker: Speaker,
): VerifiedQuote {
  const attest = readQuote(quote.attest);
  // Byte for byte: a TPM also quotes an empty selection and an inactive bank, and says so only here.
  const selection = writeSelection(asked);
  ensure(
    equal(attest.selection, selection),
    'pcr_selection',
    'the quote covers another selection than was asked',
  );
  // Equal hashes are equal bytes: as many values as were asked, each as long as its bank's hash.
  ensure(
    equal(attest.pcrDigest, pcrDigest(values)),
    'pcr_digest',
    'the PCR values do not hash to the digest',
  );
  verifyStatement(attest, quote.signature, speaker);
  const cut = (at: number): Uint8Array => values.subarray(at * PCR_BYTES, (at + 1) * PCR_BYTES);
  return { pcrs: new Map(asked.map((index, at) => [index, cut(at)])), clock: attest.clock };
}
