/** What is asked of the CA in a hello and a CSR: rows I1 to I7, I11, I13. */
import { generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto';
import type { Refusal } from '@chancery/shared/ground/errors.ts';
import { signerOf, spkiOf } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import '../../kit/reflect.ts';
import * as peculiar from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { freshCsr, helloMessage, issueOne, joinAs, openAttest } from '../../kit/ca/join.ts';
import { expectRefusal } from '../../kit/ca/talk.ts';

const ID = `spiffe://${TRUST_DOMAIN}/workload`;
const identity = {
  kind: 'Identity',
  name: 'workload',
  platform: 'unix',
  id: ID,
  x509: { ttl: '1h', dnsNames: ['workload.svc'] },
};
let ca: TestCa;
beforeAll(async () => {
  const generous = { attestationsPerSecond: 1000, attestationBurst: 1000 };
  ca = await startTestCa({ limits: generous });
  await ca.apply(identity);
});
afterAll(() => ca.close());

async function refused(
  hello: Parameters<typeof helloMessage>[0],
  code: Refusal,
  detail: RegExp,
): Promise<void> {
  const attest = openAttest(ca);
  attest.send(await helloMessage(hello));
  await expectRefusal(ca, await attest.status(), code, detail);
  attest.close();
}

describe('the CSR', () => {
  test('I1 a CSR whose signature is bent', async () => {
    const csr = await freshCsr();
    csr.writeUInt8((csr.at(-1) ?? 0) ^ 1, csr.length - 1);
    await refused({ csr }, 'csr_pop', /not signed by the key/);
  });

  test('I1 a CSR for somebody else’s key', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const theirs = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
    const csr = await writeCsr({ ...signerOf(privateKey), spki: spkiOf(theirs) });
    await refused({ csr: Buffer.from(csr) }, 'csr_pop', /not signed by the key/);
  });

  test('I2 a CSR that asks for another name, to be a CA, and for ten years gets what the registry says', async () => {
    const attest = openAttest(ca);
    attest.send(await helloMessage({ csr: await greedyCsr() }));
    const { message } = await attest.next();
    const issued = message?.$case === 'issued' ? message.value : undefined;
    const leaf = new peculiar.X509Certificate(Buffer.from(issued?.chain[0] ?? []));
    expect(leaf.getExtension(peculiar.SubjectAlternativeNameExtension)?.names.toJSON()).toEqual([
      { type: 'url', value: ID },
      { type: 'dns', value: 'workload.svc' },
    ]);
    expect(leaf.subject).toBe('');
    expect(leaf.getExtension(peculiar.BasicConstraintsExtension)?.ca).toBe(false);
    expect((leaf.notAfter.getTime() - leaf.notBefore.getTime()) / 1000).toBe(3610);
    attest.close();
  });

  test('I3 the key of the issuing authority itself', async () => {
    const { key } = await ca.authority('intermediate');
    await refused({ csr: Buffer.from(await writeCsr(signerOf(key))) }, 'csr_key', /that of an authority/);
  });

  test('I3 a key that another node holds', async () => {
    const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await ca.store.record(
      {
        serial: '40aa',
        id: parseSpiffeId(ID),
        platform: 'tpm',
        node: 'another',
        identity: 'workload',
        keySha256: Buffer.from(await webcrypto.subtle.digest('SHA-256', Buffer.from(spkiOf(key)))),
        issuer: '40',
        notBefore: ca.clock.now(),
        notAfter: new Date(ca.clock.now().getTime() + 3_600_000),
      },
      { type: 'registry.applied', version: 0, changes: [], by: 'the test' },
    );
    await refused({ csr: Buffer.from(await writeCsr(signerOf(key))) }, 'csr_key', /belongs to another node/);
  });

  test.each([
    ['RSA-1024', generateKeyPairSync('rsa', { modulusLength: 1024 }), /1024 bits, at least 2048/],
    [
      'RSA with exponent 3',
      generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }),
      /exponent is 0x03/,
    ],
    [
      'RSA, of which Debian made predictable ones',
      generateKeyPairSync('rsa', { modulusLength: 2048 }),
      /not certified/,
    ],
    ['Ed448', generateKeyPairSync('ed448'), /neither on an accepted curve nor RSA/],
    [
      'P-192',
      generateKeyPairSync('ec', { namedCurve: 'prime192v1' }),
      /neither on an accepted curve nor RSA/,
    ],
    [
      'secp256k1',
      generateKeyPairSync('ec', { namedCurve: 'secp256k1' }),
      /neither on an accepted curve nor RSA/,
    ],
  ])('I3 %s', async (_, { publicKey }, detail) => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const csr = await writeCsr({
      ...signerOf(privateKey),
      spki: publicKey.export({ type: 'spki', format: 'der' }),
    });
    await refused({ csr: Buffer.from(csr) }, 'csr_key', detail);
  });

  test('I4 a CSR of 1 MB', async () => {
    await refused({ csr: Buffer.alloc(1 << 20, 0x30) }, 'csr_size', /at most 16384/);
  });

  test.each([
    ['bytes after its end', (csr: Buffer) => Buffer.concat([csr, Buffer.alloc(1)]), /1 trailing bytes/],
    [
      'an indefinite length',
      (csr: Buffer) => Buffer.concat([Buffer.from([0x30, 0x80]), csr, Buffer.alloc(2)]),
      /indefinite length/,
    ],
    ['nothing', () => Buffer.alloc(0), /CSR is missing/],
    ['nesting without end', () => Buffer.from('3080'.repeat(4000), 'hex'), /indefinite length/],
  ])('I4 a CSR with %s', async (_, spoil, detail) => {
    await refused({ csr: spoil(await freshCsr()) }, 'csr_parse', detail);
  });
});

async function greedyCsr(): Promise<Buffer> {
  const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const request = await peculiar.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=spiffe://test.example/admin',
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new peculiar.SubjectAlternativeNameExtension([
        { type: 'url', value: `spiffe://${TRUST_DOMAIN}/admin` },
        { type: 'dns', value: 'admin.svc' },
        { type: 'ip', value: '10.0.0.1' },
      ]),
      new peculiar.BasicConstraintsExtension(true, 3, true),
      new peculiar.KeyUsagesExtension(peculiar.KeyUsageFlags.keyCertSign, true),
      new peculiar.ExtendedKeyUsageExtension([peculiar.ExtendedKeyUsage.codeSigning]),
    ],
  });
  return Buffer.from(request.rawData);
}

describe('the SPIFFE ID', () => {
  test.each([
    ['upper case in the trust domain', 'spiffe://Test.example/workload', /trust domain has characters/],
    ['a parent segment', `spiffe://${TRUST_DOMAIN}/a/../workload`, /relative path segment/],
    ['an empty segment', `spiffe://${TRUST_DOMAIN}//workload`, /empty path segment/],
    ['percent-encoding', `spiffe://${TRUST_DOMAIN}/a%2Fb`, /path has characters/],
    ['unicode', `spiffe://${TRUST_DOMAIN}/wörkload`, /path has characters/],
    ['a query', `${ID}?a=b`, /path has characters/],
    ['a fragment', `${ID}#a`, /path has characters/],
    ['more than 2048 bytes', `spiffe://${TRUST_DOMAIN}/${'a'.repeat(2048)}`, /at most 2048/],
    ['no path', `spiffe://${TRUST_DOMAIN}`, /has no path/],
    ['a trailing slash', `${ID}/`, /empty path segment/],
    ['another scheme', `https://${TRUST_DOMAIN}/workload`, /does not start with spiffe/],
    ['a port', `spiffe://${TRUST_DOMAIN}:443/workload`, /trust domain has characters/],
  ])('I5 %s', (_, spiffeId, detail) => refused({ spiffeId }, 'spiffe_id', detail));

  test('I5 another trust domain', () =>
    refused(
      { spiffeId: 'spiffe://other.example/workload' },
      'not_entitled',
      /asked for spiffe:\/\/other.example/,
    ));

  test('I6 the identity of another workload', () =>
    refused(
      { spiffeId: `spiffe://${TRUST_DOMAIN}/admin` },
      'not_entitled',
      /earned spiffe:\/\/test.example\/workload/,
    ));
});

test('I6 facts that earn nothing', async () => {
  await ca.apply({ ...identity, when: "uid == '4242424242'" });
  await refused({}, 'no_identity', /workload: when \(uid == '4242424242'\) is false/);
  await ca.apply(identity);
});

test('a platform that is not configured', () =>
  refused({ platform: 'aws-iam' }, 'platform_unknown', /"aws-iam"/));

test('I13 serials are positive, 20 bytes, and all different, within one millisecond too', async () => {
  const svid = await joinAs(ca);
  const issued = await Promise.all(Array.from({ length: 50 }, () => issueOne(ca, svid)));
  const serials = issued.map(({ chain: [leaf] }) =>
    Buffer.from(parseCertificate(leaf ?? Buffer.alloc(0)).serial),
  );
  expect(new Set(serials.map((serial) => serial.toString('hex'))).size).toBe(50);
  expect(serials.every((serial) => serial.length === 20 && (serial[0] ?? 0xff) < 0x80)).toBe(true);
  const random = new Set(serials.map((serial) => serial.subarray(4).toString('hex')));
  expect(random.size).toBe(50);
});

test('more certificates end no later than the one that asks for them', async () => {
  const svid = await joinAs(ca);
  ca.clock.move(600);
  const { chain } = await issueOne(ca, svid);
  expect(parseCertificate(chain[0] ?? Buffer.alloc(0)).notAfter).toEqual(svid.notAfter);
});

test('an instance that is not 16 bytes', () =>
  refused({ instance: randomBytes(15) }, 'message_parse', /15 bytes/));
