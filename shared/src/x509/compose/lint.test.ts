import { describe, expect, test } from 'vitest';
import {
  after,
  authorityFields,
  type Extensions,
  extension,
  keyIdOf,
  leafFields,
  makeAuthority,
  uriConstraint,
} from '../../../../test/kit/certificates.ts';
import { DerReader } from '../../der/read.ts';
import * as der from '../../der/write.ts';
import { generateKey, type KeyAlgorithm, spkiOf } from '../../keys/key.ts';
import { parseSpiffeId, parseTrustDomain } from '../../spiffe/id.ts';
import { attestedExtension } from '../attested.ts';
import * as x509 from '../extensions.ts';
import { type AuthorityOrder, lintAuthority, lintSvid, type SvidOrder } from './lint.ts';
import { type CertificateFields, commonName, writeTbs } from './tbs.ts';

const id = parseSpiffeId('spiffe://prod.example/web');
const trustDomain = parseTrustDomain('prod.example');
const root = makeAuthority('Root');
const limited = makeAuthority('Issuing', root, { extensions: { limit: uriConstraint('prod.example') } });
const key = generateKey();
const spki = spkiOf(key);
const refusal = (message: RegExp) =>
  expect.objectContaining({ code: 'lint', message: expect.stringMatching(message) });
/** The same extension, critical. */
function critical(whole: Uint8Array): Uint8Array {
  const fields = new DerReader(whole, 'der').sequence('it');
  return extension(fields.oid('it'), true, fields.octets('it'));
}
const strange = extension('1.2.3.4', false, der.sequence());
const said = { platform: 'tpm', attributes: new Map([['tpm.pcr', 'x']]) };
const otherSpki = spkiOf(generateKey());

describe('an SVID', () => {
  const order: SvidOrder = { issuer: limited.certificate, id, spki };
  const lint = (
    extensions: Extensions,
    fields: Partial<CertificateFields>,
    changed: Partial<SvidOrder> = {},
  ) =>
    lintSvid(writeTbs({ ...leafFields(id, key, limited, extensions), ...fields }, 'ecdsa-p256'), {
      ...order,
      ...changed,
    });
  const names = (uris: readonly string[], dnsNames: readonly string[] = [], critical = true) => ({
    names: x509.subjectAltName({ uris, dnsNames, critical }),
  });
  const { serverAuth, clientAuth } = x509.EKU;

  test('as ordered passes', () => {
    expect(() => lint({}, {})).not.toThrow();
    expect(() => lint(names([id], ['web.example']), {}, { dnsNames: ['web.example'] })).not.toThrow();
    expect(() =>
      lint({ keyId: x509.subjectKeyIdentifier(x509.keyIdentifierOf(spki, 'der')) }, {}),
    ).not.toThrow();
    expect(() => lint(names([id], [], false), { subject: commonName('web') })).not.toThrow();
    const crlUrl = 'http://crl.prod.example/40aa.crl';
    expect(() => lint({ attested: attestedExtension(said) }, {}, { attested: said })).not.toThrow();
    expect(() => lint({ crl: x509.crlDistributionPoint(crlUrl) }, {}, { crlUrl })).not.toThrow();
  });

  const ca = parseSpiffeId('spiffe://prod.example/chancery/ca');
  const operator = parseSpiffeId('spiffe://prod.example/chancery/operator/ann');
  const nobody = parseSpiffeId('spiffe://prod.example/chancery/other');
  const withMark = (...marks: readonly string[]) => ({
    purposes: x509.extKeyUsage(serverAuth, clientAuth, ...marks),
  });

  test('of the CA or of an operator passes with the mark of its role', () => {
    expect(() => lint({ ...names([ca]), ...withMark(x509.ROLE_MARK.ca) }, {}, { id: ca })).not.toThrow();
    const marked = withMark(x509.ROLE_MARK.operator);
    expect(() => lint({ ...names([operator]), ...marked }, {}, { id: operator })).not.toThrow();
  });

  test.each<[string, Extensions, Partial<CertificateFields>, RegExp, Partial<SvidOrder>?]>([
    ['I51 of a workload with the CA’s mark', withMark(x509.ROLE_MARK.ca), {}, /allows more than TLS/],
    ['I51 of the CA without its mark', names([ca]), {}, /lacks the mark of its role \(ca\)/, { id: ca }],
    [
      'I51 of an operator with the CA’s mark',
      { ...names([operator]), ...withMark(x509.ROLE_MARK.ca) },
      {},
      /lacks the mark of its role \(operator\)/,
      { id: operator },
    ],
    [
      'I50 of a reserved name of nobody',
      names([nobody]),
      {},
      /is reserved for the trust domain itself/,
      { id: nobody },
    ],
    ['of 63 bits of serial number', {}, { serial: Buffer.alloc(7, 0xff) }, /has 56 bits, at least 64/],
    [
      'of a serial number that only looks long',
      {},
      { serial: Buffer.from(`00${'ff'.repeat(7)}`, 'hex') },
      /has 56 bits/,
    ],
    ['of 21 octets of serial number', {}, { serial: Buffer.alloc(20, 0xff) }, /21 octets, at most 20/],
    ['of serial number 0', {}, { serial: Uint8Array.of(0) }, /has 0 bits/],
    ['that ends as it begins', {}, { notAfter: after(-10) }, /ends before it begins/],
    ['for another key', {}, { spki: otherSpki }, /public key is not the one/],
    ['of another issuer', {}, { issuer: commonName('Other') }, /issuer is not the name/],
    ['that begins before its issuer', {}, { notBefore: after(-25 * 3600) }, /begins before the authority/],
    ['that ends after its issuer', {}, { notAfter: after(366 * 24 * 3600) }, /ends after the authority/],
    [
      'without an authority key identifier',
      { authority: undefined },
      {},
      /authority key identifier is missing/,
    ],
    [
      'with another',
      { authority: x509.authorityKeyIdentifier(keyIdOf(root)) },
      {},
      /identifier is not the authority/,
    ],
    [
      'that says what was not ordered',
      { attested: attestedExtension(said) },
      {},
      /are not those that were ordered/,
    ],
    ['that does not say what was', {}, {}, /are not those that were ordered/, { attested: said }],
    [
      'that says something else',
      { attested: attestedExtension({ ...said, attributes: new Map([['tpm.pcr', 'y']]) }) },
      {},
      /are not those that were ordered/,
      { attested: said },
    ],
    [
      'of another platform',
      { attested: attestedExtension({ ...said, platform: 'aws' }) },
      {},
      /are not those that were ordered/,
      { attested: said },
    ],
    [
      'of another scope',
      { attested: attestedExtension({ ...said, scope: 'a' }) },
      {},
      /are not those that were ordered/,
      { attested: { ...said, scope: 'b' } },
    ],
    [
      'that says it critically',
      { attested: critical(attestedExtension(said)) },
      {},
      /attested attributes are critical/,
      { attested: said },
    ],
    ['with an extension that was not ordered', { strange }, {}, /1.2.3.4 is not in the profile/],
    [
      'with a CRL distribution point that was not ordered',
      { crl: x509.crlDistributionPoint('http://a/b.crl') },
      {},
      /CRL distribution point is not left out/,
    ],
    ['without an ordered CRL distribution point', {}, {}, /point is not http:/, { crlUrl: 'http://a/b.crl' }],
    [
      'with another CRL distribution point',
      { crl: x509.crlDistributionPoint('http://a/c.crl') },
      {},
      /point is not http:\/\/a\/b/,
      { crlUrl: 'http://a/b.crl' },
    ],
    [
      'with a critical CRL distribution point',
      { crl: critical(x509.crlDistributionPoint('http://a/b.crl')) },
      {},
      /CRL distribution points are critical/,
      { crlUrl: 'http://a/b.crl' },
    ],
    ['without names', { names: undefined }, {}, /certificate has no URI name/],
    ['with two IDs', names([id, id]), {}, /more than one URI name/],
    ['with another ID', names([`${id}2`]), {}, /URI name is not spiffe/],
    ['with a DNS name that was not ordered', names([id], ['web.example']), {}, /DNS names are not those/],
    ['without an ordered DNS name', {}, {}, /DNS names are not those/, { dnsNames: ['web.example'] }],
    [
      'with another DNS name',
      names([id], ['db.example']),
      {},
      /DNS names are not those/,
      { dnsNames: ['web.example'] },
    ],
    ['with a bent DNS name', names([id], ['a_b']), {}, /is malformed/, { dnsNames: ['a_b'] }],
    [
      'with a mailbox',
      {
        names: extension(
          '2.5.29.17',
          true,
          der.sequence(der.implicit(6, Buffer.from(id)), der.implicit(1, Buffer.from('a@b'))),
        ),
      },
      {},
      /DNS names are not/,
      { dnsNames: ['a@b'] },
    ],
    ['whose names are not critical', names([id], [], false), {}, /2.5.29.17 is missing or not critical/],
    ['without basic constraints', { constraints: undefined }, {}, /2.5.29.19 is missing or not critical/],
    [
      'that is an authority',
      { constraints: x509.basicConstraints({ pathLength: 0 }) },
      {},
      /not those of a leaf/,
    ],
    ['without key usage', { usage: undefined }, {}, /2.5.29.15 is missing or not critical/],
    ['that may encipher keys too', { usage: x509.keyUsage(0, 2) }, {}, /key usage has bits 0,2, not 0/],
    ['that may do something else', { usage: x509.keyUsage(2) }, {}, /key usage has bits 2, not 0/],
    [
      'not for servers',
      { purposes: x509.extKeyUsage(clientAuth, '1.2.3') },
      {},
      /without server authentication/,
    ],
    [
      'not for clients',
      { purposes: x509.extKeyUsage(serverAuth, '1.2.3') },
      {},
      /without client authentication/,
    ],
    ['for more', { purposes: x509.extKeyUsage(serverAuth, clientAuth, '1.2.3') }, {}, /allows more than TLS/],
    [
      'that its issuer may not name',
      names(['spiffe://test.example/x']),
      {},
      /outside what its authority/,
      { id: parseSpiffeId('spiffe://test.example/x') },
    ],
  ])('%s is found', (_, ...[extensions, fields, message, changed]) => {
    expect(() => lint(extensions, fields, changed)).toThrow(refusal(message));
  });

  test('of a negative serial number, another algorithm or another version is found', () => {
    const tbs = Buffer.from(writeTbs(leafFields(id, key, limited), 'ecdsa-p256'));
    const bend = (at: string, byte: number, from: Uint8Array = tbs): Uint8Array => {
      const bent = Buffer.from(from);
      const found = bent.indexOf(Buffer.from(at, 'hex')) + at.length / 2 - 1;
      bent[found] = byte;
      return bent;
    };
    expect(() => lintSvid(bend('021001', 0x81), order)).toThrow(refusal(/serial number is negative/));
    expect(() => lintSvid(bend('2a8648ce3d040302', 3), order)).toThrow(
      refusal(/not that of the authority’s key/),
    );
    expect(() => lintSvid(bend('a003020102', 1), order)).toThrow(refusal(/version 2, not 3/));
  });
});

test('a certificate is signed as the key of its authority signs', () => {
  const large = makeAuthority('Large', undefined, { key: generateKey('ecdsa-p384') });
  const order: SvidOrder = { issuer: large.certificate, id, spki };
  const tbs = (algorithm: KeyAlgorithm) => writeTbs(leafFields(id, key, large), algorithm);
  expect(() => lintSvid(tbs('ecdsa-p384'), order)).not.toThrow();
  expect(() => lintSvid(tbs('ecdsa-p256'), order)).toThrow(refusal(/not that of the authority’s key/));
});

describe('an authority', () => {
  const order: AuthorityOrder = { issuer: root.certificate, trustDomain, spki, pathLength: 0 };
  const tight = { constraints: x509.basicConstraints({ pathLength: 0 }) };
  const lint = (
    extensions: Extensions,
    fields: Partial<CertificateFields>,
    changed: Partial<AuthorityOrder> = {},
  ) =>
    lintAuthority(
      writeTbs(
        { ...authorityFields('New', key, root, { ...tight, ...extensions }), ...fields },
        'ecdsa-p256',
      ),
      { ...order, ...changed },
    );
  const named = (uri: string) => ({ names: x509.subjectAltName({ uris: [uri], critical: false }) });

  test('as ordered passes', () => {
    expect(() => lint({}, {})).not.toThrow();
    expect(() =>
      lint({ ...named('spiffe://prod.example'), limit: uriConstraint(trustDomain) }, {}),
    ).not.toThrow();
    const tbs = writeTbs(authorityFields('Root', key, undefined), 'ecdsa-p256');
    expect(() => lintAuthority(tbs, { ...order, issuer: undefined, pathLength: undefined })).not.toThrow();
  });

  test.each<[string, Extensions, Partial<CertificateFields>, RegExp, Partial<AuthorityOrder>?]>([
    ['for another key', {}, { spki: otherSpki }, /public key is not the one/],
    ['of another issuer', {}, { issuer: commonName('Other') }, /issuer is not the name/],
    ['as a root that another issued', {}, {}, /root is issued by another name/, { issuer: undefined }],
    ['with an extension that was not ordered', { strange }, {}, /1.2.3.4 is not in the profile/],
    ['without a subject', {}, { subject: der.sequence() }, /an authority has no subject/],
    ['with the name of its issuer', {}, { subject: commonName('Root') }, /intermediate has its issuer/],
    ['without basic constraints', { constraints: undefined }, {}, /2.5.29.19 is missing or not critical/],
    ['that is a leaf', { constraints: x509.basicConstraints() }, {}, /not those of an authority/],
    ['of another path length', {}, {}, /path length is 0, not 1/, { pathLength: 1 }],
    [
      'of no path length',
      { constraints: x509.basicConstraints({ pathLength: undefined }) },
      {},
      /undefined, not 0/,
    ],
    ['that may do more', { usage: x509.keyUsage(0, 5, 6) }, {}, /key usage has bits 0,5,6, not 5,6/],
    ['without a key identifier', { keyId: undefined }, {}, /an authority has no key identifier/],
    ['with the name of a workload', named('spiffe://prod.example/ca'), {}, /an authority has another name/],
    [
      'with a DNS name',
      { names: x509.subjectAltName({ uris: [], dnsNames: ['ca.example'], critical: false }) },
      {},
      /an authority has another name/,
    ],
    [
      'whose name constraints are not critical',
      { limit: extension('2.5.29.30', false, der.sequence()) },
      {},
      /2.5.29.30 is missing or not critical/,
    ],
    [
      'whose name constraints are empty',
      { limit: extension('2.5.29.30', true, der.sequence()) },
      {},
      /name constraints are empty/,
    ],
  ])('%s is found', (_, ...[extensions, fields, message, changed]) => {
    expect(() => lint(extensions, fields, changed)).toThrow(refusal(message));
  });
});
