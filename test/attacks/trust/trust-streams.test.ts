/** Trust streams that one certified node opens, or wakes, by the thousand: rows I65 and M57. */
import { randomBytes } from 'node:crypto';
import { watch } from '@chancery/ca/rpc/trust/trust.ts';
import { TrustService } from '@chancery/proto/gen/chancery/v1/trust.ts';
import * as grpc from '@grpc/grpc-js';
import { beforeEach, expect, test, vi } from 'vitest';
import { applied, certifiedCaller, FakeCall, makeRpc, peerOf, type Rpc } from '../../kit/ca/rpc.ts';
import { after } from '../../kit/certificates.ts';

let rpc: Rpc;
beforeEach(async () => {
  rpc = await makeRpc();
});

function follow(caller: Parameters<typeof peerOf>[1], isSilent = false) {
  const call = new FakeCall(TrustService.watch, peerOf(rpc, caller));
  call.run(watch(rpc)(rpc));
  if (!isSilent)
    call.say({ message: { $case: 'hello', value: { instance: randomBytes(16), version: '1' } } });
  return call;
}

test('I65 successions by the hundred wake no agent but gateways, and those once', async () => {
  const { caller } = await certifiedCaller(rpc);
  const stream = follow(caller);
  await stream.next();
  const [resources, state, since] = [
    vi.spyOn(rpc.registry.sets, 'current'),
    vi.spyOn(rpc.revocations.sets, 'current'),
    vi.spyOn(rpc.successions, 'since'),
  ];
  const node = { platform: 'fake', node: 'n2' };
  const add = (n: number) => rpc.successions.add({ old: `40${n}`, next: `41${n}`, until: after(60), node });
  for (let n = 100; n < 300; n += 1) add(n);
  for (const spy of [resources, state, since]) expect(spy).not.toHaveBeenCalled();

  await applied(rpc, { kind: 'McpServer', name: 's', identity: 'spiffe://prod.example/web', address: 'a:1' });
  await vi.waitFor(() => expect(since).toHaveBeenCalledOnce());
  for (let n = 300; n < 500; n += 1) add(n);
  rpc.clock.advanceTo(new Date(rpc.clock.now().getTime() + 50));
  await vi.waitFor(() => expect(since).toHaveBeenCalledTimes(2));
  expect(state).toHaveBeenCalledOnce();
});

test('I65 a node has 64 trust streams; its derived certificates have another share', async () => {
  const { caller, issued } = await certifiedCaller(rpc);
  const streams = Array.from({ length: 65 }, () => follow(caller, true));
  const last = streams.at(-1);
  expect((await last?.failed)?.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
  const record = await rpc.store.issuance(issued.serial);
  vi.spyOn(rpc.store, 'issuance').mockResolvedValue(record && { ...record, origin: '40aa' });
  const derived = follow(caller);
  expect((await derived.next()).sequence).toBeGreaterThan(0n);
});

test('M57 a derived certificate has 4 trust streams, however many its node has left', async () => {
  const { caller, issued } = await certifiedCaller(rpc);
  const record = await rpc.store.issuance(issued.serial);
  const issuance = vi.spyOn(rpc.store, 'issuance').mockResolvedValue(record && { ...record, origin: '40aa' });
  const streams = Array.from({ length: 5 }, () => follow(caller, true));
  expect((await streams.at(-1)?.failed)?.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
  issuance.mockRestore();
  const other = await certifiedCaller(rpc);
  const second = await rpc.store.issuance(other.issued.serial);
  vi.spyOn(rpc.store, 'issuance').mockResolvedValue(second && { ...second, origin: '40aa' });
  expect((await follow(other.caller).next()).sequence).toBeGreaterThan(0n);
});

test('I46 a connection with an open trust stream gives way only within the share of its node', async () => {
  const { caller } = await certifiedCaller(rpc);
  const answered = vi.fn();
  const answer = vi.fn(() => answered);
  const stream = follow({ ...caller, answer });
  await stream.next();
  expect(answer).toHaveBeenCalledOnce();
  expect(answered).not.toHaveBeenCalled();
  stream.emit('end');
  await vi.waitFor(() => expect(answered).toHaveBeenCalledOnce(), { timeout: 9_000 });
});
