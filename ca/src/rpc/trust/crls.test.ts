import { randomBytes } from 'node:crypto';
import { TrustService } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { concat } from '@chancery/shared/ground/bytes.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import * as grpc from '@grpc/grpc-js';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import {
  certifiedCaller,
  expectRefused,
  FakeCall,
  makeRpc,
  peerOf,
  type Rpc,
  stranger,
} from '../../../../test/kit/ca/rpc.ts';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import type { MadeCrl } from '../../crl/sign.ts';
import { getCrls } from './crls.ts';
import { watch } from './trust.ts';

let rpc: Rpc;
beforeEach(async () => {
  rpc = await makeRpc();
});

function listOf(size: number, number = 1n): MadeCrl {
  const { certificate: der, serial, kind, key } = rpc.root;
  const entries = { count: 0, bytes: new Uint8Array() };
  const about = { serial, kind, key, certificate: parseCertificate(der), number, entries };
  return { ...about, der: randomBytes(size), thisUpdate: NOW, nextUpdate: after(60) };
}

/** An asker that takes what it is sent, or nothing of it. */
function ask(caller: Parameters<typeof peerOf>[1] = stranger, reads = true) {
  const call = new FakeCall(TrustService.getCrls, peerOf(rpc, caller));
  const { write } = call;
  call.write = (message, done) => write.call(call, message, reads ? done : () => {});
  const unary = Object.assign(call, { request: Buffer.alloc(0), metadata: { get: () => [] } });
  unary.run(getCrls(rpc)(rpc));
  return call;
}

test('anyone may have the lists, in parts, each with its issuer and all with one name', async () => {
  const lists = [listOf(150_000), listOf(100, 2n)];
  rpc.crls.publish(lists);
  const call = ask();
  await vi.waitFor(() => expect(call.ended).toHaveBeenCalled());
  const [first, ...parts] = call.written;
  expect(first?.state).toHaveLength(16);
  expect(parts.map(({ issuer, data }) => [issuer.length > 0, data.length])).toEqual([
    [true, 65_536],
    [false, 65_536],
    [false, 18_928],
    [true, 100],
  ]);
  expect(concat(...parts.map(({ data }) => data))).toEqual(concat(...lists.map(({ der }) => der)));
});

test('before the first lists it says so', async () => {
  await expectRefused(rpc, await ask().failed, 'unavailable', /^no lists$/);
});

describe('I125 an asker that does not read', () => {
  test('ends after its time', async () => {
    rpc.crls.publish([listOf(100)]);
    const call = ask(stranger, false);
    await vi.waitFor(() => expect(call.written).toHaveLength(1));
    rpc.clock.advanceTo(after(121));
    await expectRefused(rpc, await call.failed, 'deadline', /not read in time$/);
  });

  test('has four places for its address, and takes none of another', async () => {
    rpc.crls.publish([listOf(100)]);
    const slow = Array.from({ length: 5 }, () => ask(stranger, false));
    expect(await slow[4]?.failed).toMatchObject({ code: grpc.status.RESOURCE_EXHAUSTED });
    const other = ask({ ...stranger, address: '10.9.0.1' });
    await vi.waitFor(() => expect(other.ended).toHaveBeenCalled());
    const { caller } = await certifiedCaller(rpc);
    const certified = ask(caller);
    await vi.waitFor(() => expect(certified.ended).toHaveBeenCalled());
  });
});

test('a trust stream says at its begin and after each change which lists there are, without a number', async () => {
  rpc.crls.publish([listOf(100)]);
  const { caller } = await certifiedCaller(rpc);
  const call = new FakeCall(TrustService.watch, peerOf(rpc, caller));
  call.run(watch(rpc)(rpc));
  call.say({ message: { $case: 'hello', value: { instance: randomBytes(16), version: '1' } } });
  expect(await call.next()).toMatchObject({ sequence: 1n, crls: Buffer.alloc(0) });
  const first = await call.next();
  expect(first).toMatchObject({ sequence: 0n, bundle: undefined, revocations: undefined });
  rpc.crls.publish([listOf(100, 2n)]);
  const second = await call.next();
  expect([first, second].map(({ crls }) => crls.length)).toEqual([16, 16]);
  expect(second.crls).not.toEqual(first.crls);
});
