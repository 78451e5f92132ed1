/**
 * A gateway's records on their way to the audit log of the CA. Where its server has `audit: required`, a record that
 * cannot be kept refuses its call. Otherwise the call goes on; what is lost is counted, and said in a record once there
 * is room again.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { MAX_RECORD_BYTES } from '@chancery/shared/audit/call-record.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { openPrivateFile } from '@chancery/shared/unix/files/append-file.ts';
import { type DeliverDeps, deliver } from './deliver.ts';
import { Spool, type SpoolOptions } from './spool.ts';

/** What this needs of an event; all its fields are written. */
export interface SpooledEvent {
  readonly stage: string;
  readonly allow?: boolean | undefined;
}

export interface CallSpoolOptions extends SpoolOptions, Pick<DeliverDeps, 'svid' | 'target' | 'random'> {
  /** The McpServer. */
  readonly server: string;
  /** Whether the newest policy has `audit: required` for it. */
  readonly isRequired: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export interface SpoolReport {
  /** Records, and bytes on the disk. */
  readonly depth: number;
  readonly bytes: number;
  /** Seconds since the oldest record that the CA does not have; 0 where there is none. */
  readonly oldestSeconds: number;
  /** Since the start of this process. */
  readonly acknowledged: number;
  readonly lost: number;
}

export interface CallSpool {
  /** Throws audit_spool where the events must not happen without a record. Blocks for the write. */
  record(...events: readonly SpooledEvent[]): void;
  /** Throws audit_spool if the events let a call in that could not be recorded. */
  ensureRoom(events: readonly SpooledEvent[]): void;
  /** Why new calls are refused, because they could not be recorded; undefined if they are not. */
  refuses(): string | undefined;
  /** Why the CA does not get the records; undefined if it does. */
  undelivered(): string | undefined;
  /** Reads a record from the disk. Blocks. */
  report(): SpoolReport;
  /** Ends the delivery. What is not delivered stays. */
  close(): Promise<void>;
}

/** Of the spool, for the answers of calls that go on: a new call must leave it free. */
const SPARE_PART = 1 / 8;
/** What the record of a new call takes, about. */
const ONE_RECORD = 4 * 1024;

/** Opens the spool and begins to deliver it. Throws file. */
export function openCallSpool(options: CallSpoolOptions): CallSpool {
  const { server, isRequired, clock, log, maxBytes } = options;
  const spool = new Spool(options);
  const lostRecord = (fields: object): string =>
    JSON.stringify({ id: randomUUID(), stage: 'lost', time: clock.now(), server, ...fields });
  let waiting: { count: number; since: Date } | undefined;
  let lost = 0;
  const lose = (count: number, error: unknown): void => {
    lost += count;
    if (waiting === undefined)
      log.error({ err: error }, 'records of calls are lost for the audit log of the CA; the calls go on');
    waiting ??= { count: 0, since: clock.now() };
    waiting.count += count;
  };
  const stop = new AbortController();
  /** Numbers of records that cannot be sent, until the CA has what stands for them. */
  const spoiled = new Set<number>();
  const insteadOf = (number: number, detail: string): string => {
    spoiled.add(number);
    return lostRecord({ count: 1, detail });
  };
  let failure: string | undefined;
  const onState = (why: string | undefined): void => {
    failure = why;
  };
  const delivering = deliver(
    { ...options, spool, lost: insteadOf, setAside: intoFile(options), onState },
    stop.signal,
  );
  const begun = spool.through;
  const refuses = (events: readonly SpooledEvent[] = []) =>
    // What the records take is not counted where it does not matter: it costs as much as writing them.
    isRequired() ? whyFull(spool, options, ONE_RECORD + bytesOf(events)) : undefined;
  return {
    ensureRoom: (events) => ensureNo(letsIn(events) ? refuses(events) : undefined),
    record(...events) {
      const isNew = isRequired() && letsIn(events);
      const records = events.map(recordOf);
      if (waiting !== undefined) records.unshift(lostRecord({ ...waiting, detail: 'the spool was full' }));
      try {
        spool.append(records, { durable: isRequired(), spare: isNew ? maxBytes * SPARE_PART : 0 });
        waiting = undefined;
      } catch (error) {
        // Its calls are refused, so nothing of them is missing.
        if (isNew) throw error;
        lose(events.length, error);
        if (isRequired()) throw error;
      }
    },
    refuses: () => refuses(),
    undelivered: () => failure,
    report() {
      lost += passed(spoiled, spool.through);
      const { depth, bytes } = spool;
      const oldestSeconds = ageOf(spool.oldestUnsent(), clock);
      return { depth, bytes, oldestSeconds, acknowledged: Math.max(0, spool.through - begun), lost };
    },
    close: async () => {
      stop.abort();
      await delivering;
      spool.close();
    },
  };
}

/** How many of these numbers the CA has by now; they are forgotten. */
function passed(numbers: Set<number>, through: number): number {
  const had = [...numbers].filter((number) => number <= through);
  for (const number of had) numbers.delete(number);
  return had.length;
}

function whyFull(spool: Spool, { maxBytes, folder }: SpoolOptions, bytes: number): string | undefined {
  if (spool.hasRoom(maxBytes * SPARE_PART + bytes)) return undefined;
  return `${folder} is full: ${spool.depth} records wait for the CA`;
}

const ensureNo = (why: string | undefined): void => ensure(why === undefined, 'audit_spool', why ?? '');

/** Whether these records let a call in. */
export const letsIn = (events: readonly SpooledEvent[]): boolean =>
  events.some(({ stage, allow }) => stage === 'decided' && allow === true);

/** Why a gateway without a spool takes no calls of this server. */
export const notDelivered = (server: string): string =>
  `the McpServer ${server} has audit: required, and the config of this gateway has gateway.report: false`;

/** For a gateway that does not deliver its records: a server that requires it gets no calls. Throws audit_spool. */
export function ensureNotRequired(
  server: string,
  isRequired: boolean,
  events: readonly SpooledEvent[],
): void {
  ensure(!isRequired || !letsIn(events), 'audit_spool', notDelivered(server));
}

/** Records that the CA cannot read, for an operator; more are only counted. */
const MAX_ASIDE_BYTES = 4 * 1024 * 1024;

const intoFile =
  ({ folder, log }: Pick<CallSpoolOptions, 'folder' | 'log'>) =>
  (number: number, json: string): void => {
    const path = `${folder}-unread.jsonl`;
    putAside(path, json);
    log.error(
      { number, path },
      'the CA cannot read this record: it is put aside, and the ones behind it go on',
    );
  };

function putAside(path: string, json: string): void {
  try {
    const fd = openPrivateFile(path, 'file');
    try {
      if (fs.fstatSync(fd).size + Buffer.byteLength(json) < MAX_ASIDE_BYTES)
        fs.writeFileSync(fd, `${json}\n`);
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    // It is counted as lost all the same.
  }
}

/** Seconds since the time of a record. */
function ageOf(json: string | undefined, clock: Clock): number {
  if (json === undefined) return 0;
  const [, time = ''] = /"time":"([^"]+)"/.exec(json) ?? [];
  return Math.max(0, (clock.now().getTime() - Date.parse(time)) / 1000) || 0;
}

/** Of their lines, at most. */
const bytesOf = (events: readonly SpooledEvent[]): number =>
  events.reduce((sum, event) => sum + Buffer.byteLength(recordOf(event)) + BESIDES, 0);
/** A line has a sum and a number besides its record. */
const BESIDES = 32;

/** Text that makes it too long is cut. */
function recordOf(event: SpooledEvent): string {
  const json = JSON.stringify(event);
  if (json.length * 3 <= MAX_RECORD_BYTES || Buffer.byteLength(json) <= MAX_RECORD_BYTES) return json;
  return JSON.stringify(event, (_, value: unknown) =>
    typeof value === 'string' && value.length > MAX_TEXT
      ? `${value.slice(0, MAX_TEXT).toWellFormed()}...`
      : value,
  );
}
const MAX_TEXT = 256;
