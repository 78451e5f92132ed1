/** Floods by peers that prove nothing: rows I40 and I43. */
import { AttestationClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../kit/ca.ts';
import { framed, type Stranger, statusOf, stranger } from '../kit/flood/stranger.ts';
import { helloMessage, joinAs } from '../kit/join.ts';

const ATTEST = '/chancery.v1.Attestation/Attest';
const PLACES = 6;
let ca: TestCa;
beforeAll(async () => {
  ca = await startTestCa({ limits: { openAttestations: PLACES, openAttestationsPerAddress: 2 } });
  await ca.apply({ kind: 'Identity', name: 'w', platform: 'unix', id: `spiffe://${TRUST_DOMAIN}/w` });
});
afterAll(() => ca.close());
const open: Stranger[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

function from(address: string): Stranger {
  const made = stranger(address, ca.running.port);
  open.push(made);
  return made;
}

const openExchanges = async (): Promise<number> => {
  const text = await (await fetch(`http://127.0.0.1:${ca.running.httpPort}/metrics`)).text();
  return Number(/^chancery_open_exchanges (\d+)/m.exec(text)?.[1]);
};

test('I40 silent strangers take all their places: a stranger that speaks is read, and a local join works', async () => {
  let asked = 0;
  await vi.waitFor(
    async () => {
      for (let n = 1; n <= PLACES; n += 1) from(`127.0.1.${asked + n}`).call(ATTEST);
      asked += PLACES;
      expect(await openExchanges()).toBe(PLACES);
    },
    { timeout: 20_000, interval: 50 },
  );
  const { requestSerialize } = AttestationClient.service.attest;
  const hello = framed(requestSerialize(await helloMessage({ platform: 'unheard-of' })));
  const status = await statusOf(from('127.0.2.1').call(ATTEST, hello));
  expect(status).not.toBe(grpc.status.RESOURCE_EXHAUSTED);
  expect((await ca.refusals()).at(-1)).toMatchObject({ code: 'platform_unknown', peer: '127.0.2.1' });
  expect((await joinAs(ca)).id).toBe(`spiffe://${TRUST_DOMAIN}/w`);
});

test('I43 refusals of one peer are one record in full and one with their number', async () => {
  const limits = { refusalsInFull: 1 };
  const folding = await startTestCa({ limits });
  const peer = stranger('127.0.0.7', folding.running.port);
  const calls = Array.from({ length: 200 }, () =>
    statusOf(peer.call('/chancery.v1.Operator/ListAgents', framed(new Uint8Array())).end()),
  );
  for (const status of await Promise.all(calls)) expect(status).toBe(grpc.status.PERMISSION_DENIED);
  await folding.store.append({ type: 'registry.applied', version: 0, changes: [], by: 'a fence' });
  expect(await folding.refusals()).toHaveLength(1);
  peer.close();
  await folding.close();
});
