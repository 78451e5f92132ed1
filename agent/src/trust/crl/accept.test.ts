import { signerOf } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { writeCrlTbs } from '@chancery/shared/x509/compose/crl.ts';
import { describe, expect, test } from 'vitest';
import {
  after,
  keyIdOf,
  type Made,
  makeAuthority,
  makeLeaf,
  NOW,
  signed,
} from '../../../../test/kit/certificates.ts';
import { acceptCrls, type HeldCrl, type OfferedCrl } from './accept.ts';

const root = makeAuthority('Root');
const issuing = makeAuthority('Issuing', root);
const foreign = makeAuthority('Issuing', makeAuthority('Root of another trust domain'));
const bundle = {
  trustDomain: parseTrustDomain('prod.example'),
  authorities: [root.certificate.der],
  sequence: 1n,
};

function listOf(issuer: Made, number = 5n, changes: object = {}): OfferedCrl {
  const fields = {
    issuer: issuer.certificate.subject,
    keyId: keyIdOf(issuer),
    number,
    thisUpdate: NOW,
    nextUpdate: after(3600),
    entries: new Uint8Array(),
    ...changes,
  };
  const der = signed(writeCrlTbs(fields, signerOf(issuer.key).algorithm), issuer.key);
  return { issuer: issuer.certificate.der, der };
}
const accept = (offered: readonly OfferedCrl[], held: readonly HeldCrl[] = [], now = after(1)) =>
  acceptCrls(offered, { bundle, held, now });
const numbersOf = ({ lists }: ReturnType<typeof accept>) => lists.map(({ number }) => number).toSorted();

test('lists of a root and of an intermediate under it are taken, in one order', () => {
  const offered = [listOf(root, 4n), listOf(issuing, 5n)];
  const accepted = accept(offered);
  expect(accepted.problems).toEqual([]);
  expect(numbersOf(accepted)).toEqual([4n, 5n]);
  expect(accept(offered.toReversed()).lists).toEqual(accepted.lists);
});

describe('I124 a list that cannot be trusted keeps no other one out:', () => {
  const leaf = makeLeaf('spiffe://prod.example/w', issuing);
  test.each<[string, OfferedCrl, RegExp]>([
    ['of another trust domain', listOf(foreign), /does not end at a trusted root|does not verify|signature/],
    [
      'of the root of another trust domain',
      listOf(makeAuthority('Root')),
      /has no authority key identifier$/,
    ],
    ['of a leaf', { ...listOf(issuing), issuer: leaf.certificate.der }, /is not an authority$/],
    [
      'with another issuer beside it',
      { ...listOf(root), issuer: issuing.certificate.der },
      /another issuer$/,
    ],
    ['with an issuer that cannot be read', { ...listOf(root), issuer: Buffer.from('30', 'hex') }, /./],
    ['that was cut', { ...listOf(issuing), der: listOf(issuing).der.subarray(0, -9) }, /ends early$/],
  ])('%s', (_, bad, message) => {
    const { lists, problems } = accept([bad, listOf(root, 4n)]);
    expect(problems).toEqual([expect.stringMatching(message)]);
    expect(lists.map(({ number }) => number)).toEqual([4n]);
  });
});

describe('I123 of lists of one issuer', () => {
  const { lists: held } = accept([listOf(issuing, 5n)]);

  test('an older one is refused, and the newer one stays', () => {
    const accepted = accept([listOf(issuing, 4n)], held);
    expect(accepted.problems).toEqual([expect.stringMatching(/has number 4, older than 5, which is held$/)]);
    expect(numbersOf(accepted)).toEqual([5n]);
  });

  test('a newer one takes the place', () => {
    expect(numbersOf(accept([listOf(issuing, 6n)], held))).toEqual([6n]);
  });

  test('one of a clock that was ahead does not keep those of the right time out', () => {
    const ahead = listOf(issuing, 9n, { thisUpdate: after(7200), nextUpdate: after(10_800) });
    const { lists } = accept([ahead], [], after(7201));
    expect(numbersOf(accept([listOf(issuing, 6n)], lists))).toEqual([6n]);
  });

  test('one that is not offered stays until its end', () => {
    expect(numbersOf(accept([], held))).toEqual([5n]);
    expect(numbersOf(accept([], held, after(3600)))).toEqual([]);
  });
});
