/** T45: chains that the agent says its TPM brought along. They help to find a path, and make no trust. */

import { writePem } from '@chancery/shared/der/pem.ts';
import type { TpmOpening } from '@chancery/shared/evidence/tpm.ts';
import { concat, u8 } from '@chancery/shared/ground/bytes.ts';
import { spkiOf } from '@chancery/shared/keys/key.ts';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority } from '../../kit/certificates.ts';
import { type FakeTpm, makeFakeTpm } from '../../kit/tpm/fake-tpm.ts';
import { type Issuer, type Manufacturer, makeManufacturer, newKey } from '../../kit/tpm/manufacturer.ts';
import { attestFake, attestorTrusting, type Expected, expectRefusal } from '../../kit/tpm/tpm-attestor.ts';

let tpm: FakeTpm;
beforeAll(async () => {
  tpm = await makeFakeTpm();
});

/** An intermediate of the manufacturer, and the endorsement key's certificate below it. */
function below(manufacturer: Manufacturer, ca = true) {
  const issuer: Issuer = { name: 'EK', key: newKey() };
  const profile = ca ? { ca, purposes: [], names: [] } : {};
  return {
    intermediate: manufacturer.certify(spkiOf(issuer.key), profile),
    leaf: manufacturer.certify(tpm.ekSpki, { issuer }),
  };
}

const rootOf = ({ rootPem }: Manufacturer): Uint8Array =>
  Buffer.from(rootPem.replaceAll(/-----.*-----|\s/g, ''), 'base64');

const attest = (ekCertificate: Uint8Array, ekChain: Uint8Array) => {
  const opening = (o: TpmOpening): TpmOpening => ({ ...o, ekCertificate, ekChain });
  return attestFake(attestorTrusting(tpm.manufacturer.rootPem), tpm, { opening });
};

test('a chain to the root of the config is used, in any order and with more in it', async () => {
  const { intermediate, leaf } = below(tpm.manufacturer);
  const stranger = below(makeManufacturer()).intermediate;
  const { node } = await attest(leaf, intermediate);
  expect((await attest(leaf, concat(stranger, intermediate, rootOf(tpm.manufacturer)))).node).toBe(node);
});

describe('T45 a chain', () => {
  const unknown: Expected = { status: 'U', code: 'ek_chain', says: /no path to a manufacturer's root/ };
  const encoding = (says: RegExp): Expected => ({ status: 'I', code: 'ek_encoding', says });

  test('T45 that brings its own root', async () => {
    const stranger = makeManufacturer();
    const { intermediate, leaf } = below(stranger);
    await expectRefusal(attest(leaf, concat(intermediate, rootOf(stranger))), unknown);
    await expectRefusal(attest(stranger.certify(tpm.ekSpki), rootOf(stranger)), unknown);
  });

  test('T45 with an intermediate that is no CA', async () => {
    const { intermediate, leaf } = below(tpm.manufacturer, false);
    await expectRefusal(attest(leaf, intermediate), { ...unknown, says: /an issuer is not an authority/ });
  });

  test("T45 with a stranger's key under the manufacturer's name", async () => {
    const key = newKey();
    const forged = makeManufacturer().certify(spkiOf(key), {
      ca: true,
      purposes: [],
      names: [],
      issuer: { name: tpm.manufacturer.root.name, key: newKey() },
    });
    const leaf = tpm.manufacturer.certify(tpm.ekSpki, { issuer: { name: 'EK', key } });
    await expectRefusal(attest(leaf, forged), unknown);
  });

  test.each<[string, (der: Uint8Array) => Uint8Array, RegExp]>([
    ['of nine certificates', (der) => concat(...Array<Uint8Array>(9).fill(der)), /more than 8 certificates/],
    ['that ends early', (der) => der.subarray(0, -1), /ends early/],
    ['with bytes behind it', (der) => concat(der, u8(0)), /has tag 0x0/],
    ['in PEM', (der) => Buffer.from(writePem('CERTIFICATE', der)), /has tag 0x2d/],
    ['of something else', () => Uint8Array.of(0x30, 0), /is not one DER certificate/],
    ['of 17 KiB', () => new Uint8Array(17 * 1024), /EK certificate chain is 17408 bytes, at most 16384/],
  ])('T45 %s', async (_, spoil, says) => {
    const { intermediate, leaf } = below(tpm.manufacturer);
    await expectRefusal(attest(leaf, spoil(intermediate)), encoding(says));
  });
});

test('forty configured intermediates do not count as a long chain', async () => {
  const root = makeAuthority('Vendor');
  const many = Array.from({ length: 40 }, (_, at) => makeAuthority(`Vendor CA ${at}`, root));
  const { intermediate, leaf } = below(tpm.manufacturer);
  const pem = [...many.map(({ certificate }) => certificate.der), intermediate];
  const files = { 'all.pem': pem.map((der) => writePem('CERTIFICATE', der)).join('') };
  const attestor = attestorTrusting(tpm.manufacturer.rootPem, {
    config: { intermediates: ['all.pem'] },
    files,
  });
  await attestFake(attestor, tpm, { opening: (o) => ({ ...o, ekCertificate: leaf }) });
});
