/** Certificates as manufacturers of TPMs made them. */
import fs from 'node:fs';
import { join } from 'node:path';
import { readManufacturers } from '@chancery/ca/attestors/tpm/manufacturers.ts';
import { readPem } from '@chancery/shared/der/pem.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseCertificate, parseManufacturerCertificate } from '@chancery/shared/x509/certificate.ts';
import { expect, test } from 'vitest';
import { refusal } from '../kit/refusal.ts';
import { vectorsOrSkip } from './vectors.ts';

const SOURCE = { folder: 'tpm-real', from: 'https://github.com/loicsikidi/tpm-ca-certificates' };
const deps = { readFile: (path: string) => fs.readFileSync(path), log: silentLog };

test('the roots of AMD and Nuvoton are anchors', (context) => {
  const folder = vectorsOrSkip(SOURCE, context);
  const files = ['amdtpm-rsa-root.pem', 'amdtpm-ecc-root.pem', 'ntc-root-01.pem'];
  const ends = files.map((file) => {
    const [root, ...others] = readManufacturers({ kind: 'roots', paths: [join(folder, file)] }, deps);
    expect(others).toEqual([]);
    return root?.notAfter.toISOString();
  });
  expect(ends).toEqual(['2039-10-23T14:34:32.000Z', '2041-01-01T05:00:00.000Z', '2032-07-11T16:29:30.000Z']);
});

test('the times of AMD are read in what manufacturers signed, and nowhere else', (context) => {
  const folder = vectorsOrSkip(SOURCE, context);
  const pem = fs.readFileSync(join(folder, 'amdtpm-rsa-root.pem'), 'latin1');
  const [root = new Uint8Array()] = readPem(pem, 'CERTIFICATE', 'config');
  const endorsement = fs.readFileSync(join(folder, 'gtime.der'));
  expect(parseManufacturerCertificate(endorsement).notAfter.toISOString()).toBe('2043-01-01T00:00:00.000Z');
  for (const each of [root, endorsement])
    expect(() => parseCertificate(each)).toThrow(refusal('certificate_parse', /not a time as RFC 5280/));
});

test('a serial number with a zero too many is not DER, and refused as OpenSSL refuses it', (context) => {
  const endorsement = fs.readFileSync(join(vectorsOrSkip(SOURCE, context), 'zero-serial.der'));
  const padded = refusal('certificate_parse', /serial is an INTEGER with padding/);
  expect(() => parseManufacturerCertificate(endorsement)).toThrow(padded);
});
