/** What people carry when a root vouches for another one by hand: each file is genuine except in one thing. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeCertificate } from '@chancery/ca/ceremony/root.ts';
import { planVouching, VOUCHER_LABEL } from '@chancery/ca/ceremony/voucher.ts';
import { readPem, writePem } from '@chancery/shared/der/pem.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { offlineRoot } from '../../kit/ca/ceremony.ts';
import { makeOfflineCa, type OfflineCa } from '../../kit/ca/offline-ca.ts';
import { after, NOW } from '../../kit/certificates.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';
import { refusal } from '../../kit/refusal.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));

/** With these bytes in the block. */
function within(pem: string, spoil: (der: Buffer) => Buffer): string {
  const [der = Buffer.alloc(0)] = readPem(pem, VOUCHER_LABEL, 'internal');
  return writePem(VOUCHER_LABEL, spoil(Buffer.from(der)));
}
const bent = (der: Buffer): Buffer => {
  der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
  return der;
};

describe('I185 a voucher that comes back to the CA', () => {
  let ca: OfflineCa;
  let answer: string;
  beforeEach(async () => {
    ca = await makeOfflineCa(folder);
    await ca.become(ca.first);
    await ca.rotation.start(ca.by, false);
    answer = await ca.vouched(ca.first);
  });

  test.each<[string, (pem: string) => string, RegExp]>([
    ['with trailing bytes', (pem) => `${pem}x`, /more than PEM blocks/],
    ['twice', (pem) => pem + pem, /2 PEM blocks, at most 1/],
    ['over 64 KB', (pem) => pem + '\n'.repeat(64 * 1024), /at most 65536/],
    [
      'with bytes more in the block',
      (pem) => within(pem, (der) => Buffer.concat([der, Buffer.of(0)])),
      /voucher/,
    ],
    ['with a bent signature', (pem) => within(pem, bent), /signature of the voucher/],
    ['cut', (pem) => within(pem, (der) => der.subarray(0, 60)), /./],
  ])('%s is refused', async (_, spoil, says) => {
    await expect(ca.takeVoucher(spoil(answer))).rejects.toThrow(refusal('authority_answer', says));
    expect(await ca.stage()).toBe('prepared');
    await ca.takeVoucher(answer);
  });

  test('of another root than the one that signs is refused', async () => {
    const foreign = await ca.vouched(ca.second, await ca.carried('voucher', ca.first));
    await expect(ca.takeVoucher(foreign)).rejects.toThrow(refusal('authority_answer', /not of root/));
  });

  test('with the name of the root that signs, and the signature of another, is refused', async () => {
    const { signer, root, dir } = ca.first;
    const stranger = { ...ca.first, dir: `${dir}-2`, signer: { ...signer, sign: ca.second.signer.sign } };
    expect(root.serial).toBe(stranger.root.serial);
    const forged = await ca.vouched(stranger, await ca.carried('voucher', ca.first));
    await expect(ca.takeVoucher(forged)).rejects.toThrow(refusal('authority_answer', /signature/));
  });

  test('for a root that this CA does not know is refused', async () => {
    const other = await ca.vouched(ca.first, writeCertificate(ca.second.root.certificate.der));
    await expect(ca.takeVoucher(other)).rejects.toThrow(refusal('authority_answer', /does not know/));
  });

  test('is taken once, and not after the rotation was taken back', async () => {
    await ca.takeVoucher(answer);
    await expect(ca.takeVoucher(answer)).rejects.toThrow(
      refusal('authority_answer', /published and waits for none/),
    );
    await ca.back();
    await expect(ca.takeVoucher(answer)).rejects.toThrow(
      refusal('authority_answer', /removed and waits for none/),
    );
    expect(await ca.stage()).toBe('idle');
  });
});

describe('I186 a root that another one is asked to vouch for', () => {
  const plan = async (request: string, now = NOW) => {
    const { dir, root } = await offlineRoot(folder, parseTrustDomain('prod.example'));
    return () => planVouching({ dir, root, request: utf8(request), now });
  };
  const pemOf = async (trustDomain: string) => {
    const { root } = await offlineRoot(folder, parseTrustDomain(trustDomain));
    return writeCertificate(root.certificate.der);
  };

  test('of another trust domain, or ended, is refused', async () => {
    expect(await plan(await pemOf('prod.example'))).not.toThrow();
    const foreign = refusal('authority_request', /test\.example/);
    expect(await plan(await pemOf('test.example'))).toThrow(foreign);
    const ended = refusal('authority_unfit', /valid from/);
    expect(await plan(await pemOf('prod.example'), after(3651 * 86_400))).toThrow(ended);
  });

  test('that is no root, or whose signature is bent, is refused', async () => {
    const { root, order, sign } = await offlineRoot(folder, parseTrustDomain('prod.example'));
    const ca = await makeOfflineCa(folder);
    await ca.to(ca.first);
    const intermediate = await sign(await ca.carried('intermediate', ca.first));
    expect(await plan(intermediate)).toThrow(refusal('authority_answer', /another authority/));
    expect(await plan(writeCertificate(bent(Buffer.from(root.certificate.der))))).toThrow();
    const own = () => planVouching({ ...order, request: utf8(writeCertificate(root.certificate.der)) });
    expect(own).toThrow(refusal('authority_request', /the key of this one/));
  });

  test('is vouched for once, and the answer is kept', async () => {
    const ca = await makeOfflineCa(folder);
    const request = writeCertificate(ca.second.root.certificate.der);
    await ca.vouched(ca.first, request);
    await expect(ca.vouched(ca.first, request)).rejects.toThrow(
      refusal('authority_request', /vouched for before/),
    );
    expect(readdirSync(join(ca.first.dir, 'issued'))).toEqual([expect.stringMatching(/^voucher-/)]);
  });
});
