/** A certified node that asks for as many certificates as it can: row I64. */
import { randomBytes } from 'node:crypto';
import { Limits } from '@chancery/ca/door/limits.ts';
import { issueX509 } from '@chancery/ca/rpc/exchange/attestation.ts';
import type { Issuance } from '@chancery/ca/store/store.ts';
import { IssueX509Request } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import * as grpc from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { callUnary, certifiedCaller, makeRpc, peerOf, type Rpc } from '../../kit/ca/rpc.ts';

const freshCsr = async () => Buffer.from(await writeCsr(signerOf(generateKey())));

async function ask(rpc: Rpc, caller: Parameters<typeof peerOf>[1], csrs: readonly Buffer[]) {
  const request = IssueX509Request.encode({ csrs: [...csrs], succeeds: Buffer.alloc(0), scope: '' }).finish();
  return (await callUnary(issueX509(rpc)(rpc), peerOf(rpc, caller), request)).error?.code;
}

test('I64 a call for 64 certificates costs as much as 64 calls', async () => {
  const rates = { attestationsPerSecond: 50, attestationBurst: 100 };
  const made = await makeRpc();
  const settings = { ...rates, openAttestations: 10, openAttestationsPerAddress: 10 };
  const rpc = { ...made, limits: new Limits(settings, made.clock) };
  const { caller } = await certifiedCaller(rpc);
  const csrs = new Array<Buffer>(64).fill(await freshCsr());
  expect(await ask(rpc, caller, csrs)).toBeUndefined();
  expect(await ask(rpc, caller, csrs)).toBe(grpc.status.RESOURCE_EXHAUSTED);
  rpc.clock.jump(new Date(rpc.clock.now().getTime() + 1_000));
  expect(await ask(rpc, caller, csrs)).toBeUndefined();
  expect(await rpc.store.issued({ limit: 1_000 })).toHaveLength(1 + 2 * 64);
});

test('I64 a node has 10,000 valid certificates by IssueX509; others and its own renewals go on', async () => {
  const rpc = await makeRpc();
  const { caller, issued } = await certifiedCaller(rpc);
  const record = await rpc.store.issuance(issued.serial);
  const another = (changes: Partial<Issuance>) => {
    if (record === undefined) throw new Error('the certificate is not on record');
    const made = { ...record, serial: hex(randomBytes(16)), origin: record.serial, ...changes };
    return rpc.store.record(made, { type: 'registry.applied', version: 0, changes: [], by: 'a fence' });
  };
  await Promise.all(Array.from({ length: 10_000 }, () => another({})));
  expect(await ask(rpc, caller, [await freshCsr()])).toBe(grpc.status.RESOURCE_EXHAUSTED);
  await another({ origin: undefined });
  await another({ node: 'another', keySha256: randomBytes(32) });
});
