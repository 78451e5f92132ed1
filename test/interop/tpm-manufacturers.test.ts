/** What manufacturers of TPMs may write is what OpenSSL verifies; nobody else may write it. */
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { writePem } from '@chancery/shared/der/pem.ts';
import { TAG } from '@chancery/shared/der/read.ts';
import { tlv } from '@chancery/shared/der/write.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import {
  type Certificate,
  parseCertificate,
  parseManufacturerCertificate,
} from '@chancery/shared/x509/certificate.ts';
import { verifyPath } from '@chancery/shared/x509/verify/path.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { afterAll, describe, expect, test } from 'vitest';
import {
  after,
  generalizedTime,
  makeAuthority,
  makeLeaf,
  NOW,
  type RawFields,
  rewritten,
} from '../kit/certificates.ts';
import { refusal } from '../kit/refusal.ts';

const folder = fs.mkdtempSync(join(os.tmpdir(), 'chancery-manufacturers-'));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const root = makeAuthority('Manufacturer');
const ID = 'spiffe://prod.example/web';
const leaf = makeLeaf(ID, root);
const trustDomain = parseTrustDomain('prod.example');
const bundleOf = (authority: Uint8Array) => ({ trustDomain, authorities: [authority], sequence: 1n });

const integer = (...content: readonly number[]) => ({ serial: tlv(TAG.integer, Uint8Array.from(content)) });
const times = { times: [generalizedTime(after(-3600)), generalizedTime(after(3600))] } as const;

function openssl(anchor: Uint8Array, certificate: Uint8Array): boolean {
  const [ca, file] = [join(folder, 'ca.pem'), join(folder, 'leaf.pem')];
  fs.writeFileSync(ca, writePem('CERTIFICATE', anchor));
  fs.writeFileSync(file, writePem('CERTIFICATE', certificate));
  const at = String(NOW.getTime() / 1000);
  return spawnSync('openssl', ['verify', '-attime', at, '-CAfile', ca, file]).status === 0;
}

const asManufacturers = (anchor: Certificate, der: Uint8Array) =>
  verifyPath({
    leaf: parseManufacturerCertificate(der),
    intermediates: [],
    anchors: [anchor],
    now: NOW,
    manufacturers: true,
  });

test('OpenSSL is there', () => {
  expect(execFileSync('openssl', ['version'], { encoding: 'utf8' })).toMatch(/^OpenSSL/);
});

describe('both accept, and an SVID is refused with it:', () => {
  test.each<[string, RawFields, RegExp]>([
    ['I61 GeneralizedTime before 2050', times, /notBefore is not a time as RFC 5280 writes it/],
    ['I61 a serial number of zero', integer(0), /a serial number is zero/],
    ['I61 a negative serial number', integer(0x80, 1), /a serial number is negative/],
    ['I61 a serial number of 21 octets', integer(1, ...Array(20).fill(7)), /has 21 octets, at most 20/],
  ])('%s', (_, raw, says) => {
    const der = rewritten(leaf.certificate, root.key, raw);
    expect(openssl(root.certificate.der, der)).toBe(true);
    expect(asManufacturers(root.certificate, der)).toHaveLength(2);
    const judged = () => verifySvid([der], bundleOf(root.certificate.der), NOW);
    expect(judged).toThrow(expect.objectContaining({ message: expect.stringMatching(says) }));
  });

  test('I61 an anchor without a subject key identifier', () => {
    const bare = makeAuthority('Nuvoton', undefined, { extensions: { keyId: undefined } });
    const below = makeLeaf(ID, bare);
    expect(openssl(bare.certificate.der, below.certificate.der)).toBe(true);
    expect(asManufacturers(bare.certificate, below.certificate.der)).toHaveLength(2);
    const judged = () => verifySvid([below.certificate.der], bundleOf(bare.certificate.der), NOW);
    expect(judged).toThrow(refusal('chain', /an authority has no subject key identifier/));
  });

  test('I61 a certificate without an authority key identifier', () => {
    const { certificate } = makeLeaf(ID, root, { extensions: { authority: undefined } });
    expect(openssl(root.certificate.der, certificate.der)).toBe(true);
    expect(asManufacturers(root.certificate, certificate.der)).toHaveLength(2);
    const judged = () => verifySvid([certificate.der], bundleOf(root.certificate.der), NOW);
    expect(judged).toThrow(refusal('chain', /no authority key identifier/));
  });
});

test('I61 the times of a root in a bundle are those of RFC 5280', () => {
  const lenient = rewritten(root.certificate, root.key, times);
  expect(() => verifySvid([leaf.certificate.der], bundleOf(lenient), NOW)).toThrow(
    refusal('certificate_parse', /not a time as RFC 5280/),
  );
});

test('T42 both refuse a serial number that is not DER', () => {
  const der = rewritten(leaf.certificate, root.key, integer(0, 0x11, 0x22));
  expect(openssl(root.certificate.der, der)).toBe(false);
  const padded = refusal('certificate_parse', /serial is an INTEGER with padding/);
  expect(() => parseManufacturerCertificate(der)).toThrow(padded);
  expect(() => parseCertificate(der)).toThrow(padded);
});
