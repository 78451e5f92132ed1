/** T41: files of manufacturers' certificates with something in them that is no usable certificate. */

import { writePem } from '@chancery/shared/der/pem.ts';
import { concat, u8, utf8 } from '@chancery/shared/ground/bytes.ts';
import { type Log, silentLog } from '@chancery/shared/ground/log.ts';
import { generateKey } from '@chancery/shared/keys/key.ts';
import { EMPTY_NAME } from '@chancery/shared/x509/names.ts';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority, makeLeaf } from '../../kit/certificates.ts';
import { refusal } from '../../kit/refusal.ts';
import { type FakeTpm, makeFakeTpm } from '../../kit/tpm/fake-tpm.ts';
import { type AttestorOptions, attestFake, attestorTrusting } from '../../kit/tpm/tpm-attestor.ts';

let tpm: FakeTpm;
let rootDer: Uint8Array;
beforeAll(async () => {
  tpm = await makeFakeTpm();
  rootDer = Buffer.from(tpm.manufacturer.rootPem.replaceAll(/-----.*-----|\s/g, ''), 'base64');
});

const pem = (der: Uint8Array): string => writePem('CERTIFICATE', der);
const authority = makeAuthority('Other');
const leaf = makeLeaf('spiffe://prod.example/web', authority).certificate.der;
const nameless = makeAuthority('Nameless', undefined, { fields: { issuer: EMPTY_NAME } }).certificate.der;

/** The attestor with these roots, and what it warned of. */
function load(roots: string | Uint8Array, options: AttestorOptions = {}) {
  const warnings: string[] = [];
  const log: Log = { ...silentLog, warn: (_, message) => void warnings.push(message) };
  const attestor = attestorTrusting('', { ...options, files: { 'root.pem': roots, ...options.files }, log });
  return { attestor, warnings };
}

describe('T41 a file without a usable root is refused by its name', () => {
  test.each<[string, () => string | Uint8Array, RegExp]>([
    ['bytes after the root in PEM', () => pem(concat(rootDer, u8(0))), /certificate has 1 trailing bytes/],
    ['bytes after the root in DER', () => concat(rootDer, utf8('\n\n')), /certificate has 2 trailing bytes/],
    ['two roots in DER', () => concat(rootDer, rootDer), /certificate has \d+ trailing bytes/],
    ['bytes after the last block', () => `${tpm.manufacturer.rootPem}\0\0`, /2 bytes follow the last cert/],
    ['text after the last block', () => `${tpm.manufacturer.rootPem}MIIB\n`, /4 bytes follow the last cert/],
    ['a leaf', () => pem(leaf), /an issuer is not an authority/],
    ['nothing', () => '', /no PEM block CERTIFICATE/],
  ])('%s', (_, roots, says) => {
    const named = refusal('config', new RegExp(`^attestors\\.tpm: root\\.pem: .*${says.source}`));
    expect(() => load(roots())).toThrow(named);
  });
});

test('T41 unusable roots of a file with others are named and skipped', async () => {
  const bad = [pem(concat(rootDer, u8(0))), pem(leaf), pem(nameless)];
  const { attestor, warnings } = load([bad[0], tpm.manufacturer.rootPem, bad[1], bad[2]].join('# comment\n'));
  expect(warnings).toEqual([
    'attestors.tpm: root.pem: certificate 1 of 4 is skipped: certificate has 1 trailing bytes',
    'attestors.tpm: root.pem: certificate 3 of 4 is skipped: an issuer is not an authority',
    'attestors.tpm: root.pem: certificate 4 of 4 is skipped: a certificate has no issuer',
  ]);
  await attestFake(attestor, tpm);
});

test('T41 an unusable intermediate does not keep the others from their place', () => {
  const below = makeAuthority('Below', authority).certificate.der;
  const bare = makeAuthority('Bare', authority, { extensions: { keyId: undefined } }).certificate.der;
  const files = { 'between.pem': pem(bare) + pem(below) };
  const { warnings } = load(tpm.manufacturer.rootPem, { config: { intermediates: ['between.pem'] }, files });
  expect(warnings).toEqual([
    expect.stringMatching(/between\.pem: certificate 1 of 2 .* no subject key ident/),
  ]);
});

test.each<[string, () => string | Uint8Array]>([
  ['in DER', () => rootDer],
  ['in PEM with comments around it', () => `# one\n${tpm.manufacturer.rootPem}\n# end\n\n`],
])('a root %s is read', async (_, roots) => {
  const { attestor, warnings } = load(roots());
  await attestFake(attestor, tpm);
  expect(warnings).toEqual([]);
});

test('an expired root does not keep the CA from starting', () => {
  const key = generateKey();
  const notAfter = new Date('2020-01-01T00:00:00Z');
  const { certificate } = makeAuthority('Old', undefined, { key, fields: { notAfter } });
  expect(load(pem(certificate.der)).warnings).toEqual([]);
});
