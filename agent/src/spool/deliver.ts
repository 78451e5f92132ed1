/** Delivers a spool to the CA over a stream of its own: one message at a time, each until the CA has it on its disk. */
import { hash } from 'node:crypto';
import {
  AuditClient,
  type ReportBatch,
  type ReportRequest,
  type ReportResponse,
} from '@chancery/proto/gen/chancery/v1/audit.ts';
import { readCallRecord } from '@chancery/shared/audit/call-record.ts';
import { backoffSeconds } from '@chancery/shared/ground/backoff.ts';
import { hex, utf8 } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import * as grpc from '@grpc/grpc-js';
import { refusalFromCa, type Target } from '../svid/channel.ts';
import type { Batch, Spool } from './spool.ts';

export interface DeliverDeps {
  readonly spool: Spool;
  readonly svid: Source<Svid>;
  /** The CA, by the current SVID. */
  readonly target: () => Target;
  /** JSON of a record that stands for the one of this number, which cannot be sent: each time that it is sent. */
  readonly lost: (number: number, detail: string) => string;
  /** Puts a record aside that the CA refuses to read. */
  readonly setAside: (number: number, json: string) => void;
  /** Called with undefined when the CA answers, and with the reason when it does not. */
  readonly onState?: (failure: string | undefined) => void;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly log: Log;
}

const RETRY = { firstSeconds: 0.5, lastSeconds: 30, spread: 0.2 };
/** Until a CA that knows no records is asked again: it may have been upgraded. */
const OLDER_CA_SECONDS = 600;
/** A CA that is busy lets gateways wait. */
const ANSWER_SECONDS = 60;
/** What comes meanwhile shares a message. */
const GATHER_SECONDS = 0.1;

/** Delivers until the signal; a new SVID gets a new stream. */
export async function deliver(deps: DeliverDeps, signal: AbortSignal): Promise<void> {
  const { clock, log, random } = deps;
  let failures = 0;
  const care: Care = { checks: false, single: false, sent: 0, bad: new Set() };
  while (!signal.aborted) {
    try {
      await deliverOn(deps, { signal, care, onAnswer: () => (failures = 0) });
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      // A record that the CA cannot read would be in the way of all that follow.
      if (isUnreadable(error)) takeMoreCare(care);
      const says = error instanceof Error ? error.message : String(error);
      deps.onState?.(isOlder(error) ? `${says}: this CA is of a release that takes no records` : says);
      log.warn({ err: error, failures }, 'records of calls are not delivered; they are kept and sent again');
      const seconds = isOlder(error) ? OLDER_CA_SECONDS : backoffSeconds(RETRY, failures, random());
      await pause(seconds, clock, signal);
    }
  }
}

/** Ends early at the signal. */
const pause = (seconds: number, clock: Clock, signal: AbortSignal): Promise<void> =>
  clock.sleepUntil(addSeconds(clock.now(), seconds), signal).catch(() => {});

/** How records are sent after the CA could not read one of them. */
interface Care {
  /** Each is read here first, as the CA does. */
  checks: boolean;
  /** One in a message, so that a refusal is of that one: an older CA does not know what a newer gateway writes. */
  single: boolean;
  /** The first of the last message. */
  sent: number;
  /** Numbers of those that the CA refuses. */
  readonly bad: Set<number>;
}

function takeMoreCare(care: Care): void {
  if (!care.checks) care.checks = true;
  else if (!care.single) care.single = true;
  else care.bad.add(care.sent);
}

/** All is well from here on. */
function takeLessCare(care: Care): void {
  if (!care.bad.delete(care.sent) && care.single) return;
  [care.checks, care.single] = [false, false];
}

interface Delivering {
  readonly signal: AbortSignal;
  readonly care: Care;
  readonly onAnswer: () => void;
}

/** Resolves when there is another SVID. Throws why the stream ended. */
async function deliverOn(deps: DeliverDeps, { signal, care, onAnswer }: Delivering): Promise<void> {
  const { spool, svid, clock } = deps;
  const shown = svid.current();
  const stream = openStream(deps, signal);
  try {
    const hello = { spool: Buffer.from(spool.id, 'hex'), oldest: BigInt(spool.oldest) };
    let come = await stream.ask({ message: { $case: 'hello', value: hello } });
    const { id } = spool;
    if (!isOurs(come, spool)) beginAnew(deps);
    else spool.acknowledge(come.through);
    onAnswer();
    deps.onState?.(undefined);
    while (svid.current() === shown && spool.id === id && !signal.aborted) {
      const batch = spool.read(come.through, care.single ? 1 : undefined);
      if (batch === undefined) {
        await news(deps, stream);
        continue;
      }
      await spool.sync();
      const sent = batch.first + batch.records.length - 1;
      care.sent = batch.first;
      const value = batchOf(batch, care, deps);
      come = await stream.ask({ message: { $case: 'batch', value } });
      if (!isLast(come, value)) {
        beginAnew(deps);
        continue;
      }
      takeLessCare(care);
      const { through } = come;
      ensure(through === sent, 'out_of_order', `the CA has ${through} records where it was sent ${sent}`);
      spool.acknowledge(through);
      if (!batch.more) await pause(GATHER_SECONDS, clock, stream.ended);
    }
  } finally {
    stream.close();
  }
}

/** How far the CA has come. An older one does not say what the last record was. */
interface Come {
  readonly through: number;
  /** Hexadecimal; empty if it is not said. */
  readonly last: string;
}

/** Whether the CA has the record of this spool under that number, as far as one can tell. Blocks. */
function isOurs({ through, last }: Come, spool: Spool): boolean {
  if (last === '' || spool.instead.has(spool.id, through)) return true;
  return (spool.digestOf(through) ?? last) === last;
}

/** The same, for a number of the batch that was just sent. */
function isLast({ through, last }: Come, { first, records }: ReportBatch): boolean {
  const sent = records[through - Number(first)];
  return last === '' || sent === undefined || hash('sha256', sent, 'hex') === last;
}

function beginAnew({ spool, log }: DeliverDeps): void {
  log.warn(
    { spool: spool.id },
    'the CA has other records under the name of this spool: a second gateway runs from a copy of it. ' +
      'Its records are sent under a new name; some may be in the log twice',
  );
  spool.beginAnew();
}

/** Resolves when there may be something to do. Throws why the stream ended. */
async function news({ spool, svid }: DeliverDeps, { ended }: ReportStream): Promise<void> {
  const waiting = new AbortController();
  const signal = AbortSignal.any([ended, waiting.signal]);
  const stop = svid.onChange(() => waiting.abort());
  await spool.change(signal);
  stop();
  ended.throwIfAborted();
}

function batchOf({ first, records }: Batch, care: Care, { spool, lost, setAside }: DeliverDeps): ReportBatch {
  const insteadOf = (number: number, why: string): Buffer => {
    spool.instead.add(spool.id, number);
    return Buffer.from(lost(number, why));
  };
  const bytes = records.map((json, index) => {
    const number = first + index;
    if (json === undefined) return insteadOf(number, 'the record was spoiled on the disk');
    if (care.bad.has(number)) {
      setAside(number, json);
      return insteadOf(number, 'the CA cannot read the record: it is put aside at the gateway');
    }
    const isSent = !care.checks || isReadable(json);
    return isSent ? Buffer.from(json) : insteadOf(number, 'the record cannot be read');
  });
  return { first: BigInt(first), records: bytes };
}

function isReadable(json: string): boolean {
  try {
    readCallRecord(utf8(json));
    return true;
  } catch {
    return false;
  }
}

const isUnreadable = (error: unknown): boolean => hasStatus(error, grpc.status.INVALID_ARGUMENT);
const isOlder = (error: unknown): boolean => hasStatus(error, grpc.status.UNIMPLEMENTED);

const hasStatus = (error: unknown, status: grpc.status): boolean =>
  isRefusal(error, 'refused_by_ca') && (error.cause as grpc.ServiceError | undefined)?.code === status;

interface ReportStream {
  /** Resolves with what the CA has after this message. Throws why the stream ended, or unavailable. */
  ask(message: ReportRequest): Promise<Come>;
  /** Aborts when the stream ends, with the reason. */
  readonly ended: AbortSignal;
  close(): void;
}

function openStream({ target, clock }: DeliverDeps, signal: AbortSignal): ReportStream {
  const { address, credentials, options } = target();
  const client = new AuditClient(address, credentials, options);
  const call: grpc.ClientDuplexStream<ReportRequest, ReportResponse> = client.report();
  const over = new AbortController();
  const ended = AbortSignal.any([signal, over.signal]);
  let answered: (response: ReportResponse) => void = () => {};
  call.on('data', (response: ReportResponse) => answered(response));
  call.on('error', (error: grpc.ServiceError) => over.abort(refusalFromCa(error)));
  call.on('end', () => over.abort(new IdentityError('unavailable', 'the CA ended the report stream')));
  return {
    ended,
    ask: async (message) => {
      ended.throwIfAborted();
      const { promise, resolve } = Promise.withResolvers<ReportResponse>();
      answered = resolve;
      call.write(message);
      const { through, last } = await withinTime(promise, clock, ended);
      return { through: Number(through), last: hex(last) };
    },
    close: () => {
      call.cancel();
      client.close();
    },
  };
}

async function withinTime<T>(answer: Promise<T>, clock: Clock, ended: AbortSignal): Promise<T> {
  const done = new AbortController();
  const signal = AbortSignal.any([done.signal, ended]);
  const late = clock.sleepUntil(addSeconds(clock.now(), ANSWER_SECONDS), signal).then(() => {
    throw new IdentityError('unavailable', `the CA has not answered within ${ANSWER_SECONDS} s`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([answer, late]);
  } catch (error) {
    ended.throwIfAborted();
    throw error;
  } finally {
    done.abort();
  }
}
