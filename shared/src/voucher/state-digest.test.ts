/** What the digests of a state are, and that nothing in it can be another without another digest. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { bundleDigest, policyDigest, revocationsDigest } from './state-digest.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);
const jwtKey = (keyId: string, publicKey: string, expiresAt = 0n) => ({
  ...{ keyId, publicKey: bytes(publicKey), expiresAt },
});
const bundle = {
  trustDomain: 'prod.example',
  x509Authorities: [bytes('one'), bytes('two')],
  jwtAuthorities: [jwtKey('a', 'key'), jwtKey('b', 'more')],
  readerVersion: 1,
  retiringX509: [bytes('old')],
};
const revoked = {
  ...{ number: 3n, kind: 'id', value: 'spiffe://prod.example/w', serials: ['40aa'], reason: 'superseded' },
  until: 9n,
};

const hexOf = (digest: Uint8Array): string => Buffer.from(digest).toString('hex');

describe('the digest of a bundle', () => {
  test('is SHA-256 over each field, each with its length', () => {
    const u32 = (n: number): Buffer => Buffer.from([n >> 24, n >> 16, n >> 8, n]);
    const field = (text: string): Buffer => Buffer.concat([u32(text.length), Buffer.from(text)]);
    const parts = [
      field('prod.example'),
      ...[u32(2), field('one'), field('two')],
      ...[u32(2), field('a'), field('key'), field('0'), field('b'), field('more'), field('0')],
      ...[u32(1), u32(1), field('old')],
    ];
    expect(hexOf(bundleDigest(bundle))).toBe(createHash('sha256').update(Buffer.concat(parts)).digest('hex'));
  });

  test.each<[string, Partial<typeof bundle>]>([
    ['another trust domain', { trustDomain: 'prod.examplf' }],
    ['a root less', { x509Authorities: [bytes('one')] }],
    ['other bytes of a root', { x509Authorities: [bytes('one'), bytes('twp')] }],
    ['its roots in another order', { x509Authorities: [bytes('two'), bytes('one')] }],
    ['its roots cut in another place', { x509Authorities: [bytes('onet'), bytes('wo')] }],
    [
      'a root that retires among those that stay',
      { x509Authorities: [bytes('one'), bytes('two'), bytes('old')], retiringX509: [] },
    ],
    ['a JWT key less', { jwtAuthorities: [jwtKey('a', 'key')] }],
    ['another kid', { jwtAuthorities: [jwtKey('a', 'key'), jwtKey('c', 'more')] }],
    ['another JWT key', { jwtAuthorities: [jwtKey('a', 'kez'), jwtKey('b', 'more')] }],
    ['another end of a JWT key', { jwtAuthorities: [jwtKey('a', 'key', 1n), jwtKey('b', 'more')] }],
    ['the keys of two kids exchanged', { jwtAuthorities: [jwtKey('a', 'more'), jwtKey('b', 'key')] }],
    ['a kid that takes from its key', { jwtAuthorities: [jwtKey('ak', 'ey'), jwtKey('b', 'more')] }],
    ['another version', { readerVersion: 2 }],
    ['no root that retires', { retiringX509: [] }],
  ])('is another one with %s', (_, changes) => {
    expect(hexOf(bundleDigest({ ...bundle, ...changes }))).not.toBe(hexOf(bundleDigest(bundle)));
  });
});

describe('the digest of revocations', () => {
  test.each<[string, Partial<typeof revoked>]>([
    ['another number', { number: 4n }],
    ['another kind', { kind: 'node' }],
    ['another value', { value: 'spiffe://prod.example/v' }],
    ['another serial', { serials: ['40ab'] }],
    ['no serial', { serials: [] }],
    ['another reason', { reason: 'keyCompromise' }],
    ['another end', { until: 0n }],
  ])('is another one with %s', (_, changes) => {
    expect(hexOf(revocationsDigest([{ ...revoked, ...changes }]))).not.toBe(
      hexOf(revocationsDigest([revoked])),
    );
  });

  test('is the same in any order, and another one with one more', () => {
    const next = { ...revoked, number: 10n };
    expect(hexOf(revocationsDigest([next, revoked]))).toBe(hexOf(revocationsDigest([revoked, next])));
    expect(hexOf(revocationsDigest([revoked, next]))).not.toBe(hexOf(revocationsDigest([revoked])));
  });
});

test('the digest of a policy is of the resources as they were sent, in their order', () => {
  const all = [['a', 'b'], ['b', 'a'], ['ab'], ['a'], []].map((each) => hexOf(policyDigest(each)));
  expect(new Set(all).size).toBe(5);
});
