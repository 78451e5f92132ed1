import { beforeAll, describe, expect, test } from 'vitest';
import { type Made, makeAuthority } from '../../../test/kit/certificates.ts';
import { newLogKey, proofsOf, publication, vouchedFor } from '../../../test/kit/voucher.ts';
import { base64 } from '../ground/bytes.ts';
import { vouchedRoots } from './voucher.ts';

const trustDomain = 'prod.example';
const log = newLogKey(trustDomain);
const about = { trustDomain, key: log.verifier };
const [first, second, third] = ['first', 'second', 'third'].map((name) => makeAuthority(name)) as [
  Made,
  Made,
  Made,
];
const der = ({ certificate }: Made) => certificate.der;
const vouched = vouchedFor(trustDomain, first, second);
let good: readonly Uint8Array[];
beforeAll(async () => {
  good = await proofsOf(
    [
      '{"type":"other"}',
      ...[vouched, vouchedFor(trustDomain, second, third)].map((each) => publication(each)),
    ],
    log,
  );
});
const found = (proofs: readonly Uint8Array[], known = [first]) =>
  vouchedRoots(known.map(der), proofs, about).map((each) => Buffer.from(each));
const one = async (entry: string, key = log) => found(await proofsOf(['{}', entry, '{}'], key));

test('leads from root to root, in whatever order the proofs come, and not back', () => {
  const all = [second, third].map(der).map((each) => Buffer.from(each));
  expect(found(good)).toEqual(all);
  expect(found(good.toReversed())).toEqual(all);
  expect(found(good, [second])).toEqual(all.slice(1));
  expect(found(good, [third])).toEqual([]);
  expect(found(good, [first, second, third])).toEqual([]);
});

describe('leads nowhere', () => {
  test.each<[string, () => string | Promise<string>]>([
    ['of another kind of entry', () => publication(vouched, 'registry.applied')],
    ['signed by another root', () => publication(vouchedFor(trustDomain, first, second, third))],
    ['of another trust domain', () => publication(vouchedFor('other.example', first, second))],
    [
      'that names another root than it signs',
      () => publication({ ...vouched, certificate: base64(der(third)) }),
    ],
    ['of a root that is not known', () => publication(vouchedFor(trustDomain, third, second))],
    ['whose certificate is none', () => publication({ ...vouched, certificate: 'AAAA' })],
    ['without a signature', () => publication({ ...vouched, signature: undefined })],
    ['with an empty signature', () => publication({ ...vouched, signature: '' })],
    ['that is not an object', () => publication('voucher')],
    ['in an entry that is not JSON', () => `x${publication(vouched)}`],
  ])('a voucher %s', async (_, entry) => {
    expect(await one(await entry())).toEqual([]);
  });

  test('a voucher in the log of another key', async () => {
    expect(await one(publication(vouched), newLogKey(trustDomain))).toEqual([]);
    expect(await one(publication(vouched))).toHaveLength(1);
  });

  test('a proof of another entry than the one that it carries, one without an entry, and what is not a proof', async () => {
    const text = Buffer.from(good[1] ?? '').toString('utf8');
    const extra = Buffer.from(publication(vouchedFor(trustDomain, first, third))).toString('base64');
    const swapped = text.replace(/^extra .*$/m, `extra ${extra}`);
    for (const bad of [swapped, text.replace(/^extra .*\n/m, ''), 'nothing', ''])
      expect(found([Buffer.from(bad)])).toEqual([]);
    expect(found([Buffer.from('nothing'), ...good])).toHaveLength(2);
  });

  test('what comes after the 64th', () => {
    const [, proof = Buffer.alloc(0)] = good;
    const empty = Array.from({ length: 64 }, () => Buffer.alloc(0));
    expect(found([...empty, proof])).toEqual([]);
    expect(found([...empty.slice(1), proof])).toHaveLength(1);
  });
});
