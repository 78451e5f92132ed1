/** Audit.Report: the records of gateways become entries of the audit log. */
import { hash } from 'node:crypto';
import {
  AuditService,
  type ReportBatch,
  type ReportHello,
  type ReportRequest,
  type ReportResponse,
} from '@chancery/proto/gen/chancery/v1/audit.ts';
import {
  MAX_BATCH_BYTES,
  MAX_BATCH_RECORDS,
  MAX_RECORD_BYTES,
  readCallRecord,
} from '@chancery/shared/audit/call-record.ts';
import { type Node, nodeName } from '@chancery/shared/evidence/node.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { Turns } from '@chancery/shared/ground/turns.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Reported, ReportedCall, ReportStore, Spool } from '../../store/log-store.ts';
import type { Caller } from '../caller.ts';
import { type AttestationDeps, certified } from '../exchange/attestation.ts';
import { bidi, type Stream } from '../methods.ts';

export interface ReportDeps extends Pick<AttestationDeps, 'store' | 'revocations' | 'limits' | 'clock'> {
  readonly reports: ReportStore;
  readonly registry: Registry;
  readonly reportRoom: { take(reporter: string, bytes: number, signal: AbortSignal): Promise<void> };
}

type ReportStream = Stream<ReportRequest, ReportResponse>;

const HELLO_SECONDS = 10;
const SPOOL_BYTES = 16;
/** Batches of all gateways that are with the store at once: an issuance waits for no more. */
const AT_ONCE = 4;
/** How often a gateway beyond its rate is looked at again. */
const PACE_SECONDS = 0.25;

/** Gateways of registered servers may call it. One batch of a stream is on its way at a time. */
export const report = (deps: ReportDeps) => {
  const turns = new Turns(AT_ONCE);
  return bidi('Report', AuditService.report, async (stream: ReportStream) => {
    const { record } = await gateway(stream.caller, deps);
    deps.limits.call('Report', nodeName(record));
    const place = deps.limits.report(record);
    // Silent while there is nothing to report, as a trust stream is.
    const answered = stream.caller.answer?.();
    try {
      await reported(stream, deps, turns);
    } finally {
      answered?.();
      place.leave();
    }
  });
};

async function reported(stream: ReportStream, deps: ReportDeps, turns: Turns): Promise<void> {
  const first = (await stream.read(HELLO_SECONDS))?.message;
  ensure(first?.$case === 'hello', 'out_of_order', `expected hello, found ${first?.$case ?? 'nothing'}`);
  const hello = readHello(first.value);
  const { id: reporter } = await gateway(stream.caller, deps);
  const spool: Spool = { reporter, spool: hello.spool };
  await stream.send(answerOf(await deps.reports.reportedThrough(spool)));
  for (;;) {
    const message = (await nextOf(stream, deps))?.message;
    if (message === undefined) return;
    ensure(message.$case === 'batch', 'out_of_order', 'expected a batch of records');
    // The certificate may be revoked, or the server no longer registered, since the batch before.
    const now = await gateway(stream.caller, deps);
    const { value: batch } = message;
    await paced(now, batch, stream, deps);
    const events = eventsOf(batch, { ...spool, serial: now.record.serial }, deps);
    const digests = batch.records.map((bytes) => hash('sha256', bytes, 'hex'));
    const from = { ...spool, node: nodeName(now.record) };
    const come = await turns.run(() => deps.reports.report(from, hello.oldest, events, digests));
    await stream.send(answerOf(come));
  }
}

const answerOf = ({ through, last }: Reported): ReportResponse => ({
  through: BigInt(through),
  last: Buffer.from(last, 'hex'),
});

/** The caller's certificate, which is good now and of a registered server. Throws as `certified`, and not_gateway. */
async function gateway(caller: Caller, deps: ReportDeps) {
  const { svid, record } = await certified(caller, deps);
  const { id } = svid;
  ensure(serversOf(id, deps).length > 0, 'not_gateway', `${id} is not the identity of an McpServer`);
  return { id, record };
}

const serversOf = (id: string, { registry }: ReportDeps): readonly string[] =>
  registry.sets
    .current()
    .resources.flatMap((each) => (each.kind === 'McpServer' && each.identity === id ? [each.name] : []));

function readHello({ spool, oldest }: ReportHello): { readonly spool: string; readonly oldest: number } {
  ensure(spool.length === SPOOL_BYTES, 'message_parse', `spool is ${spool.length} bytes, not ${SPOOL_BYTES}`);
  return { spool: hex(spool), oldest: numberOf(oldest) };
}

function numberOf(value: bigint): number {
  const number = Number(value);
  ensure(number >= 1 && Number.isSafeInteger(number + MAX_BATCH_RECORDS), 'message_parse', 'no such number');
  return number;
}

/** Undefined when the gateway leaves. Throws expired_peer at the end of its certificate: nothing outlives it. */
async function nextOf(stream: ReportStream, deps: ReportDeps): Promise<ReportRequest | undefined> {
  const { record } = await gateway(stream.caller, deps);
  const left = Math.max(0, record.notAfter.getTime() - deps.clock.now().getTime()) / 1000;
  try {
    return await stream.read(left);
  } catch (error) {
    if (stream.signal.aborted) return undefined;
    if (!isRefusal(error, 'deadline')) throw error;
    throw new IdentityError('expired_peer', `the certificate of ${record.id} has expired`, { cause: error });
  }
}

/**
 * Waits while there is no room, or the gateway is faster than its share: it costs nobody else anything. Throws
 * message_parse, and as the room does.
 */
async function paced(
  { id, record }: { readonly id: string; readonly record: Node },
  { records }: ReportBatch,
  { signal }: ReportStream,
  { limits, clock, reportRoom }: ReportDeps,
): Promise<void> {
  const bytes = records.reduce((sum, { length }) => sum + length, 0);
  const isSmall = records.length >= 1 && records.length <= MAX_BATCH_RECORDS && bytes <= MAX_BATCH_BYTES;
  const says = `a batch of ${records.length} records and ${bytes} bytes`;
  ensure(isSmall, 'message_parse', `${says}, at most ${MAX_BATCH_RECORDS} and ${MAX_BATCH_BYTES} are read`);
  await reportRoom.take(id, bytes, signal);
  for (;;) {
    try {
      return limits.records(`${id} on ${nodeName(record)}`, records.length, bytes);
    } catch (error) {
      if (!isRefusal(error, 'rate')) throw error;
    }
    await clock.sleepUntil(addSeconds(clock.now(), PACE_SECONDS), signal);
  }
}

function eventsOf(
  { first, records }: ReportBatch,
  { reporter, spool, serial }: Spool & { readonly serial: string },
  deps: ReportDeps,
): readonly ReportedCall[] {
  const from = numberOf(first);
  const own = new Set(serversOf(reporter, deps));
  return records.map((bytes, index) => {
    ensure(bytes.length <= MAX_RECORD_BYTES, 'message_parse', `record ${from + index} is too long`);
    const record = readCallRecord(bytes);
    const foreign = own.has(record.server) ? {} : { foreign: true as const };
    return { type: 'call.recorded', reporter, serial, spool, number: from + index, ...foreign, record };
  });
}
