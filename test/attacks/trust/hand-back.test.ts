/** I227, I238: what an agent hands back over the wire, however much it is, and what peers with certificates cost. */
import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { handBack, partsOf } from '@chancery/agent/trust/stream/hand-back.ts';
import type { Handed } from '@chancery/ca/recovery/recovery.ts';
import { grpcServer } from '@chancery/ca/rpc/server.ts';
import { TrustClient, TrustService } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { RpcServer } from '@chancery/shared/rpc/server.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { applied, makeRpc, type Rpc } from '../../kit/ca/rpc.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';

const revoked = (number: number, certificates: number) => ({
  ...{ number: BigInt(number), kind: 'node', value: `k8s_psat/prod-eu-1/ip-10-0-${number}.example` },
  serials: Array.from({ length: certificates }, (_, n) => `40${n.toString(16).padStart(38, '0')}`),
  ...{ reason: 'keyCompromise', until: 0n },
});

const folder = makeFolder();
let rpc: Rpc;
let server: RpcServer;
const doors: net.Server[] = [];
let client: TrustClient;
let taken: Handed[];
let outcomes: string[];
beforeAll(async () => {
  rpc = await makeRpc();
  rpc.recovery.take = (async (handed: Handed) => {
    if (handed.list.length > 0) taken.push(handed);
    return taken.length === 0;
  }) as never;
  server = grpcServer({ ...rpc, signIn: undefined, connections: 100 });
  client = await clientAs(server, 'a', { via: 'join', address: 'uid 4242', peer: { uid: 4242 } });
});
beforeEach(() => {
  [taken, outcomes] = [[], []];
  rpc.clock.jump(new Date(rpc.clock.now().getTime() + 600_000));
});
afterAll(async () => {
  client.close();
  for (const each of doors) each.close();
  await server.close(100);
  removeFolder(folder);
});

/** What this caller sees of it. */
async function clientAs(to: RpcServer, name: string, caller: object): Promise<TrustClient> {
  const path = join(folder, `${name}.sock`);
  const listening = net.createServer((socket) => {
    rpc.callers.add(socket, caller as never);
    to.inject(socket);
  });
  doors.push(listening);
  await once(listening.listen(path), 'listening');
  return new TrustClient(`unix:${path}`, grpc.credentials.createInsecure());
}

const hand = (list: readonly ReturnType<typeof revoked>[]) => {
  const held = { sequence: 9n, note: 'a note', list, checkpoint: 'a checkpoint' };
  const handedBack = (_: unknown, outcome: string) => void outcomes.push(outcome);
  return handBack(client, { toHandBack: () => [held], handedBack }, silentLog);
};

test('I227 four megabytes of revocations arrive whole, in parts, in the order of their numbers', async () => {
  const list = [...Array.from({ length: 2_000 }, (_, n) => revoked(n + 1, 40)), revoked(5_000, 5_000)];
  expect(await hand(list.toReversed())).toBe(true);
  expect(taken).toEqual([{ note: 'a note', checkpoint: 'a checkpoint', list }]);
  expect(outcomes).toEqual(['taken']);
}, 30_000);

test('what the CA does not want is not sent', async () => {
  taken = [{ note: '', checkpoint: '', list: [] }];
  expect(await hand([revoked(1, 1)])).toBe(false);
  expect(outcomes).toEqual(['unwanted']);
});

test('I227 what the CA refuses for good is told apart from what it cannot take now', async () => {
  expect(await hand([{ ...revoked(1, 0), kind: 'odd' }])).toBe(false);
  expect(outcomes).toEqual(['refused']);
  for (let n = 0; n < 3; n += 1) await hand([{ ...revoked(1, 0), kind: 'odd' }]);
  outcomes = [];
  await expect(hand([revoked(1, 0)])).rejects.toThrow(/RESOURCE_EXHAUSTED/);
  expect(outcomes).toEqual(['failed']);
});

test('I227 a million empty revocations cost others nothing to speak of', async () => {
  const { path } = TrustService.handBack;
  const bytes = (value: Buffer): Buffer => value;
  const first = Buffer.from(
    TrustService.handBack.requestSerialize({ revocations: undefined, checkpoint: '' }),
  );
  const entries = Buffer.alloc(16_000);
  for (let at = 0; at < entries.length; at += 2) entries.writeUInt8(0x12, at);
  const part = Buffer.concat([Buffer.from([0x0a, 0x80, 0x7d]), entries]);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const liars = Array.from({ length: 8 }, async () => {
    const call = client.makeBidiStreamRequest(path, bytes, bytes);
    const ended = new Promise<grpc.StatusObject>((resolve) => call.on('status', resolve));
    call.on('error', () => {}).resume();
    call.write(first);
    for (let n = 0; n < 128; n += 1) call.write(part);
    call.end();
    return (await ended).code;
  });
  const codes = await Promise.all(liars);
  delay.disable();
  console.log(`event loop: p99 ${delay.percentile(99) / 1e6} ms, longest ${delay.max / 1e6} ms`);
  expect(codes.every((code) => code !== grpc.status.OK)).toBe(true);
  expect([...partsOf([])]).toEqual([]);
}, 30_000);

/** A certificate of this SPIFFE ID. */
const certified = (id: string) => ({
  ...{ via: 'tls', address: '10.0.0.1', shownCertificate: true },
  svid: () => ({ id, serial: id }),
});

test('I238 eight liars, four calls each and again at once, keep no gateway from handing back', async () => {
  const gateway = 'spiffe://prod.example/gateway';
  await applied(rpc, { kind: 'McpServer', name: 's', identity: gateway, address: 'a:1' });
  const crowded = grpcServer({ ...rpc, clock: systemClock, signIn: undefined, connections: 100 });
  const clients = await Promise.all(
    Array.from({ length: 8 }, (_, n) =>
      clientAs(crowded, `liar${n}`, certified(`spiffe://prod.example/liar${n}`)),
    ),
  );
  const honest = await clientAs(crowded, 'gateway', certified(gateway));
  const revocations = { sequence: 9n, note: 'n', list: [], since: 0n, gone: [] };
  let [asked, isOver] = [0, false];
  const lie = (liar: TrustClient): void => {
    if (isOver) return;
    const call = liar.handBack();
    call.on('data', () => {
      asked += 1;
    });
    call.on('error', () => {}).on('status', () => setImmediate(lie, liar));
    call.write({ revocations, checkpoint: '' });
  };
  for (const liar of clients) for (let n = 0; n < 4; n += 1) lie(liar);
  await vi.waitFor(() => expect(asked).toBeGreaterThanOrEqual(4), { timeout: 10_000 });
  const began = performance.now();
  const held = { sequence: 9n, note: 'a note', list: [revoked(1, 0)], checkpoint: '' };
  await handBack(honest, { toHandBack: () => [held], handedBack: () => {} }, silentLog);
  const seconds = (performance.now() - began) / 1000;
  console.log(`the gateway had handed back after ${seconds.toFixed(1)} s`);
  expect(taken).toHaveLength(1);
  expect(seconds).toBeLessThan(10);
  isOver = true;
  for (const each of [...clients, honest]) each.close();
  await crowded.close(100);
}, 40_000);
