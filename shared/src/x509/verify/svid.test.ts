import { describe, expect, test, vi } from 'vitest';
import {
  after,
  extension,
  makeAuthority,
  makeLeaf,
  NOW,
  type Recipe,
} from '../../../../test/kit/certificates.ts';
import { utf8 } from '../../ground/bytes.ts';
import type { Bundle } from '../../spiffe/bundle.ts';
import { parseTrustDomain } from '../../spiffe/id.ts';
import { commonName } from '../compose/tbs.ts';
import * as x509 from '../extensions.ts';
import { verifySvid } from './svid.ts';

const ID = 'spiffe://prod.example/web';
const root = makeAuthority('Root');
const issuing = makeAuthority('Issuing', root);
const bundleOf = (trustDomain: string, ...authorities: readonly Uint8Array[]): Bundle => ({
  trustDomain: parseTrustDomain(trustDomain),
  authorities,
  sequence: 1n,
});
const bundle = bundleOf('prod.example', root.certificate.der);
const chainOf = (recipe: Recipe = {}, id = ID) => [
  makeLeaf(id, issuing, recipe).certificate.der,
  issuing.certificate.der,
];

test('an SVID is verified to its ID, its end and its serial number', () => {
  const serial = Buffer.from('0102030405060708090a0b0c0d0e0f10', 'hex');
  const verified = verifySvid(chainOf({ fields: { serial } }), bundle, NOW);
  expect(verified).toMatchObject({ id: ID, notAfter: after(3600), serial: serial.toString('hex') });
});

test('DNS names beside the ID, a subject, and no extended key usage are allowed', () => {
  const names = x509.subjectAltName({ uris: [ID], dnsNames: ['web.example'], critical: true });
  expect(verifySvid(chainOf({ extensions: { names, purposes: undefined } }), bundle, NOW).id).toBe(ID);
});

describe('refuses', () => {
  const names = (...uris: readonly string[]) => ({ names: x509.subjectAltName({ uris, critical: true }) });
  const usage = (...bits: readonly number[]) => ({ usage: x509.keyUsage(...bits) });
  const [good, intermediate] = chainOf() as [Uint8Array, Uint8Array];
  const dnsOnly = x509.subjectAltName({ uris: [], dnsNames: ['web.example'], critical: true });
  const softUsage = extension('2.5.29.15', false, Buffer.from('03020780', 'hex'));

  /** attacks.md I14, I15, I16 and X509-SVID.md §2 to §5. */
  test.each<[string, readonly Uint8Array[], Bundle, string, RegExp]>([
    ['no chain', [], bundle, 'chain', /chain is empty/],
    ['9 certificates', Array(9).fill(good), bundle, 'chain_too_long', /9 certificates, at most 8/],
    ['something that is not a certificate', [utf8('x')], bundle, 'certificate_parse', /certificate has tag/],
    ['no intermediate', [good], bundle, 'chain', /does not end at a trusted root/],
    [
      'an empty bundle',
      [good, intermediate],
      bundleOf('prod.example'),
      'chain',
      /does not end at a trusted root/,
    ],
    [
      'an authority that is retired',
      [good, intermediate],
      bundleOf('prod.example', makeAuthority('Root').certificate.der),
      'chain',
      /does not end at a trusted root/,
    ],
    [
      'the bundle of another trust domain',
      [good, intermediate],
      bundleOf('test.example', root.certificate.der),
      'svid',
      /not of trust domain test.example/,
    ],
    ['an expired leaf', chainOf({ fields: { notAfter: after(-1) } }), bundle, 'expired_peer', /expired at/],
    [
      'an authority as workload',
      [issuing.certificate.der],
      bundle,
      'svid',
      /the certificate of an authority names a workload/,
    ],
    ['no key usage', chainOf({ extensions: { usage: undefined } }), bundle, 'svid', /key usage is missing/],
    [
      'a key usage that is not critical',
      chainOf({ extensions: { usage: softUsage } }),
      bundle,
      'svid',
      /not critical/,
    ],
    [
      'no digital signatures',
      chainOf({ extensions: usage(2) }),
      bundle,
      'svid',
      /does not allow digital signatures/,
    ],
    [
      'signing certificates',
      chainOf({ extensions: usage(0, 5) }),
      bundle,
      'svid',
      /allows signing certificates/,
    ],
    ['signing CRLs', chainOf({ extensions: usage(0, 6) }), bundle, 'svid', /allows signing CRLs/],
    [
      'no server authentication',
      chainOf({ extensions: { purposes: x509.extKeyUsage(x509.EKU.clientAuth) } }),
      bundle,
      'svid',
      /without server auth/,
    ],
    [
      'no client authentication',
      chainOf({ extensions: { purposes: x509.extKeyUsage(x509.EKU.serverAuth) } }),
      bundle,
      'svid',
      /without client auth/,
    ],
    [
      'no names',
      chainOf({ extensions: { names: undefined }, fields: { subject: root.certificate.subject } }),
      bundle,
      'svid',
      /no URI name/,
    ],
    [
      'DNS names only',
      chainOf({
        extensions: { names: dnsOnly },
      }),
      bundle,
      'svid',
      /no URI name/,
    ],
    ['two IDs', chainOf({ extensions: names(ID, ID) }), bundle, 'svid', /2 URI names, not one/],
    [
      'an ID without a path',
      chainOf({ extensions: names('spiffe://prod.example') }),
      bundle,
      'svid',
      /has no path/,
    ],
    [
      'another URI',
      chainOf({ extensions: names('https://prod.example/web') }),
      bundle,
      'svid',
      /does not start with spiffe/,
    ],
    [
      'an ID in the common name only',
      chainOf({
        extensions: { names: dnsOnly },
        fields: { subject: commonName(ID) },
      }),
      bundle,
      'svid',
      /no URI name/,
    ],
  ])('%s', (_, ...[chain, trusted, code, message]) => {
    const refusal = expect.objectContaining({ code, message: expect.stringMatching(message) });
    expect(() => verifySvid(chain, trusted, NOW)).toThrow(refusal);
  });
});

test('an error of our own is not reported as a refusal of the certificate', async () => {
  vi.resetModules();
  vi.doMock('../../spiffe/id.ts', () => ({
    parseSpiffeId: () => {
      throw new TypeError('a bug');
    },
  }));
  const faulty = await import('./svid.ts');
  expect(() => faulty.verifySvid(chainOf(), bundle, NOW)).toThrow(new TypeError('a bug'));
});
