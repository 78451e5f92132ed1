/** Everything our encoder writes, read by two that are not ours: OpenSSL, strict, and @peculiar/x509. */
import '../kit/reflect.ts';

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { writePem } from '@chancery/shared/der/pem.ts';
import { generateKey, signerOf, spkiOf } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { lintAuthority, lintSvid } from '@chancery/shared/x509/compose/lint.ts';
import { commonName } from '@chancery/shared/x509/compose/tbs.ts';
import { verifyCsr, writeCsr } from '@chancery/shared/x509/csr.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { Crypto } from '@peculiar/webcrypto';
import * as peculiar from '@peculiar/x509';
import { afterAll, describe, expect, test } from 'vitest';
import { type Made, makeAuthority, makeLeaf, NOW, uriConstraint } from '../kit/certificates.ts';

const crypto = new Crypto();
const trustDomain = parseTrustDomain('prod.example');
const id = parseSpiffeId('spiffe://prod.example/ns/default/sa/web');

const named = x509.subjectAltName({ uris: [`spiffe://${trustDomain}`], critical: false });
const root = makeAuthority('Chancery Root', undefined, { extensions: { named } });
const issuing = makeAuthority('Chancery Issuing', root, {
  extensions: {
    constraints: x509.basicConstraints({ pathLength: 0 }),
    limit: uriConstraint(trustDomain),
    named,
  },
});
const forever = { fields: { notAfter: new Date('9999-12-31T23:59:59Z') } };
const endless = makeAuthority('Endless Root', undefined, forever);
const both = x509.subjectAltName({ uris: [id], dnsNames: ['web.default.svc'], critical: true });
const leaves: readonly [string, Made, Made][] = [
  ['a leaf without a subject', makeLeaf(id, issuing), issuing],
  ['a leaf with DNS names', makeLeaf(id, issuing, { extensions: { names: both } }), issuing],
  [
    'a leaf with a subject and a key identifier',
    makeLeaf(id, issuing, {
      fields: { subject: commonName('web') },
      extensions: { keyId: x509.subjectKeyIdentifier(Buffer.alloc(20, 7)) },
    }),
    issuing,
  ],
];
const all: readonly [string, Made, Made][] = [
  ['a root', root, root],
  ['an intermediate', issuing, root],
  ['a root without end', endless, endless],
  ...leaves,
];

const folder = fs.mkdtempSync(join(os.tmpdir(), 'chancery-interop-'));
afterAll(() => fs.rmSync(folder, { recursive: true }));

function file(name: string, label: string, der: Uint8Array): string {
  const path = join(folder, name);
  fs.writeFileSync(path, writePem(label, der));
  return path;
}

/** Throws with what OpenSSL said; an OpenSSL that is not there is an error, not a skip. */
const openssl = (...args: readonly string[]): string =>
  execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

describe('OpenSSL, strict,', () => {
  const anchor = file('root.pem', 'CERTIFICATE', root.certificate.der);
  const between = file('issuing.pem', 'CERTIFICATE', issuing.certificate.der);
  const strict = ['verify', '-x509_strict', '-check_ss_sig', '-attime', String(NOW.getTime() / 1000)];

  test('verifies the root and the intermediate', () => {
    expect(openssl(...strict, '-CAfile', anchor, anchor)).toContain('OK');
    expect(openssl(...strict, '-CAfile', anchor, between)).toContain('OK');
    const alone = file('endless.pem', 'CERTIFICATE', endless.certificate.der);
    expect(openssl(...strict, '-CAfile', alone, alone)).toContain('OK');
  });

  test('verifies what a P-384 key signed', async () => {
    const large = makeAuthority('Large', undefined, { key: generateKey('ecdsa-p384') });
    const above = file('large.pem', 'CERTIFICATE', large.certificate.der);
    const leaf = file('leaf.pem', 'CERTIFICATE', makeLeaf(id, large).certificate.der);
    expect(openssl(...strict, '-CAfile', above, above)).toContain('OK');
    expect(openssl(...strict, '-CAfile', above, leaf)).toContain('OK');
    const csr = file('csr.pem', 'CERTIFICATE REQUEST', await writeCsr(signerOf(generateKey('ecdsa-p384'))));
    openssl('req', '-in', csr, '-noout', '-verify');
  });

  test.each(leaves)('verifies %s, for servers and for clients', (_, { certificate }) => {
    const leaf = file('leaf.pem', 'CERTIFICATE', certificate.der);
    for (const purpose of ['sslserver', 'sslclient'])
      expect(
        openssl(...strict, '-purpose', purpose, '-CAfile', anchor, '-untrusted', between, leaf),
      ).toContain('OK');
  });

  test('reads the names and the limits as they were meant', () => {
    const leaf = file(
      'leaf.pem',
      'CERTIFICATE',
      makeLeaf(id, issuing, { extensions: { names: both } }).certificate.der,
    );
    const text = openssl('x509', '-in', leaf, '-noout', '-text');
    expect(text).toMatch(
      /Subject Alternative Name: critical\s+URI:spiffe:\/\/prod\.example\S+, DNS:web\.default\.svc/,
    );
    expect(text).toMatch(/Key Usage: critical\s+Digital Signature\n/);
    expect(text).toMatch(/Basic Constraints: critical\s+CA:FALSE/);
    expect(text).toMatch(/TLS Web Server Authentication, TLS Web Client Authentication/);
    const authority = openssl('x509', '-in', between, '-noout', '-text');
    expect(authority).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    expect(authority).toMatch(/Name Constraints: critical\s+Permitted:\s+URI:prod\.example/);
    expect(authority).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign/);
  });

  test('refuses a leaf outside the limits of its authority', () => {
    const outside = file(
      'outside.pem',
      'CERTIFICATE',
      makeLeaf('spiffe://test.example/x', issuing).certificate.der,
    );
    expect(() => openssl(...strict, '-CAfile', anchor, '-untrusted', between, outside)).toThrow(
      /permitted subtree/,
    );
  });

  test('verifies a CSR, and we verify its own', async () => {
    const csr = file('csr.pem', 'CERTIFICATE REQUEST', await writeCsr(signerOf(generateKey())));
    openssl('req', '-in', csr, '-noout', '-verify');
    const [key, out] = [join(folder, 'key.pem'), join(folder, 'theirs.der')];
    for (const options of [
      ['ec', 'ec_paramgen_curve:P-256'],
      ['ec', 'ec_paramgen_curve:P-384'],
      ['rsa', 'rsa_keygen_bits:2048'],
    ] as const) {
      openssl('genpkey', '-algorithm', options[0], '-pkeyopt', options[1], '-out', key);
      openssl(
        'req',
        '-new',
        '-key',
        key,
        '-subj',
        '/CN=web/O=x',
        '-addext',
        'subjectAltName=DNS:web',
        '-outform',
        'DER',
        '-out',
        out,
      );
      const theirs = fs.readFileSync(out);
      if (options[0] === 'ec') expect(verifyCsr(theirs).publicKey.asymmetricKeyType).toBe('ec');
      else expect(() => verifyCsr(theirs)).toThrow(/RSA keys are not certified/);
    }
  });
});

describe('@peculiar/x509', () => {
  test.each(all)('reads and verifies %s', async (_, { certificate }, issuer) => {
    const theirs = new peculiar.X509Certificate(certificate.der);
    const issuerCertificate = new peculiar.X509Certificate(issuer.certificate.der);
    expect(await theirs.verify({ publicKey: issuerCertificate, date: NOW }, crypto)).toBe(true);
    expect(theirs.notAfter).toEqual(certificate.notAfter);
    expect(Buffer.from(theirs.publicKey.rawData).equals(certificate.spki)).toBe(true);
    expect(theirs.extensions.map(({ type }) => type)).toEqual([...certificate.extensions.keys()]);
  });

  test('reads the names of a leaf', () => {
    const { certificate } = makeLeaf(id, issuing, { extensions: { names: both } });
    const theirs = new peculiar.X509Certificate(certificate.der);
    const names = theirs.getExtension(peculiar.SubjectAlternativeNameExtension)?.names.toJSON();
    expect(names).toEqual([
      { type: 'url', value: id },
      { type: 'dns', value: 'web.default.svc' },
    ]);
    expect(theirs.getExtension(peculiar.BasicConstraintsExtension)?.ca).toBe(false);
  });

  test('reads and verifies a CSR', async () => {
    const key = generateKey();
    const theirs = new peculiar.Pkcs10CertificateRequest(await writeCsr(signerOf(key)));
    expect(await theirs.verify(crypto)).toBe(true);
    expect(Buffer.from(theirs.publicKey.rawData).equals(spkiOf(key))).toBe(true);
  });

  test('writes a CSR that we verify', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const extensions = [new peculiar.SubjectAlternativeNameExtension([{ type: 'dns', value: 'web' }])];
    const request = { name: 'CN=web', keys, signingAlgorithm: algorithm, extensions };
    const csr = await peculiar.Pkcs10CertificateRequestGenerator.create(request, crypto);
    const spki = new Uint8Array(await crypto.subtle.exportKey('spki', keys.publicKey));
    expect(Buffer.from(verifyCsr(new Uint8Array(csr.rawData)).spki).equals(spki)).toBe(true);
  });
});

describe('our own reader', () => {
  test.each(leaves)('lints and verifies %s', (_, { certificate }) => {
    const { issuer, dnsNames } = { issuer: issuing.certificate, dnsNames: dnsNamesOf(certificate.der) };
    lintSvid(certificate.tbs, { issuer, id, dnsNames, spki: certificate.spki });
    const bundle = { trustDomain, authorities: [root.certificate.der], sequence: 1n };
    expect(verifySvid([certificate.der, issuing.certificate.der], bundle, NOW).id).toBe(id);
  });

  function dnsNamesOf(der: Uint8Array): string[] {
    const names = new peculiar.X509Certificate(der).getExtension(
      peculiar.SubjectAlternativeNameExtension,
    )?.names;
    return (names?.items ?? []).filter(({ type }) => type === 'dns').map(({ value }) => value);
  }

  test('lints the authorities', () => {
    const order = { trustDomain, spki: issuing.certificate.spki, pathLength: 0 };
    lintAuthority(issuing.certificate.tbs, { ...order, issuer: root.certificate });
    const rootOrder = { trustDomain, spki: root.certificate.spki, pathLength: undefined };
    lintAuthority(root.certificate.tbs, { ...rootOrder, issuer: undefined });
  });
});
