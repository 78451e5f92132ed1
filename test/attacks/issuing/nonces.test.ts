/** The nonce of an exchange, and the one agent of a machine: rows T1 to T4, T34 to T36, I7. */
import { randomBytes } from 'node:crypto';
import type { Exchange } from '@chancery/agent/evidence/evidence.ts';
import { tpmEvidence } from '@chancery/agent/evidence/tpm.ts';
import { renew } from '@chancery/agent/svid/obtain.ts';
import { Nonces } from '@chancery/ca/rpc/exchange/nonces.ts';
import { type AttestResponse, IdentityClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { helloMessage, joinAs, openAttest } from '../../kit/ca/join.ts';
import { expectRefusal, talk } from '../../kit/ca/talk.ts';
import { makeSoftwareTpm, type SoftwareTpm } from '../../kit/tpm/swtpm.ts';

/** One agent process, so that its exchanges do not stand in each other's way. */
const INSTANCE = randomBytes(16);
let tpm: SoftwareTpm;
let other: SoftwareTpm;
let ca: TestCa;
beforeAll(async () => {
  [tpm, other] = await Promise.all([makeSoftwareTpm(), makeSoftwareTpm()]);
  const roots = [...tpm.roots, ...other.roots];
  const intermediates = [...tpm.intermediates, ...other.intermediates];
  ca = await startTestCa({ attestors: { tpm: { roots, intermediates }, unix: {} } });
  await ca.apply({
    kind: 'Identity',
    name: 'machine',
    platform: 'tpm',
    id: `spiffe://${TRUST_DOMAIN}/machine/{ek}`,
  });
});
afterAll(async () => {
  await ca.close();
  await Promise.all([tpm.stop(), other.stop()]);
});

/** An exchange that stands where the challenge has come, with the TPM ready to answer it. */
async function challenged(device = tpm.device) {
  const key = signerOf(generateKey());
  const exchange = await tpmEvidence({ device, key: 'memory' }).begin(key.spki, new AbortController().signal);
  const attest = openAttest(ca, 'tls');
  const hello = {
    platform: 'tpm',
    instance: INSTANCE,
    csr: Buffer.from(await writeCsr(key)),
    evidence: Buffer.from(exchange.opening),
  };
  attest.send(await helloMessage(hello));
  const { message } = await attest.next();
  if (message?.$case !== 'challenge') throw new Error('no challenge came');
  return { attest, exchange, hello, spki: key.spki, ...message.value };
}

const answerTo = (exchange: Exchange, question: Uint8Array, nonce: Uint8Array, spki: Uint8Array) =>
  exchange.answer(question, attestationBinding(TRUST_DOMAIN, nonce, spki));

const evidenceMessage = (nonce: Uint8Array, evidence: Uint8Array) => ({
  message: {
    $case: 'evidence' as const,
    value: { nonce: Buffer.from(nonce), evidence: Buffer.from(evidence) },
  },
});

test('a TPM that answers its own nonce joins', async () => {
  const { attest, exchange, question, nonce, spki } = await challenged();
  attest.send(evidenceMessage(nonce, await answerTo(exchange, question, nonce, spki)));
  await exchange.end();
  const { message } = (await attest.next()) as AttestResponse;
  expect(message?.$case).toBe('issued');
  attest.close();
});

test('T1 an answer that names the nonce of an earlier exchange', async () => {
  const first = await challenged();
  await first.exchange.end();
  first.attest.end();
  await first.attest.status();
  const second = await challenged();
  const evidence = await answerTo(second.exchange, second.question, first.nonce, second.spki);
  await second.exchange.end();
  second.attest.send(evidenceMessage(first.nonce, evidence));
  await expectRefusal(ca, await second.attest.status(), 'nonce_mismatch', /nonce that this CA did not send/);
  second.attest.close();
});

test('T1, T33 all that an eavesdropper at the CA could keep, with a key of their own', async () => {
  const genuine = await challenged();
  const captured = await answerTo(genuine.exchange, genuine.question, genuine.nonce, genuine.spki);
  await genuine.exchange.end();
  genuine.attest.send(evidenceMessage(genuine.nonce, captured));
  expect(((await genuine.attest.next()) as AttestResponse).message?.$case).toBe('issued');
  genuine.attest.close();
  const replay = openAttest(ca, 'tls');
  const csr = Buffer.from(await writeCsr(signerOf(generateKey())));
  replay.send(await helloMessage({ ...genuine.hello, csr }));
  const { message } = await replay.next();
  if (message?.$case !== 'challenge') throw new Error('no challenge came');
  replay.send(evidenceMessage(message.value.nonce, captured));
  await expectRefusal(ca, await replay.status(), 'activation_failed', /credential was not opened/);
  replay.close();
});

test('T2 the nonce of another stream that is still open', async () => {
  const first = await challenged();
  await first.exchange.end();
  const second = await challenged();
  await second.exchange.end();
  second.attest.send(evidenceMessage(first.nonce, Buffer.alloc(8)));
  await expectRefusal(ca, await second.attest.status(), 'nonce_used', /nonce of another exchange/);
  first.attest.close();
  second.attest.close();
});

test('I7 one nonce answered from two streams at the same moment succeeds once', async () => {
  const first = await challenged();
  const evidence = await answerTo(first.exchange, first.question, first.nonce, first.spki);
  await first.exchange.end();
  const second = openAttest(ca, 'tls');
  second.send(await helloMessage({ ...first.hello }));
  await second.next();
  const message = evidenceMessage(first.nonce, evidence);
  first.attest.send(message);
  second.send(message);
  const outcomes = await Promise.all([first.attest.next().then(() => 'issued'), second.status()]);
  expect(outcomes[0]).toBe('issued');
  await expectRefusal(ca, outcomes[1], 'nonce_used', /another exchange/);
  first.attest.close();
  second.close();
});

test('T3 an answer after the nonce has expired', async () => {
  const { attest, exchange, question, nonce, spki } = await challenged();
  const evidence = await answerTo(exchange, question, nonce, spki);
  await exchange.end();
  ca.clock.move(61);
  attest.send(evidenceMessage(nonce, evidence));
  await expectRefusal(ca, await attest.status(), 'deadline', /within 60 s/);
  attest.close();
});

test('T3, T4 nonces are good once, for a minute, are 32 bytes and never repeat', () => {
  let now = new Date('2026-11-20T12:00:00Z');
  const nonces = new Nonces({ ...systemClock, now: () => now }, randomBytes);
  const drawn = Array.from({ length: 1000 }, () => nonces.draw());
  expect(new Set(drawn.map(({ bytes }) => Buffer.from(bytes).toString('hex'))).size).toBe(1000);
  const [once, late] = drawn;
  once?.consume(once.bytes);
  expect(() => once?.consume(once.bytes)).toThrow(
    expect.objectContaining({ code: 'nonce_used', message: expect.stringMatching(/before/) }),
  );
  now = new Date(now.getTime() + 60_001);
  expect(() => late?.consume(late.bytes)).toThrow(expect.objectContaining({ code: 'nonce_expired' }));
  for (const each of drawn) each.release();
  expect(nonces.size).toBe(0);
});

test.each([
  ['a source that repeats itself (CVE-2026-6420)', () => new Uint8Array(32)],
  ['a source that gives too little', () => new Uint8Array(31)],
])('T4 %s', (_, random) => {
  const nonces = new Nonces(systemClock, random);
  const draw = () => [nonces.draw(), nonces.draw()];
  expect(draw).toThrow(
    expect.objectContaining({ code: 'internal', message: expect.stringMatching(/randomness/) }),
  );
});

const renewWith = async (svid: Svid, device: string, instance = randomBytes(16)): Promise<Svid> => {
  const target = ca.target(svid);
  const client = new IdentityClient(target.address, target.credentials, target.options);
  const evidence = tpmEvidence({ device, key: 'memory' });
  const { bundle, clock } = ca;
  try {
    return await renew(client, {
      evidence,
      bundle,
      id: svid.id,
      instance,
      clock,
      signal: AbortSignal.timeout(120_000),
    });
  } finally {
    client.close();
  }
};

const joinWith = (device: string, instance: Uint8Array) =>
  joinAs(ca, { evidence: tpmEvidence({ device, key: 'memory' }), instance });

test('T36 a certificate of one machine renewed with the TPM of another', async () => {
  ca.clock.move(20);
  const svid = await joinWith(tpm.device, randomBytes(16));
  const refused = renewWith(svid, other.device);
  await expect(refused).rejects.toThrow(expect.objectContaining({ code: 'refused_by_ca' }));
  const status = { code: 7, details: 'evidence did not verify' };
  await expectRefusal(ca, status, 'ek_changed', /was given to tpm\//);
});

test('T35 a second live agent with the same TPM', async () => {
  ca.clock.move(20);
  const instance = randomBytes(16);
  const svid = await joinWith(tpm.device, instance);
  const target = ca.target(svid);
  const client = new TrustClient(target.address, target.credentials, target.options);
  const watching = talk(client.watch());
  watching.send({ message: { $case: 'hello', value: { instance, version: 'test' } } });
  await watching.next();
  await expect(joinWith(tpm.device, randomBytes(16))).rejects.toThrow(/already connected/);
  await expectRefusal(
    ca,
    { code: 6, details: 'this node is already connected' },
    'ek_in_use',
    /live agent already/,
  );
  // The same process may renew, and a restarted one joins once the stream of the first has ended.
  await renewWith(svid, tpm.device, instance);
  watching.end();
  await watching.status();
  client.close();
  await joinWith(tpm.device, randomBytes(16));
});
