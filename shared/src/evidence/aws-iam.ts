/** The two messages of an attestation by signed sts:GetCallerIdentity: what the CA asks, and what the agent answers. */
import { asBuffer } from '../ground/bytes.ts';
import type { Refusal } from '../ground/errors.ts';
import { type Field, packFields, unpackFields } from './fields.ts';

const field = (what: string, maxBytes: number, code: Refusal = 'evidence_parse'): Field => ({
  what,
  maxBytes,
  code,
});

/** Which host of a region the CA will call: the host is signed, so the agent must know it. */
const QUESTION = [field('kind of endpoint', 32)];

/** Bytes for the wire; `endpoints` is one of `ENDPOINTS`. */
export const packStsQuestion = (endpoints: string): Uint8Array => packFields(ascii(endpoints));

/** Throws evidence_parse. */
export function unpackStsQuestion(bytes: Uint8Array): string {
  const [endpoints] = unpackFields(bytes, QUESTION) as [Uint8Array];
  return text(endpoints);
}

/** The values of the signed request; the CA writes the request again. */
export interface StsAnswer {
  readonly region: string;
  /** X-Amz-Date. */
  readonly date: string;
  /** The access key id and the scope: "ASIA.../20261120/eu-west-1/sts/aws4_request". */
  readonly credential: string;
  /** Empty for credentials that are not temporary. */
  readonly sessionToken: string;
  /** HMAC-SHA256. */
  readonly signature: Uint8Array;
}

/** AWS promises no size of session tokens; known ones have one or two thousand characters. */
const ANSWER = [
  field('region', 32, 'sts_host'),
  field('date', 16, 'sts_date'),
  field('credential', 256),
  field('session token', 8 * 1024),
  field('signature', 32),
];

/** Bytes for the wire; the CA writes the signed request again from these values. */
export function packStsAnswer({ region, date, credential, sessionToken, signature }: StsAnswer): Uint8Array {
  return packFields(ascii(region), ascii(date), ascii(credential), ascii(sessionToken), signature);
}

/** Throws evidence_parse, sts_host, sts_date. Texts are as they came: nothing of them is checked but their length. */
export function unpackStsAnswer(bytes: Uint8Array): StsAnswer {
  const [region, date, credential, sessionToken, signature] = unpackFields(bytes, ANSWER) as Five;
  return {
    region: text(region),
    date: text(date),
    credential: text(credential),
    sessionToken: text(sessionToken),
    signature,
  };
}

/** Byte for byte, so that no two different messages read the same. All that AWS has here is ASCII. */
const text = (bytes: Uint8Array): string => asBuffer(bytes).toString('latin1');
const ascii = (text: string): Uint8Array => Buffer.from(text, 'latin1');

type Five = [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];
