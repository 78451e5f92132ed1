/** The three messages of a TPM attestation: what the agent says, what the CA asks, what the agent answers. */
import type { Refusal } from '../ground/errors.ts';
import { type Field, packFields, unpackFields } from './fields.ts';

const field = (what: string, maxBytes: number, code: Refusal = 'evidence_parse'): Field => ({
  what,
  maxBytes,
  code,
});

/** Real areas, statements and certificates are below 600, 200 and 2,000 bytes. */
const AREA = 1024;
const STATEMENT = 1024;
const SIGNATURE = 1024;

const MAX_EK_CERTIFICATE = 8 * 1024;
/** Four certificates of an on-die chain are below 6 KiB. */
export const MAX_EK_CHAIN = 16 * 1024;
/** A long boot measures about a thousand events in some 100 KiB. */
export const MAX_EVENT_LOG = 1024 * 1024;

/** What the agent says first. No names of keys: the CA computes them. */
export interface TpmOpening {
  /** X.509 DER, exactly as long as its own length says. */
  readonly ekCertificate: Uint8Array;
  /** TPMT_PUBLIC of the endorsement key. */
  readonly ekPublic: Uint8Array;
  /** TPMT_PUBLIC of the attestation key. */
  readonly akPublic: Uint8Array;
  /** TPMT_PUBLIC of the key to be certified; empty for a key that does not live in the TPM. */
  readonly keyPublic: Uint8Array;
  /** The firmware's event log in TCG's crypto-agile format; empty if there is none. */
  readonly eventLog: Uint8Array;
  /** The issuers of the EK certificate that the TPM brings along: X.509 DER, one behind the other; often empty. */
  readonly ekChain: Uint8Array;
}

const OPENING = [
  field('EK certificate', MAX_EK_CERTIFICATE, 'ek_encoding'),
  field('EK public area', AREA),
  field('AK public area', AREA),
  field('key public area', AREA),
  field('event log', MAX_EVENT_LOG, 'eventlog_size'),
  field('EK certificate chain', MAX_EK_CHAIN, 'ek_encoding'),
];

/** Bytes for the wire, which `unpackOpening` reads. Checks no bound. */
export function packOpening(opening: TpmOpening): Uint8Array {
  const { ekCertificate, ekPublic, akPublic, keyPublic, eventLog, ekChain } = opening;
  return packFields(ekCertificate, ekPublic, akPublic, keyPublic, eventLog, ekChain);
}

/** Throws evidence_parse, ek_encoding, eventlog_size. */
export function unpackOpening(bytes: Uint8Array): TpmOpening {
  const fields = unpackFields(bytes, OPENING) as Six;
  const [ekCertificate, ekPublic, akPublic, keyPublic, eventLog, ekChain] = fields;
  return { ekCertificate, ekPublic, akPublic, keyPublic, eventLog, ekChain };
}

/** What the CA asks: open this credential and quote these PCRs. */
export interface TpmQuestion {
  /** The contents of TPM2B_ID_OBJECT: TPM2B integrity, then the encrypted secret. */
  readonly credential: Uint8Array;
  /** The contents of TPM2B_ENCRYPTED_SECRET. */
  readonly encryptedSeed: Uint8Array;
  /** TPML_PCR_SELECTION. */
  readonly selection: Uint8Array;
}

const QUESTION = [field('credential', 256), field('encrypted seed', 512), field('PCR selection', 64)];

/** Bytes for the wire, which `unpackQuestion` reads. Checks no bound. */
export function packQuestion(question: TpmQuestion): Uint8Array {
  return packFields(question.credential, question.encryptedSeed, question.selection);
}

/** Throws evidence_parse. */
export function unpackQuestion(bytes: Uint8Array): TpmQuestion {
  const [credential, encryptedSeed, selection] = unpackFields(bytes, QUESTION) as Three;
  return { credential, encryptedSeed, selection };
}

export interface TpmAnswer {
  /** HMAC-SHA256 of the binding under the credential's secret: the secret itself never travels back. */
  readonly proof: Uint8Array;
  /** TPMS_ATTEST and TPMT_SIGNATURE over the PCRs. */
  readonly quote: Statement;
  /** The PCRs' values in ascending order of index, joined. */
  readonly pcrValues: Uint8Array;
  /** TPMS_ATTEST and TPMT_SIGNATURE over the certified key; both empty if it does not live in the TPM. */
  readonly certify: Statement;
}

export interface Statement {
  readonly attest: Uint8Array;
  readonly signature: Uint8Array;
}

const ANSWER = [
  field('proof of the credential', 32),
  field('quote', STATEMENT),
  field('quote signature', SIGNATURE),
  field('PCR values', 24 * 32),
  field('certify', STATEMENT),
  field('certify signature', SIGNATURE),
];

/** Bytes for the wire, which `unpackAnswer` reads. Checks no bound. */
export function packAnswer({ proof, quote, pcrValues, certify }: TpmAnswer): Uint8Array {
  return packFields(proof, quote.attest, quote.signature, pcrValues, certify.attest, certify.signature);
}

/** Throws evidence_parse. */
export function unpackAnswer(bytes: Uint8Array): TpmAnswer {
  const [proof, quote, quoteSignature, pcrValues, certify, certifySignature] = unpackFields(
    bytes,
    ANSWER,
  ) as Six;
  return {
    proof,
    quote: { attest: quote, signature: quoteSignature },
    pcrValues,
    certify: { attest: certify, signature: certifySignature },
  };
}

// One value for each field of the table above it.
type Three = [Uint8Array, Uint8Array, Uint8Array];
type Six = [...Three, ...Three];
