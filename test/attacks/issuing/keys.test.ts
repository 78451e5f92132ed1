/** Renewal with fresh evidence, and the key that it is for: rows I8, I10, I11. */

import type { KeyObject } from 'node:crypto';
import { randomBytes } from 'node:crypto';
import { tpmEvidence } from '@chancery/agent/evidence/tpm.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { helloMessage, joinAs, openRenew } from '../../kit/ca/join.ts';
import { expectRefusal } from '../../kit/ca/talk.ts';
import { makeSoftwareTpm, type SoftwareTpm } from '../../kit/tpm/swtpm.ts';

const INSTANCE = randomBytes(16);
const identity = {
  kind: 'Identity',
  name: 'machine',
  platform: 'tpm',
  id: `spiffe://${TRUST_DOMAIN}/machine`,
};
let tpm: SoftwareTpm;
let ca: TestCa;
let svid: Svid;
beforeAll(async () => {
  tpm = await makeSoftwareTpm();
  const { roots, intermediates, device } = tpm;
  ca = await startTestCa({ attestors: { tpm: { roots, intermediates } } });
  await ca.apply({ ...identity, x509: { ttl: '1m' } });
  svid = await joinAs(ca, { evidence: tpmEvidence({ device, key: 'memory' }), instance: INSTANCE });
});
afterAll(async () => {
  await ca.close();
  await tpm.stop();
});

/** A renewal for this key, up to the answer; `inBetween` happens while the CA waits for it. */
async function renewWith(key: KeyObject, inBetween: () => void = () => {}) {
  const signer = signerOf(key);
  const { device } = tpm;
  const exchange = await tpmEvidence({ device, key: 'memory' }).begin(
    signer.spki,
    new AbortController().signal,
  );
  const renewal = openRenew(ca, svid);
  const csr = Buffer.from(await writeCsr(signer));
  const evidence = Buffer.from(exchange.opening);
  renewal.send(await helloMessage({ platform: 'tpm', instance: INSTANCE, csr, evidence }));
  const { message } = await renewal.next();
  if (message?.$case !== 'challenge') throw new Error('no challenge came');
  const { nonce, question } = message.value;
  const answer = await exchange.answer(question, attestationBinding(TRUST_DOMAIN, nonce, signer.spki));
  await exchange.end();
  inBetween();
  renewal.send({ message: { $case: 'evidence', value: { nonce, evidence: Buffer.from(answer) } } });
  return renewal;
}

test('a renewal with fresh evidence and a fresh key', async () => {
  const renewal = await renewWith(generateKey());
  expect((await renewal.next()).message?.$case).toBe('issued');
  renewal.close();
});

test('I11 a renewal that keeps its key', async () => {
  const renewal = await renewWith(svid.key);
  await expectRefusal(
    ca,
    await renewal.status(),
    'key_reuse',
    /machine does not allow a renewal to keep its key/,
  );
  renewal.close();
});

test('I11 a renewal that keeps its key where the identity allows it', async () => {
  await ca.apply({ ...identity, x509: { ttl: '1m', keyReuse: true } });
  const renewal = await renewWith(svid.key);
  expect((await renewal.next()).message?.$case).toBe('issued');
  renewal.close();
});

test('I8, I10 a certificate that expires between the challenge and its answer', async () => {
  // Inside the nonce's minute, so that only the certificate is too old.
  ca.clock.move(30);
  const renewal = await renewWith(generateKey(), () => ca.clock.move(35));
  await expectRefusal(ca, await renewal.status(), 'expired_peer', /expired/);
  renewal.close();
});
