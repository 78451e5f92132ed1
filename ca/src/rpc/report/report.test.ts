import { createHash } from 'node:crypto';
import type { StatsFs } from 'node:fs';
import fs from 'node:fs';
import { AuditService, type ReportRequest } from '@chancery/proto/gen/chancery/v1/audit.ts';
import { IdentityError, type Refusal } from '@chancery/shared/ground/errors.ts';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  applied,
  certifiedCaller,
  expectRefused,
  FakeCall,
  makeRpc,
  peerOf,
  type Rpc,
  stranger,
} from '../../../../test/kit/ca/rpc.ts';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import type { Reported } from '../../store/log-store.ts';
import { report } from './report.ts';

const server = {
  kind: 'McpServer',
  name: 'everything',
  identity: 'spiffe://prod.example/web',
  address: 'a:1',
};
let rpc: Rpc;
beforeEach(async () => {
  rpc = await makeRpc();
  await applied(rpc, server);
});

const record = (changes: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({ id: 'a', stage: 'decided', time: NOW.toISOString(), server: 'everything', ...changes }),
  );
const hello = (changes: object = {}): ReportRequest => ({
  message: { $case: 'hello', value: { spool: Buffer.alloc(16, 7), oldest: 1n, ...changes } },
});
const batch = (first: bigint, ...records: Buffer[]): ReportRequest => ({
  message: { $case: 'batch', value: { first, records } },
});

async function reporting(caller?: Parameters<typeof peerOf>[1]) {
  const { caller: certified, issued } = await certifiedCaller(rpc, 60);
  const call = new FakeCall(AuditService.report, peerOf(rpc, caller ?? certified));
  call.run(report(rpc)(rpc));
  return { call, issued };
}
/** With the first answer of the CA. */
async function begun() {
  const { call, issued } = await reporting();
  call.say(hello());
  expect(await call.next()).toMatchObject({ through: 0n });
  return { call, issued };
}
const recorded = async () =>
  (await rpc.store.events(0, 1000)).flatMap(({ event }) => (event.type === 'call.recorded' ? [event] : []));
const refused = async (call: { failed: Promise<object> }, code: Refusal, detail: RegExp) =>
  expectRefused(rpc, await call.failed, code, detail);

test('a batch is answered once it is on record, with who reported it', async () => {
  const { call, issued } = await begun();
  call.say(batch(1n, record(), record({ id: 'b' })));
  expect(await call.next()).toMatchObject({ through: 2n });
  const { serial } = issued;
  const about = { reporter: 'spiffe://prod.example/web', serial, spool: '07'.repeat(16) };
  expect(await recorded()).toMatchObject([
    { ...about, number: 1, record: { id: 'a' } },
    { ...about, number: 2, record: { id: 'b' } },
  ]);
  expect((await recorded())[0]).not.toHaveProperty('foreign');
});

test('I118 another stream of the same spool goes on where the one before has come to', async () => {
  const { call } = await begun();
  call.say(batch(1n, record()));
  await call.next();
  const { call: second } = await reporting();
  second.say(hello());
  expect(await second.next()).toMatchObject({ through: 1n });
  second.say(batch(1n, record(), record({ id: 'b' })));
  expect(await second.next()).toMatchObject({ through: 2n });
  expect((await recorded()).map(({ number }) => number)).toEqual([1, 2]);
});

test('I243 the answer has the digest of the newest record, for a copy of the spool, too', async () => {
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest();
  const { call } = await begun();
  call.say(batch(1n, record(), record({ id: 'b' })));
  const come = { through: 2n, last: digest(record({ id: 'b' })) };
  expect(await call.next()).toEqual(come);
  const { call: copy } = await reporting();
  copy.say(hello());
  expect(await copy.next()).toEqual(come);
  copy.say(batch(2n, record({ id: 'c' }), record({ id: 'd' })));
  expect(await copy.next()).toEqual(come);
  expect((await recorded()).map(({ record: { id } }) => id)).toEqual(['a', 'b']);
});

test('I118 a batch after numbers that are missing', async () => {
  const { call } = await begun();
  call.say(batch(2n, record()));
  await refused(call, 'out_of_order', /record 2 of the spool comes after 0/);
});

test('I127 a record of a server that is not the reporter’s', async () => {
  const { call } = await begun();
  call.say(batch(1n, record({ server: 'payroll' })));
  await call.next();
  expect(await recorded()).toMatchObject([{ foreign: true, reporter: server.identity }]);
});

describe('I117 a report', () => {
  test('of a stranger', async () => {
    const svid = () => {
      throw new IdentityError('no_peer', 'no certificate');
    };
    const { call } = await reporting({ ...stranger, svid });
    await refused(call, 'no_peer', /./);
  });

  test('of a workload that is no McpServer', async () => {
    await applied(rpc, { ...server, identity: 'spiffe://prod.example/another' });
    const { call } = await reporting();
    await refused(call, 'not_gateway', /web is not the identity of an McpServer/);
  });

  test('of one whose server is not registered any more, after its hello', async () => {
    const { call } = await begun();
    await applied(rpc, { ...server, identity: 'spiffe://prod.example/another' });
    call.say(batch(1n, record()));
    await refused(call, 'not_gateway', /web/);
    expect(await recorded()).toEqual([]);
  });

  test('of one that is revoked after its hello', async () => {
    const { call, issued } = await begun();
    const target = { kind: 'serial', value: issued.serial } as const;
    await rpc.revocations.revoke({ target, reason: 'keyCompromise', seconds: 0, by: 'the test' });
    call.say(batch(1n, record()));
    await refused(call, 'revoked_peer', /./);
    expect(await recorded()).toEqual([]);
  });

  test('of one whose certificate ends', async () => {
    const { call } = await begun();
    rpc.clock.advanceTo(after(61));
    await refused(call, 'expired_peer', /has expired|expired/);
  });
});

describe('I119', () => {
  test.each<[string, ReportRequest, Refusal, RegExp]>([
    ['a batch before the hello', batch(1n, record()), 'out_of_order', /expected hello, found batch/],
    ['a spool of 15 bytes', hello({ spool: Buffer.alloc(15) }), 'message_parse', /spool is 15 bytes/],
    ['the oldest number 0', hello({ oldest: 0n }), 'message_parse', /no such number/],
    ['the oldest number 2^53', hello({ oldest: 1n << 53n }), 'message_parse', /no such number/],
  ])('%s', async (_name, message, code, says) => {
    const { call } = await reporting();
    call.say(message);
    await refused(call, code, says);
  });

  const many = Array.from({ length: 513 }, () => record());
  const large = Array.from({ length: 9 }, () => record({ reason: 'x'.repeat(30_000) }));
  test.each<[string, ReportRequest, Refusal, RegExp]>([
    ['a second hello', hello(), 'out_of_order', /expected a batch/],
    ['no records', batch(1n), 'message_parse', /a batch of 0 records/],
    ['513 records', batch(1n, ...many), 'message_parse', /a batch of 513 records/],
    ['more than 256 KiB', batch(1n, ...large), 'message_parse', /at most 512 and 262144/],
    ['a record of 33 KiB', batch(1n, record({ reason: 'x'.repeat(33_000) })), 'message_parse', /too long/],
    ['the number 2^53', batch(1n << 53n, record()), 'message_parse', /no such number/],
    ['one bad record among good ones', batch(1n, record(), record({ x: 1 })), 'message_parse', /no field x/],
  ])('%s keeps none of the batch', async (_name, message, code, says) => {
    const { call } = await begun();
    call.say(message);
    await refused(call, code, says);
    expect(await recorded()).toEqual([]);
  });
});

test('I128 a gateway that reports faster than its share waits, and costs no other its own', async () => {
  const counted = vi.spyOn(rpc.limits, 'records');
  const { call } = await begun();
  const full = Array.from({ length: 512 }, () => record());
  for (let sent = 0; sent < 31; sent += 1) {
    call.say(batch(BigInt(sent * 512 + 1), ...full));
    await call.next();
  }
  call.say(batch(BigInt(31 * 512 + 1), ...full));
  await vi.waitFor(() => expect(counted.mock.results.at(-1)?.type).toBe('throw'));
  expect(call.written).toEqual([]);
  rpc.clock.advanceTo(after(1));
  expect(await call.next()).toMatchObject({ through: BigInt(32 * 512) });
});

describe('I220 the gateways of one node', () => {
  /** Streams that say hello, by one certificate and one handler. */
  async function opened(count: number) {
    const { caller } = await certifiedCaller(rpc, 60);
    const handler = report(rpc)(rpc);
    return Array.from({ length: count }, () => {
      const call = new FakeCall(AuditService.report, peerOf(rpc, caller));
      call.run(handler);
      call.say(hello());
      return call;
    });
  }

  /** One that is not turned away has an answer instead. */
  const turnedAway = async (call: FakeCall<typeof AuditService.report> | undefined) =>
    expect(await Promise.race([call?.failed, call?.next()])).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
    });

  test('have 64 streams', async () => {
    const calls = await opened(65);
    await turnedAway(calls[64]);
    for (const call of calls.slice(0, 64)) expect(await call.next()).toMatchObject({ through: 0n });
  });

  test('start no more streams than their rate', async () => {
    rpc = await makeRpc([], undefined, undefined, 5);
    await applied(rpc, server);
    const calls = await opened(6);
    await turnedAway(calls[5]);
    for (const call of calls.slice(0, 5)) expect(await call.next()).toMatchObject({ through: 0n });
  });

  test('have four batches at the database at a time, with those of all others', async () => {
    const { promise: written, resolve: write } = Promise.withResolvers<Reported>();
    const writing = vi.fn(() => written);
    vi.spyOn(rpc.reports, 'report').mockImplementation(writing);
    const calls = await opened(6);
    for (const call of calls) {
      await call.next();
      call.say(batch(1n, record()));
    }
    await vi.waitFor(() => expect(writing).toHaveBeenCalledTimes(4));
    await new Promise(setImmediate);
    expect(writing).toHaveBeenCalledTimes(4);
    write({ through: 1, last: '' });
    for (const call of calls) expect(await call.next()).toMatchObject({ through: 1n });
    expect(writing).toHaveBeenCalledTimes(6);
  });
});

describe('M102 a gateway that reports for ever', () => {
  const GIB = 1024 ** 3;
  /** A disk of 100 GiB with so much left. */
  const disk = (free: number): void => {
    const about = { bavail: free / 4096, blocks: (100 * GIB) / 4096, bsize: 4096 };
    vi.spyOn(fs.promises, 'statfs').mockImplementation(async () => about as StatsFs);
  };
  afterEach(() => vi.restoreAllMocks());
  test('waits while the disk is nearly full, and goes on when there is room', async () => {
    const { call } = await begun();
    disk(GIB - 4096);
    call.say(batch(1n, record()));
    await vi.waitFor(() => expect(rpc.reportRoom.held).toEqual({ disk: 1, share: 0 }));
    expect(await recorded()).toEqual([]);
    disk(GIB);
    rpc.clock.advanceTo(after(1));
    expect(await call.next()).toMatchObject({ through: 1n });
  });
});
