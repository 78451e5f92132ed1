/** T11 to T17, T25, T40: endorsement keys and certificates that no manufacturer made, or not for this. */

import { AttestorsConfig } from '@chancery/ca/attestors/index.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import type { TpmOpening } from '@chancery/shared/evidence/tpm.ts';
import { concat, u8, u16, utf8 } from '@chancery/shared/ground/bytes.ts';
import { spkiOf } from '@chancery/shared/keys/key.ts';
import { EK_P256, EK_RSA_2048 } from '@chancery/shared/tpm/templates.ts';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  areaOf,
  ecdhWithLeadingZero,
  type FakeTpm,
  makeFakeTpm,
  P256_HEAD,
  sized,
} from '../../kit/tpm/fake-tpm.ts';
import {
  EK_PURPOSE,
  type EkFields,
  makeManufacturer,
  newKey,
  tpmNames,
  tpmNamesOverlong,
  tpmNamesWith,
  tpmNamesWithout,
} from '../../kit/tpm/manufacturer.ts';
import {
  type AttestorOptions,
  attestFake,
  attestorTrusting,
  type Expected,
  expectRefusal,
  type FakeExchange,
} from '../../kit/tpm/tpm-attestor.ts';

let tpm: FakeTpm;
beforeAll(async () => {
  tpm = await makeFakeTpm();
});

interface Row extends Expected, FakeExchange {
  readonly name: string;
  readonly options?: AttestorOptions;
}

const refuses = (row: Row): Promise<void> =>
  expectRefusal(attestFake(attestorTrusting(tpm.manufacturer.rootPem, row.options), tpm, row), row);

const withEk =
  (ekPublic: Uint8Array) =>
  (opening: TpmOpening): TpmOpening => ({ ...opening, ekPublic });
const withCertificate =
  (make: (genuine: Uint8Array) => Uint8Array) =>
  (opening: TpmOpening): TpmOpening => ({
    ...opening,
    ekCertificate: make(opening.ekCertificate),
  });
/** The genuine key in another certificate of the genuine manufacturer. */
const certified = (fields: Partial<EkFields>): Pick<Row, 'opening'> => ({
  opening: withCertificate(() => tpm.manufacturer.certify(tpm.ekSpki, fields)),
});

const stranger = makeManufacturer();
const date = (text: string): Date => new Date(`${text}T00:00:00Z`);

describe('T12 the chain', () => {
  test.each<Row>([
    {
      name: 'T12 a manufacturer that is not configured',
      status: 'U',
      code: 'ek_chain',
      says: /the certificate chain does not end at a trusted root/,
      opening: withCertificate(() => stranger.certify(tpm.ekSpki)),
    },
    {
      name: "T12 a stranger's CA under the manufacturer's name",
      status: 'U',
      code: 'ek_chain',
      says: /no path to a manufacturer's root/,
      opening: withCertificate(() =>
        stranger.certify(tpm.ekSpki, { issuer: { name: tpm.manufacturer.root.name, key: newKey() } }),
      ),
    },
  ])('$name', refuses);

  test('T12 a self-signed EK certificate', async () => {
    const self = newKey();
    const spki = spkiOf(self);
    const opening = (o: TpmOpening): TpmOpening => ({
      ...o,
      ekPublic: areaOf(EK_P256, spki.subarray(-64)),
      ekCertificate: stranger.certify(spki, { issuer: { name: 'EK', key: self } }),
    });
    await refuses({
      name: '',
      status: 'U',
      code: 'ek_chain',
      says: /no path to a manufacturer's root/,
      opening,
    });
  });

  test('T12 a chain whose intermediate is no CA', async () => {
    const key = newKey();
    const intermediate = tpm.manufacturer.certify(spkiOf(key));
    const files = { 'intermediate.pem': writePem('CERTIFICATE', intermediate) };
    const options = { files, config: { intermediates: ['intermediate.pem'] } };
    expect(() => attestorTrusting(tpm.manufacturer.rootPem, options)).toThrow(
      /intermediate\.pem: an issuer is not an authority/,
    );
  });

  test('T12 a chain whose intermediate is a CA passes', async () => {
    const key = newKey();
    const intermediate = tpm.manufacturer.certify(spkiOf(key), { ca: true, purposes: [], names: [] });
    const files = { 'intermediate.pem': writePem('CERTIFICATE', intermediate) };
    const options = { files, config: { intermediates: ['intermediate.pem'] } };
    const opening = withCertificate(() =>
      tpm.manufacturer.certify(tpm.ekSpki, { issuer: { name: 'EK', key } }),
    );
    await attestFake(attestorTrusting(tpm.manufacturer.rootPem, options), tpm, { opening });
  });
});

describe('T13 the profile', () => {
  const profile = (name: string, says: RegExp, fields: Partial<EkFields>): Row => ({
    name: `T13 ${name}`,
    status: 'U',
    code: 'ek_profile',
    says,
    ...certified(fields),
  });
  test.each([
    profile('a certificate for no purpose', /not for an endorsement key/, { purposes: [] }),
    profile('a TLS server of the same CA', /not for an endorsement key/, { purposes: ['1.3.6.1.5.5.7.3.1'] }),
    profile('any purpose', /not for an endorsement key/, { purposes: ['2.5.29.37.0'] }),
    profile('an authority', /is an authority's/, { ca: true, purposes: [EK_PURPOSE] }),
    profile('no name of a TPM', /does not name its TPM/, { names: [] }),
    profile('no manufacturer', /has no 2\.23\.133\.2\.1/, { names: [tpmNamesWithout('2.23.133.2.1')] }),
    profile('no model', /has no 2\.23\.133\.2\.2/, { names: [tpmNamesWithout('2.23.133.2.2')] }),
    profile('no version', /has no 2\.23\.133\.2\.3/, { names: [tpmNamesWithout('2.23.133.2.3')] }),
    profile('more than a value', /attribute has 3 trailing bytes/, { names: [tpmNamesOverlong()] }),
    profile('two models', /has several 2\.23\.133\.2\.2/, { names: [tpmNamesWith('2.23.133.2.2', 'other')] }),
  ])('$name', refuses);

  test('T13 a model that is not plain text', async () => {
    const names = [
      tpmNames([
        ['2.23.133.2.1', 'id:1'],
        ['2.23.133.2.2', 'a\nb'],
        ['2.23.133.2.3', 'id:1'],
      ]),
    ];
    await refuses(profile('', /2\.23\.133\.2\.2 of the EK certificate is not plain text/, { names }));
  });
});

describe('T14 the validity', () => {
  const validity = (name: string, says: RegExp, fields: Partial<EkFields>): Row => ({
    name: `T14 ${name}`,
    status: 'U',
    code: 'ek_validity',
    says,
    ...certified(fields),
  });
  test.each([
    validity('expired', /has expired 2026-11-20T11:59:59/, { notAfter: new Date('2026-11-20T11:59:59Z') }),
    validity('not yet valid', /not valid before 2026-11-20T12:00:01/, {
      notBefore: new Date('2026-11-20T12:00:01Z'),
    }),
  ])('$name', refuses);

  test('T14 an end in the year 9999 is read', async () => {
    await attestFake(
      attestorTrusting(tpm.manufacturer.rootPem),
      tpm,
      certified({ notAfter: new Date('9999-12-31T23:59:59Z') }),
    );
    expect(date('9999-12-31').getUTCFullYear()).toBe(9999);
  });
});

const attributed = (area: Uint8Array, attributes: number): Uint8Array => {
  const changed = Buffer.from(area);
  changed.writeUInt32BE(attributes, 4);
  return changed;
};

const keys: Row[] = [
  {
    name: 'T11 an EK area of another key than the certificate',
    status: 'U',
    code: 'ek_mismatch',
    says: /is for another key/,
    opening: withEk(areaOf(EK_P256, spkiOf(newKey()).subarray(-64))),
  },
  {
    name: 'T15 an EK that signs (swtpm --allow-signing)',
    status: 'U',
    code: 'ek_template',
    says: /does not match a known template/,
    opening: (o) => ({ ...o, ekPublic: attributed(o.ekPublic, 0x0007_00b2) }),
  },
  {
    name: 'T15 an EK with no policy of its own',
    status: 'U',
    code: 'ek_template',
    says: /does not match a known template/,
    opening: (o) => ({ ...o, ekPublic: attributed(o.ekPublic, 0x0003_0072) }),
  },
  {
    name: 'T15 no EK area',
    status: 'U',
    code: 'ek_template',
    says: /does not match a known template/,
    opening: withEk(new Uint8Array()),
  },
  {
    name: 'T40 a point that is not on the curve',
    status: 'U',
    code: 'ek_parse',
    says: /holds no valid key/,
    opening: withEk(areaOf(EK_P256, new Uint8Array(64).fill(5))),
  },
  {
    name: 'T40 the point at infinity',
    status: 'U',
    code: 'ek_parse',
    says: /holds no valid key/,
    opening: withEk(areaOf(EK_P256, new Uint8Array(64))),
  },
  {
    name: 'T40 an empty point',
    status: 'U',
    code: 'ek_parse',
    says: /holds no valid key/,
    opening: withEk(areaOf(EK_P256, new Uint8Array())),
  },
  {
    name: 'T40 a coordinate longer than the field',
    status: 'U',
    code: 'ek_parse',
    says: /is 33 bytes, at most 32/,
    opening: withEk(areaOf(EK_P256, new Uint8Array(66))),
  },
  {
    name: 'T40 trailing bytes',
    status: 'U',
    code: 'ek_parse',
    says: /has 1 trailing bytes/,
    opening: (o) => ({ ...o, ekPublic: concat(o.ekPublic, u8(0)) }),
  },
];
test.each(keys)('$name', refuses);

test('T40 an x that begins with a zero byte passes, whether the TPM leaves the zero out or not', async () => {
  const zero = await makeFakeTpm(ecdhWithLeadingZero());
  const attestor = attestorTrusting(zero.manufacturer.rootPem);
  await attestFake(attestor, zero);
  const point = zero.ekSpki.subarray(P256_HEAD.length);
  const cut = concat(EK_P256.prefix, sized(point.subarray(1, 32)), sized(point.subarray(32)));
  await attestFake(attestor, zero, { opening: withEk(cut) });
});

/** The primes whose product the generator used, and a modulus of its shape: 65537 to some power, modulo each. */
const ROCA_PRIMES = [
  3n,
  5n,
  7n,
  11n,
  13n,
  17n,
  19n,
  23n,
  29n,
  31n,
  37n,
  41n,
  43n,
  47n,
  53n,
  59n,
  61n,
  67n,
  71n,
  73n,
  79n,
  83n,
  89n,
  97n,
  101n,
  103n,
  107n,
  109n,
  113n,
  127n,
  131n,
  137n,
  139n,
  149n,
  151n,
  157n,
  163n,
  167n,
];
function rocaModulus(): Uint8Array {
  const product = ROCA_PRIMES.reduce((a, b) => a * b);
  const residue = 65537n ** 7n % product;
  const top = (1n << 2047n) + (1n << 2046n);
  const modulus = top - (top % product) + product * 2n + residue;
  const odd = modulus % 2n === 1n ? modulus : modulus + product;
  return Buffer.from(odd.toString(16), 'hex');
}

test('T16 a ROCA key (CVE-2017-15361), genuinely certified', async () => {
  const modulus = rocaModulus();
  const head = Buffer.from('30820122300d06092a864886f70d01010105000382010f003082010a0282010100', 'hex');
  const spki = concat(head, modulus, Buffer.from('0203010001', 'hex'));
  const opening = (o: TpmOpening): TpmOpening => ({
    ...o,
    ekPublic: concat(EK_RSA_2048.prefix, sized(modulus)),
    ekCertificate: tpm.manufacturer.certify(spki),
  });
  await refuses({ name: '', status: 'U', code: 'ek_weak', says: /ROCA/, opening });
});

describe('T17 the encoding', () => {
  const encoding = (
    name: string,
    make: (der: Uint8Array) => Uint8Array,
    says = /not one DER certificate/,
  ): Row => ({ name: `T17 ${name}`, status: 'I', code: 'ek_encoding', says, opening: withCertificate(make) });
  test.each([
    encoding('trailing bytes', (der) => concat(der, u8(0))),
    encoding('a second certificate', (der) => concat(der, der)),
    encoding('PEM', (der) => utf8(writePem('CERTIFICATE', der))),
    encoding('a header in front (TCG_PCCLIENT_STORED_CERT)', (der) =>
      concat(u16(0x1001), u8(0), u16(der.length), der),
    ),
    encoding(
      'a megabyte',
      () => new Uint8Array(1024 * 1024),
      /EK certificate is 1048576 bytes, at most 8192/,
    ),
    encoding('nothing', () => new Uint8Array()),
    encoding('cut short', (der) => der.subarray(0, -1)),
  ])('$name', refuses);
});

test.each(['16', '23'])('T25 a policy that names PCR %s refuses at load and says what to write', (index) => {
  const read = AttestorsConfig.safeParse({
    tpm: { roots: ['root.pem'], pcrs: { [index]: ['00'.repeat(32)] } },
  });
  const messages = JSON.stringify(read.error?.issues);
  expect(messages).toContain(
    `PCR ${index} can be reset by any software and proves nothing: write one of 0 to 15 or 17 to 22`,
  );
});
