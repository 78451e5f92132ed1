/** TPMS_ATTEST (Part 2, 10.12.12): statements that a TPM signs with a restricted key. */
import { Reader } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { cutSelection } from './boot/pcr.ts';

/** TPM_GENERATED_VALUE: a restricted key signs no outside data that begins with it. */
const MAGIC = 0xff54_4347;
/** TPM_ST_ATTEST_*, Part 2, 6.9. */
const TYPE = { certify: 0x8017, quote: 0x8018 } as const;
/** TPM2B_NAME and TPM2B_DATA hold at most a hash and its algorithm. */
const MAX_NAME = 66;
const MAX_DATA = 66;

/** TPMS_CLOCK_INFO, Part 2, 10.11.1. */
export interface ClockInfo {
  /** Milliseconds that the TPM has been powered for since it was last cleared. */
  readonly clock: bigint;
  /** TPM resets since it was last cleared. */
  readonly resetCount: number;
  /** Resumes since the last reset. */
  readonly restartCount: number;
  /** False after a power cut, until the clock has passed every value that it may have reported before. */
  readonly safe: boolean;
}

export interface Attest {
  readonly bytes: Uint8Array;
  readonly qualifiedSigner: Uint8Array;
  readonly extraData: Uint8Array;
  readonly clock: ClockInfo;
}

export interface QuoteAttest extends Attest {
  /** The bytes of the statement's TPML_PCR_SELECTION. */
  readonly selection: Uint8Array;
  readonly pcrDigest: Uint8Array;
}

export interface CertifyAttest extends Attest {
  readonly name: Uint8Array;
}

/** Throws attest_parse, attest_type. */
export function readQuote(bytes: Uint8Array): QuoteAttest {
  const reader = new Reader(bytes, 'attest_parse');
  const head = readHead(reader, 'quote');
  const selection = cutSelection(reader);
  const pcrDigest = reader.sized16('PCR digest', MAX_DATA);
  reader.done('quote');
  return { ...head, selection, pcrDigest };
}

/** Throws attest_parse, attest_type. */
export function readCertify(bytes: Uint8Array): CertifyAttest {
  const reader = new Reader(bytes, 'attest_parse');
  const head = readHead(reader, 'certify');
  const name = reader.sized16('certified name', MAX_NAME);
  reader.sized16('certified qualified name', MAX_NAME);
  reader.done('certify');
  return { ...head, name };
}

function readHead(reader: Reader, wanted: keyof typeof TYPE): Attest {
  const magic = reader.u32('magic');
  ensure(magic === MAGIC, 'attest_parse', `the statement begins with ${magic.toString(16)}: no TPM made it`);
  const type = reader.u16('type');
  ensure(type === TYPE[wanted], 'attest_type', `the statement has type ${type.toString(16)}, not ${wanted}`);
  const qualifiedSigner = reader.sized16('qualified signer', MAX_NAME);
  const extraData = reader.sized16('extra data', MAX_DATA);
  const clock = readClock(reader);
  reader.u64('firmware version');
  return { bytes: reader.bytes, qualifiedSigner, extraData, clock };
}

function readClock(reader: Reader): ClockInfo {
  const clock = reader.u64('clock');
  const resetCount = reader.u32('reset count');
  const restartCount = reader.u32('restart count');
  const safe = reader.u8('safe');
  ensure(safe <= 1, 'attest_parse', `safe is ${safe}, neither yes nor no`);
  return { clock, resetCount, restartCount, safe: safe === 1 };
}
