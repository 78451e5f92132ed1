import { expect, test, vi } from 'vitest';
import { after, NOW } from '../../../../../test/kit/certificates.ts';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { DerivedCertificates } from './derived-certificates.ts';

const of = (node: string, notAfter = after(60)) => ({ platform: 'fake', node, origin: '40aa', notAfter });
const full = refusal('rate', /^fake\/n1 has 2 valid certificates by IssueX509$/);

test('a node has a bound of its own, in which attested certificates do not count', () => {
  const derived = new DerivedCertificates(() => [], 2);
  for (let n = 0; n < 3; n += 1) derived.add({ ...of('n1'), origin: undefined }, NOW);
  derived.add(of('n1'), NOW);
  derived.add(of('n1'), NOW);
  expect(() => derived.add(of('n1'), NOW)).toThrow(full);
  derived.add(of('n2'), NOW);
});

test('a certificate that has ended, or was not recorded, does not count', () => {
  const derived = new DerivedCertificates(() => [], 2);
  derived.add(of('n1'), NOW);
  derived.add(of('n1', after(120)), NOW)();
  derived.add(of('n1', after(120)), NOW);
  expect(() => derived.add(of('n1'), after(59))).toThrow(full);
  derived.add(of('n1', after(180)), after(60));
  expect(() => derived.add(of('n1'), after(60))).toThrow(full);
});

test('a node without valid certificates is forgotten', () => {
  const derived = new DerivedCertificates(() => [], 2);
  derived.add(of('n1'), NOW);
  derived.forgetExpired(after(59));
  expect(derived.size).toBe(1);
  derived.forgetExpired(after(60));
  expect(derived.size).toBe(0);
});

test('what a node has on record counts, and is read once until it is forgotten', () => {
  const read = vi.fn(() => [after(60)]);
  const derived = new DerivedCertificates(read, 2);
  derived.add(of('n1'), NOW);
  expect(() => derived.add(of('n1'), NOW)).toThrow(full);
  derived.clear();
  derived.add(of('n1'), NOW);
  expect(read.mock.calls).toEqual([
    [expect.objectContaining({ node: 'n1' }), NOW],
    [expect.objectContaining({ node: 'n1' }), NOW],
  ]);
});
