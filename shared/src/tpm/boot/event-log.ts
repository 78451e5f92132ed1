/**
 * The firmware's event log in TCG's crypto-agile format (PC Client Platform Firmware Profile, section 10.2),
 * little-endian. This file reads it; replay.ts verifies it.
 */
import { asBuffer, Reader } from '../../ground/bytes.ts';
import { ensure } from '../../ground/errors.ts';
import { ALG } from '../algorithms.ts';
import { PCR_BYTES } from './pcr.ts';

export interface LogEvent {
  readonly pcr: number;
  readonly type: number;
  /** SHA-256, as it was extended into the PCR. */
  readonly digest: Uint8Array;
  /** Not proven: for many types of events the digest is not that of this data. */
  readonly data: Uint8Array;
}

/** EV_NO_ACTION: information that is not extended. */
export const NO_ACTION = 3;

/** A long boot has about a thousand events. */
const MAX_EVENTS = 10_000;
const SHA1_BYTES = 20;
const SIGNATURE = Buffer.from('Spec ID Event03\0', 'latin1');
/** platformClass u32, minor, major, errata and uintnSize u8. */
const VERSION_BYTES = 8;

/** Throws eventlog, eventlog_size. */
export function readEventLog(bytes: Uint8Array): readonly LogEvent[] {
  const reader = new Reader(bytes, 'eventlog');
  const sizes = readHeader(reader);
  const events: LogEvent[] = [];
  while (reader.left > 0) {
    ensure(events.length < MAX_EVENTS, 'eventlog_size', `the event log has more than ${MAX_EVENTS} events`);
    events.push(readEvent(reader, sizes));
  }
  return events;
}

/** The first event is in the SHA-1 format and lists the digest size of each algorithm. */
function readHeader(reader: Reader): ReadonlyMap<number, number> {
  u32(reader, 'PCR of the header');
  const type = u32(reader, 'type of the header');
  ensure(type === NO_ACTION, 'eventlog', `the event log begins with an event of type ${type}`);
  reader.take(SHA1_BYTES, 'digest of the header');
  const header = new Reader(reader.take(u32(reader, 'size of the header'), 'header'), 'eventlog');
  const signature = asBuffer(header.take(SIGNATURE.length, 'header signature'));
  ensure(signature.equals(SIGNATURE), 'eventlog', 'the event log is not in the crypto-agile format');
  header.take(VERSION_BYTES, 'header version');
  const sizes = new Map<number, number>();
  const count = u32(header, 'count of algorithms');
  for (let i = 0; i < count; i++) sizes.set(u16(header, 'algorithm'), u16(header, 'digest size'));
  ensure(sizes.get(ALG.sha256) === PCR_BYTES, 'eventlog', 'the event log has no SHA-256 digests');
  return sizes;
}

function readEvent(reader: Reader, sizes: ReadonlyMap<number, number>): LogEvent {
  const pcr = u32(reader, 'PCR of an event');
  const type = u32(reader, 'type of an event');
  const digest = readDigest(reader, sizes);
  const data = reader.take(u32(reader, 'size of an event'), 'event');
  return { pcr, type, digest, data };
}

function readDigest(reader: Reader, sizes: ReadonlyMap<number, number>): Uint8Array {
  const count = u32(reader, 'count of digests');
  let found: Uint8Array | undefined;
  for (let i = 0; i < count; i++) {
    const algorithm = u16(reader, 'algorithm of a digest');
    const size = sizes.get(algorithm);
    ensure(size !== undefined, 'eventlog', `algorithm ${algorithm.toString(16)} is not in the log's header`);
    const digest = reader.take(size, 'digest');
    if (algorithm !== ALG.sha256) continue;
    ensure(found === undefined, 'eventlog', 'an event has two SHA-256 digests');
    found = digest;
  }
  ensure(found !== undefined, 'eventlog', 'an event has no SHA-256 digest');
  return found;
}

const u16 = (reader: Reader, what: string): number => asBuffer(reader.take(2, what)).readUInt16LE();
const u32 = (reader: Reader, what: string): number => asBuffer(reader.take(4, what)).readUInt32LE();
