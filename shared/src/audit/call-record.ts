/** One record of a gateway as the audit log has it: the codec of what gateways report, which the CA reads strictly. */
import { ensure } from '../ground/errors.ts';
import { isJsonObject, type Json, parseJson } from '../ground/json.ts';

/** The fields of a record (docs/mcp.md, "Records"); times are RFC 3339. */
export interface CallRecord {
  readonly id: string;
  readonly stage: CallStage;
  readonly time: string;
  readonly server: string;
  /** Arguments in clear, by JSON Pointer. */
  readonly arguments?: Readonly<Record<string, string>>;
  readonly [field: string]: string | number | boolean | Readonly<Record<string, string>> | undefined;
}

/** `lost` stands for records that a gateway could not keep; the others are stages of calls. */
const STAGES = ['decided', 'answered', 'refused', 'dropped', 'ended', 'claimed', 'lost'] as const;

type CallStage = (typeof STAGES)[number];

/** A longer record is cut by its gateway. */
export const MAX_RECORD_BYTES = 32 * 1024;
/** Records in one message. */
export const MAX_BATCH_RECORDS = 512;
/** Bytes of the records in one message. */
export const MAX_BATCH_BYTES = 256 * 1024;

const KINDS: Readonly<Record<string, readonly string[]>> = {
  string: [
    ...[
      'id',
      'stage',
      'time',
      'server',
      'from',
      'caller',
      'serial',
      'address',
      'httpMethod',
      'since',
      'kind',
    ],
    ...[
      'session',
      'method',
      'tool',
      'resource',
      'prompt',
      'requestId',
      'rule',
      'reason',
      'approval',
      'scope',
      'argumentsSha256',
      'outcome',
    ],
    ...['resultSha256', 'code', 'detail', 'traceparent'],
  ],
  number: ['count', 'requestId', 'policyVersion', 'rpcCode', 'latencyMs', 'bytes'],
  boolean: ['allow', 'observed'],
  object: ['arguments'],
};

/** Of `arguments`; a gateway writes no more. */
const MAX_ARGUMENTS = 16;

/** From and to. They are whole, but milliseconds need not be. */
const NUMBERS: Readonly<Record<string, readonly [number, number]>> = {
  count: [1, Number.MAX_SAFE_INTEGER],
  requestId: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  policyVersion: [0, Number.MAX_SAFE_INTEGER],
  rpcCode: [-(2 ** 31), 2 ** 31 - 1],
  latencyMs: [0, Number.MAX_SAFE_INTEGER],
  bytes: [0, Number.MAX_SAFE_INTEGER],
};

const LIMITS = {
  code: 'message_parse',
  maxBytes: MAX_RECORD_BYTES,
  maxDepth: 2,
  oddStrings: 'values',
} as const;

/** Throws message_parse for anything but an object of known fields, each of its type. */
export function readCallRecord(bytes: Uint8Array): CallRecord {
  const record = parseJson(bytes, LIMITS);
  ensure(isJsonObject(record), 'message_parse', 'a record is not a JSON object');
  for (const [field, found] of Object.entries(record)) {
    const isKnown = KINDS[typeof found]?.includes(field) === true;
    ensure(isKnown, 'message_parse', `a record has no field ${field.slice(0, 40)} of this type`);
  }
  ensureArguments(record['arguments']);
  const { id, stage, time, server } = record;
  const named = [id, time, server].every((each) => typeof each === 'string' && each !== '');
  ensure(named, 'message_parse', 'a record needs its id, time and server');
  for (const each of [time, record['since'] ?? time])
    ensure(isTime(each), 'message_parse', 'a time of a record is not RFC 3339 in UTC');
  for (const [field, [least, most]] of Object.entries(NUMBERS)) {
    const found = record[field];
    if (typeof found !== 'number') continue;
    const isWhole = Number.isSafeInteger(found) || field === 'latencyMs';
    const fits = isWhole && found >= least && found <= most;
    ensure(fits, 'message_parse', `${field} of a record is not from ${least} to ${most}`);
  }
  ensure(
    STAGES.some((each) => each === stage),
    'message_parse',
    'the stage of a record is not known',
  );
  return record as unknown as CallRecord;
}

/** Texts by JSON Pointer: nothing else that a gateway could put in. */
function ensureArguments(found: Json | undefined): void {
  if (found === undefined) return;
  const isMap = isJsonObject(found);
  const all = isMap ? Object.entries(found) : [];
  const fits =
    all.length <= MAX_ARGUMENTS && all.every(([at, text]) => at[0] === '/' && typeof text === 'string');
  ensure(isMap && fits, 'message_parse', 'the arguments of a record are not a few texts by JSON Pointer');
}

const isTime = (value: unknown): boolean =>
  TIME.test(String(value)) && !Number.isNaN(Date.parse(String(value)));

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
