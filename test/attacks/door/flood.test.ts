/** Floods by peers that prove nothing: rows I40 and I43. */
import { AttestationClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import * as grpc from '@grpc/grpc-js';
import { expect, test, vi } from 'vitest';
import { startTestCa } from '../../kit/ca/ca.ts';
import { helloMessage, joinAs } from '../../kit/ca/join.ts';
import { floodedCa, WORKLOAD } from '../../kit/flood/flooded.ts';
import { framed, statusOf, stranger } from '../../kit/flood/stranger.ts';

const ATTEST = '/chancery.v1.Attestation/Attest';
const PLACES = 6;
const { ca, from } = floodedCa({ openAttestations: PLACES, openAttestationsPerAddress: 2 });

const openExchanges = async (): Promise<number> => {
  const text = await (await fetch(`http://127.0.0.1:${ca().running.httpPort}/metrics`)).text();
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
  expect((await ca().refusals()).at(-1)).toMatchObject({ code: 'platform_unknown', peer: '127.0.2.1' });
  expect((await joinAs(ca())).id).toBe(WORKLOAD);
});

test('I43 200 refusals of one peer are one record while their window is open', async () => {
  const limits = { refusalsInFull: 1 };
  const folding = await startTestCa({ limits });
  // A stranger has 20 refusals at once on a connection.
  const peers = Array.from({ length: 20 }, () => stranger('127.0.0.7', folding.running.port));
  const calls = peers.flatMap((peer) =>
    Array.from({ length: 10 }, () =>
      statusOf(peer.call('/chancery.v1.Operator/ListAgents', framed(new Uint8Array())).end()),
    ),
  );
  for (const status of await Promise.all(calls)) expect(status).toBe(grpc.status.PERMISSION_DENIED);
  await folding.store.append({ type: 'registry.applied', version: 0, changes: [], by: 'a fence' });
  expect(await folding.refusals()).toHaveLength(1);
  for (const peer of peers) peer.close();
  await folding.close();
});
