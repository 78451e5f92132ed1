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
import { live } from '../../../test/kit/mcp/world.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { deliver } from './deliver.ts';
import { Spool } from './spool.ts';

let folder: string;
let server: grpc.Server;
let port: number;
let taken: string[];
beforeEach(async () => {
  [folder, taken] = [makeFolder(), []];
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
