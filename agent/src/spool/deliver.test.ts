import { join } from 'node:path';
import {
  AuditService,
  type ReportRequest,
  type ReportResponse,
} from '@chancery/proto/gen/chancery/v1/audit.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import * as grpc from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { live } from '../../../test/kit/mcp/world/world.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { deliver } from './deliver.ts';
import { Spool } from './spool.ts';

let folder: string;
let server: grpc.Server;
let port: number;
let taken: string[];
let takesRecords: boolean;
beforeEach(async () => {
  [folder, taken, takesRecords] = [makeFolder(), [], true];
  server = new grpc.Server();
  server.addService(AuditService, { report });
  port = await new Promise<number>((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createInsecure();
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
});
afterEach(() => {
  server.forceShutdown();
  removeFolder(folder);
});

/** An older CA: it does not know the outcome `novel`. */
function report(call: grpc.ServerDuplexStream<ReportRequest, ReportResponse>): void {
  call.on('error', () => {});
  call.on('data', ({ message }: ReportRequest) => {
    if (!takesRecords) {
      call.emit('error', { code: grpc.status.UNIMPLEMENTED, details: 'unknown method Report' });
      return;
    }
    if (message?.$case === 'batch') {
      const records = message.value.records.map((bytes) => bytes.toString());
      if (records.some((each) => each.includes('"novel"'))) {
        call.emit('error', { code: grpc.status.INVALID_ARGUMENT, details: 'the message could not be read' });
        return;
      }
      taken.push(...records);
    }
    call.write({ through: BigInt(taken.length), last: Buffer.alloc(0) });
  });
}

test('M104 a record that the CA alone cannot read is put aside, and those behind it are delivered', async () => {
  const spool = new Spool({ folder: join(folder, 'spool'), maxBytes: 1024 * 1024 });
  const stop = new AbortController();
  const aside: [number, string][] = [];
  const record = (id: number, outcome: string) =>
    JSON.stringify({ id: `${id}`, stage: 'answered', time: new Date(), server: 's', outcome });
  const sent = [1, 2, 3, 4, 5].map((id) => record(id, id === 3 ? 'novel' : 'result'));
  spool.append(sent, { durable: false, spare: 0 });
  const delivering = deliver(
    {
      spool,
      svid: live({} as Svid),
      target: () => ({
        address: `127.0.0.1:${port}`,
        credentials: grpc.credentials.createInsecure(),
        options: { 'grpc.use_local_subchannel_pool': 1 },
      }),
      lost: (_, detail) => JSON.stringify({ stage: 'lost', detail }),
      setAside: (number, json) => void aside.push([number, json]),
      clock: systemClock,
      random: () => 0,
      log: silentLog,
    },
    stop.signal,
  );
  await vi.waitFor(() => expect(taken).toHaveLength(5), { timeout: 60_000, interval: 50 });
  expect(taken.filter((_, n) => n !== 2)).toEqual(sent.filter((_, n) => n !== 2));
  expect(taken[2]).toMatch(/put aside at the gateway/);
  expect(aside).toEqual([[3, sent[2]]]);
  stop.abort();
  await delivering;
  spool.close();
});

test('a CA of a release that takes no records is asked again after ten minutes, and says so meanwhile', async () => {
  takesRecords = false;
  const spool = new Spool({ folder: join(folder, 'spool'), maxBytes: 1024 * 1024 });
  spool.append([JSON.stringify({ id: '1' })], { durable: false, spare: 0 });
  const stop = new AbortController();
  const [waits, states]: [number[], (string | undefined)[]] = [[], []];
  const now = new Date(0);
  const clock = {
    now: () => now,
    // Of the wait for an answer the end never comes, and the other one is over at once.
    sleepUntil: (at: Date, signal?: AbortSignal) => {
      waits.push((at.getTime() - now.getTime()) / 1000);
      if (waits.at(-1) !== 60) takesRecords = true;
      return waits.at(-1) === 60
        ? systemClock.sleepUntil(new Date(Date.now() + 60_000), signal)
        : Promise.resolve();
    },
  };
  const target = () => ({
    address: `127.0.0.1:${port}`,
    credentials: grpc.credentials.createInsecure(),
    options: { 'grpc.use_local_subchannel_pool': 1 },
  });
  const deps = { spool, svid: live({} as Svid), target, lost: () => '{}', setAside: () => {} };
  const onState = (failure: string | undefined) => void states.push(failure);
  const delivering = deliver({ ...deps, onState, clock, random: () => 0, log: silentLog }, stop.signal);
  await vi.waitFor(() => expect(taken).toHaveLength(1), { timeout: 30_000, interval: 20 });
  expect(waits.filter((each) => each > 60)).toEqual([600]);
  expect(states).toEqual([expect.stringMatching(/of a release that takes no records$/), undefined]);
  stop.abort();
  await delivering;
  spool.close();
});
