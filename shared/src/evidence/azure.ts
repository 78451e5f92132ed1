/** What an Azure VM answers when the CA asks: a managed identity's token and the attested document with our nonce. */
import { asBuffer } from '../ground/bytes.ts';
import { type Field, packFields, unpackFields } from './fields.ts';

export interface AzureAnswer {
  readonly token: Uint8Array;
  /** The PKCS#7 structure, DER. */
  readonly document: Uint8Array;
}

const FIELDS: readonly Field[] = [
  { what: 'token', maxBytes: 16 * 1024, code: 'evidence_parse' },
  { what: 'document', maxBytes: 32 * 1024, code: 'evidence_parse' },
];

/** Bytes for the wire, which `unpackAzureAnswer` reads. Checks no bound. */
export const packAzureAnswer = ({ token, document }: AzureAnswer): Uint8Array => packFields(token, document);

/** Throws evidence_parse. */
export function unpackAzureAnswer(bytes: Uint8Array): AzureAnswer {
  const [token, document] = unpackFields(bytes, FIELDS) as [Uint8Array, Uint8Array];
  return { token, document };
}

const LOWEST = 1_000_000_000n;
const COUNT = 9_000_000_000n;

/**
 * The nonce of the attested document: only it binds the document to the exchange and the key. Azure takes at most ten
 * digits: 33 bits of the binding. The first digit is not zero, so that it cannot be read as a shorter number.
 */
export const nonceOf = (binding: Uint8Array): string =>
  String(LOWEST + (asBuffer(binding).readBigUInt64BE(0) % COUNT));
