/** What an attested document says: which VM of which subscription, when, and for which question. */
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';

export interface Document {
  readonly nonce: string;
  /** Lower case; so is the subscription. */
  readonly vmId: string;
  readonly subscription: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

const LIMITS = { code: 'evidence_parse', maxBytes: 8 * 1024, maxDepth: 8 } as const;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Throws evidence_parse. */
export function readDocument(content: Uint8Array): Document {
  const document = parseJson(content, LIMITS);
  ensure(isJsonObject(document), 'evidence_parse', 'the document is not a JSON object');
  const { nonce, timeStamp } = document;
  ensure(typeof nonce === 'string', 'evidence_parse', 'the document has no nonce');
  ensure(isJsonObject(timeStamp), 'evidence_parse', 'the document has no timeStamp');
  return {
    nonce,
    vmId: uuidOf(document, 'vmId'),
    subscription: uuidOf(document, 'subscriptionId'),
    createdAt: timeOf(timeStamp, 'createdOn'),
    expiresAt: timeOf(timeStamp, 'expiresOn'),
  };
}

/** VMs of the classic deployment model have neither. */
function uuidOf(document: JsonObject, name: string): string {
  const value = document[name];
  const id = typeof value === 'string' ? value.toLowerCase() : '';
  ensure(UUID.test(id), 'evidence_parse', `the document's ${name} is not a UUID`);
  return id;
}

const TIME = /^(\d\d)\/(\d\d)\/(\d\d) (\d\d:\d\d:\d\d) -0000$/;

/** "11/20/26 22:07:39 -0000". */
function timeOf(timeStamp: JsonObject, name: string): Date {
  const value = timeStamp[name];
  const [, month, day, year, time] = TIME.exec(typeof value === 'string' ? value : '') ?? [];
  const iso = `20${year}-${month}-${day}T${time}.000Z`;
  const date = new Date(iso);
  // A Date takes 30 February for 2 March.
  const real = !Number.isNaN(date.getTime()) && date.toISOString() === iso;
  ensure(real, 'evidence_parse', `the document's ${name} is not a time`);
  return date;
}

const SKEW_SECONDS = 30;

/** Throws nonce_mismatch, azure_document. */
export function ensureFresh(document: Document, nonce: string, { now, maxAgeSeconds }: Freshness): void {
  ensure(document.nonce === nonce, 'nonce_mismatch', 'the document is for another nonce');
  const { createdAt, expiresAt } = document;
  const made = `made ${createdAt.toISOString()}`;
  ensure(
    createdAt <= addSeconds(now, SKEW_SECONDS),
    'azure_document',
    `the document was ${made}, later than now`,
  );
  const oldest = addSeconds(now, -maxAgeSeconds - SKEW_SECONDS);
  ensure(createdAt >= oldest, 'azure_document', `the document was ${made}, more than ${maxAgeSeconds} s ago`);
  const good = expiresAt > addSeconds(now, -SKEW_SECONDS);
  ensure(good, 'azure_document', `the document expired ${expiresAt.toISOString()}`);
}

export interface Freshness {
  readonly now: Date;
  readonly maxAgeSeconds: number;
}
