/** What an output hands on of a CA above: one genuine chain, spoiled one way a row. */

import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { Certificate } from '@chancery/shared/x509/certificate.ts';
import { describe, expect, test } from 'vitest';
import { bent, corporate, corporateRoot, crossOf, nameConstraint } from '../../../test/kit/ca/above.ts';
import { after, makeAuthority, makeLeaf, NOW } from '../../../test/kit/certificates.ts';
import { fullChain } from './full-chain.ts';

const ours = makeAuthority('Ours');
const other = makeAuthority('Other');
const issuing = makeAuthority('Issuing', ours);
const short = [makeLeaf('spiffe://prod.example/web', issuing).certificate.der, issuing.certificate.der];
const ders = (...chain: readonly Certificate[]) => chain.map(({ der }) => der);
const trustDomain = parseTrustDomain('prod.example');
const bundle = { trustDomain, authorities: ders(other.certificate, ours.certificate), sequence: 1n };
const full = (crossChains: readonly (readonly Uint8Array[])[], now = NOW) =>
  fullChain(short, { bundle, crossChains, now });

test('is the chain of the certificate, then that of its root among all', () => {
  const cross = ders(crossOf(ours.certificate), corporate.certificate);
  const others = ders(crossOf(other.certificate), corporate.certificate);
  expect(full([others, cross])).toEqual({ chain: [...short, ...cross], lacks: undefined });
});

describe('I236 a chain from the CA that peers would refuse is not written', () => {
  const limited = makeAuthority('Limited', corporateRoot, {
    extensions: { names: nameConstraint('uri', 'other.example') },
  });
  test.each<[string, readonly (readonly Uint8Array[])[], RegExp]>([
    ['none', [], /^the CA has no cross-certificate/],
    ['an empty one', [[]], /^the CA has no cross-certificate/],
    ['of another root only', [ders(crossOf(other.certificate))], /^the CA has no cross-certificate/],
    ['bent', [ders(bent(crossOf(ours.certificate)), corporate.certificate)], /the signature does not verify/],
    [
      'of a stranger',
      [ders(crossOf(ours.certificate), makeAuthority('Else', corporateRoot).certificate)],
      /the names differ$/,
    ],
    [
      'over',
      [ders(crossOf(ours.certificate, corporate, { fields: { notAfter: after(-1) } }))],
      /it is valid from/,
    ],
    [
      'for other names',
      [ders(crossOf(ours.certificate, limited), limited.certificate)],
      /do not permit this certificate/,
    ],
    ['no certificate', [[Buffer.from('00', 'hex')]], /^the chain from the CA above is not in order/],
    [
      'too long',
      [ders(crossOf(ours.certificate), ...Array.from({ length: 6 }, () => corporate.certificate))],
      /has 7 certificates, at most 6/,
    ],
  ])('%s', (_, chains, says) => {
    const { chain, lacks } = full(chains);
    expect(chain).toBe(short);
    expect(lacks).toMatch(says);
  });
});
