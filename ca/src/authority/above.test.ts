import { expect, test } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { lackingAbove, saysLacking } from './above.ts';

const root = {
  ...({ serial: '40bb', kind: 'root', state: 'active', taintedAt: undefined } as const),
  ...{ key: { home: 'file', reference: 'x' }, notAfter: NOW },
};

test('nobody lacks a chain where there never was one', () => {
  expect(saysLacking([root], NOW)).toEqual([]);
});

test('I251 a chain that a restore has lost is named, also where no other root has one', () => {
  const lost = { ...root, crossLost: 7n };
  expect(lackingAbove([lost], NOW)).toEqual([lost]);
  expect(saysLacking([lost], NOW)).toEqual([
    expect.stringMatching(
      /^root 40bb lacks its chain .* backup .*: import it again, chancery-ca authorities import CHAIN$/,
    ),
  ]);
});
