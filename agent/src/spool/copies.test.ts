/** Two gateways with copies of one spool deliver to a CA that keeps what it is sent by spool and number. */
import { hash } from 'node:crypto';
import fs from 'node:fs';
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
/** By the name of a spool. */
let taken: Map<string, string[]>;
/** Happens right before the next batch is looked at. */
let meanwhile: (() => void) | undefined;
/** How often `delivered` was called: what stands for a lost record is another text each time. */
let lives: number;
/** Numbers of the records that were put aside. */
let aside: number[];
beforeEach(async () => {
  [folder, taken, meanwhile, aside, lives] = [makeFolder(), new Map(), undefined, [], 0];
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

/** As the store of the CA does. */
function report(call: grpc.ServerDuplexStream<ReportRequest, ReportResponse>): void {
  let has: string[] = [];
  call.on('error', () => {});
  call.on('data', ({ message }: ReportRequest) => {
    if (message?.$case === 'hello') {
      const name = message.value.spool.toString('hex');
      has = taken.get(name) ?? [];
      taken.set(name, has);
    }
    if (message?.$case === 'batch') {
      meanwhile?.();
      meanwhile = undefined;
      const records = message.value.records.map(String);
      if (records.includes(record('novel'))) {
        call.emit('error', { code: grpc.status.INVALID_ARGUMENT, details: 'the message could not be read' });
        return;
      }
      const before = has.length + 1 - Number(message.value.first);
      const known = records[before - 1];
      if (known === undefined || known === has.at(-1)) has.push(...records.slice(before));
    }
    const last = has.at(-1);
    const digest = last === undefined ? Buffer.alloc(0) : hash('sha256', last, 'buffer');
    call.write({ through: BigInt(has.length), last: digest });
  });
}

const record = (id: string) => JSON.stringify({ id, stage: 'answered', time: new Date(0), server: 's' });
const append = (spool: Spool, ...ids: readonly string[]) =>
  spool.append(ids.map(record), { durable: false, spare: 0 });

/** A spool with these records, in order. */
function spoolWith(name: string, ...ids: readonly string[]): Spool {
  const spool = new Spool({ folder: join(folder, name), maxBytes: 1024 * 1024 });
  append(spool, ...ids);
  return spool;
}

async function delivered(spool: Spool, until: () => void): Promise<void> {
  lives += 1;
  const stop = new AbortController();
  const target = () => ({
    address: `127.0.0.1:${port}`,
    credentials: grpc.credentials.createInsecure(),
    options: { 'grpc.use_local_subchannel_pool': 1 },
  });
  const lost = (number: number) => record(`lost ${number} ${lives}`);
  const setAside = (number: number) => void aside.push(number);
  const deps = { spool, svid: live({} as Svid), target, lost, setAside };
  const delivering = deliver({ ...deps, clock: systemClock, random: () => 0, log: silentLog }, stop.signal);
  try {
    await vi.waitFor(until, { timeout: 30_000, interval: 20 });
  } finally {
    stop.abort();
    await delivering;
  }
}

const all = () => [...taken.values()].flat();
const has =
  (...ids: readonly string[]) =>
  () => {
    for (const id of ids) expect(all()).toContain(record(id));
  };

test('M106 a copy under whose numbers the CA has other records sends its own under another name', async () => {
  const first = spoolWith('first', 'a', 'b', 'c');
  const { id } = first;
  const second = spoolWith('second', 'd', 'e', 'f', 'g');
  const [segment = ''] = fs.readdirSync(join(folder, 'second'));
  // As a machine that was resumed from a snapshot: the same name.
  second.close();
  fs.renameSync(join(folder, 'second', segment), join(folder, 'second', segment.replace(/^[0-9a-f]+/, id)));
  await delivered(first, has('a', 'b', 'c'));
  const copy = new Spool({ folder: join(folder, 'second'), maxBytes: 1024 * 1024 });
  await delivered(copy, has('d', 'e', 'f', 'g'));
  expect(taken.get(id)).toEqual(['a', 'b', 'c'].map(record));
  expect(all()).toHaveLength(7);
  for (const each of [first, copy]) each.close();
});

test.each([
  ['fewer', ['x', 'y']],
  ['as many', ['x', 'y', 'z']],
  ['more', ['v', 'w', 'x', 'y']],
])('M106 the same while both deliver, where the other has sent %s', async (_, others) => {
  const spool = spoolWith('one', 'a', 'b');
  await delivered(spool, has('a', 'b'));
  append(spool, 'c', 'd', 'e');
  const { id } = spool;
  meanwhile = () => void taken.get(id)?.push(...others.map(record));
  await delivered(spool, has('c', 'd', 'e'));
  expect(taken.get(id)).toEqual(['a', 'b', ...others].map(record));
  spool.close();
});

test('a gateway that begins again, with what the CA has, sends nothing twice', async () => {
  const spool = spoolWith('one', 'a', 'b');
  await delivered(spool, has('a', 'b'));
  append(spool, 'c');
  await delivered(spool, has('c'));
  spool.close();
  const again = new Spool({ folder: join(folder, 'one'), maxBytes: 1024 * 1024 });
  append(again, 'd');
  await delivered(again, has('d'));
  expect(all()).toEqual(['a', 'b', 'c', 'd'].map(record));
  again.close();
});

test('M108 a newest record that was put aside is not taken for that of another gateway, also after a restart', async () => {
  const spool = spoolWith('one', 'a', 'b', 'novel');
  const { id } = spool;
  await delivered(spool, has('a', 'b', 'lost 3 1'));
  append(spool, 'c');
  await delivered(spool, has('c'));
  append(spool, 'novel');
  await delivered(spool, () => expect(all()).toHaveLength(5));
  spool.close();
  const again = new Spool({ folder: join(folder, 'one'), maxBytes: 1024 * 1024 });
  append(again, 'd');
  await delivered(again, has('d'));
  expect(taken.get(id)).toHaveLength(5);
  expect(all()).toHaveLength(6);
  expect(aside).toEqual([3, 5]);
  again.close();
});
