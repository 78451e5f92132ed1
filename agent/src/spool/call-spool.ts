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
import { Losses } from './losses.ts';
import { Spool, type SpoolOptions } from './spool.ts';

/** What this needs of an event; all its fields are written. */
export interface SpooledEvent {
  readonly server: string;
  readonly stage: string;
  readonly allow?: boolean | undefined;
}

export interface CallSpoolOptions extends SpoolOptions, Pick<DeliverDeps, 'svid' | 'target' | 'random'> {
  /** The McpServers of this gateway. The first is that of a record whose own cannot be read. */
  readonly servers: readonly [string, ...string[]];
  /** Whether the newest policy has `audit: required` for this server. */
  readonly isRequired: (server: string) => boolean;
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
  /** Of one server. Throws audit_spool where the events must not happen without a record. Blocks for the write. */
  record(...events: readonly SpooledEvent[]): void;
  /** Throws audit_spool if the events let a call in that could not be recorded. */
  ensureRoom(events: readonly SpooledEvent[]): void;
  /** Why new calls of this server are refused, because they could not be recorded; undefined if they are not. */
  refuses(server: string): string | undefined;
  /** Why the CA does not get the records; undefined if it does. */
  undelivered(): string | undefined;
  /** Reads a record from the disk. Blocks. */
  report(): SpoolReport;
  /** Ends the delivery. What is not delivered stays. */
  close(): Promise<void>;
}

/** Of the spool, for the answers of calls that go on: a new call must leave it free. */
const SPARE_PART = 1 / 8;
/** Of the spool, for servers that require a record: what others of this gateway write must leave it free. */
const OTHERS_PART = 1 / 2;
/** What the record of a new call takes, about. */
const ONE_RECORD = 4 * 1024;

/** Opens the spool and begins to deliver it. Throws file. */
export function openCallSpool(options: CallSpoolOptions): CallSpool {
  const { servers, isRequired, clock, log, maxBytes } = options;
  const spool = new Spool(options);
  const lostRecord = (fields: object): string =>
    JSON.stringify({ id: randomUUID(), stage: 'lost', time: clock.now(), server: servers[0], ...fields });
  const waiting = new Losses(clock);
  let lost = 0;
  const lose = (events: readonly SpooledEvent[], error: unknown): void => {
    lost += events.length;
    if (waiting.add(events))
      log.error({ err: error }, 'records of calls are lost for the audit log of the CA; the calls go on');
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
  const areRequired = (events: readonly SpooledEvent[]) => events.some((event) => isRequired(event.server));
  const refuses = (events: readonly SpooledEvent[]) =>
    // What the records take is not counted where it does not matter: it costs as much as writing them.
    areRequired(events) ? whyFull(spool, options, ONE_RECORD + bytesOf(events)) : undefined;
  return {
    ensureRoom: (events) => ensureNo(letsIn(events) ? refuses(events) : undefined),
    record(...events) {
      const durable = areRequired(events);
      const isNew = durable && letsIn(events);
      const missing = waiting.all().map((loss) => lostRecord({ ...loss, detail: 'the spool was full' }));
      const records = [...missing, ...events.map(recordOf)];
      try {
        spool.append(records, { durable, spare: maxBytes * spareOf(options, { durable, isNew }) });
        waiting.clear();
      } catch (error) {
        // Its calls are refused, so nothing of them is missing.
        if (isNew) throw error;
        lose(events, error);
        if (durable) throw error;
      }
    },
    refuses: (of) => (isRequired(of) ? whyFull(spool, options, ONE_RECORD) : undefined),
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

/** The part of the spool that must stay free after a write. */
function spareOf(
  { servers, isRequired }: CallSpoolOptions,
  { durable, isNew }: { readonly durable: boolean; readonly isNew: boolean },
): number {
  if (isNew) return SPARE_PART;
  return !durable && servers.some(isRequired) ? OTHERS_PART : 0;
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
  isRequired: (server: string) => boolean,
  events: readonly SpooledEvent[],
): void {
  for (const event of events)
    ensure(!letsIn([event]) || !isRequired(event.server), 'audit_spool', notDelivered(event.server));
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
