import { expect, test } from 'vitest';
import { corporate, corporateRoot, crossOf } from '../../../../test/kit/ca/above.ts';
import { makeAuthority, NOW } from '../../../../test/kit/certificates.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { keyIdentifierOf, subjectKeyIdentifier } from '../extensions.ts';
import { endOfChain, isSelfSigned, verifyCross } from './cross.ts';

const root = makeAuthority('Ours').certificate;
const genuine = { root, rootAbove: corporateRoot.certificate, names: [], now: NOW, code: 'chain' } as const;

test('a chain for another key under the name and the key identifier of the root is refused', () => {
  const { spki } = makeAuthority('Other').certificate;
  const keyId = subjectKeyIdentifier(keyIdentifierOf(root.spki, 'der'));
  const other = crossOf(root, corporate, { fields: { spki }, extensions: { keyId } });
  const verify = (cross: typeof other) => verifyCross({ ...genuine, chain: [cross, corporate.certificate] });
  expect(() => verify(crossOf(root))).not.toThrow();
  expect(() => verify(other)).toThrow(refusal('chain', /of another key than that of the root$/));
});

test('an empty chain is refused', () => {
  expect(() => verifyCross({ ...genuine, chain: [] })).toThrow(refusal('chain', /no cross-certificate$/));
});

test('a chain ends with the first of its certificates, and a root is its own issuer', () => {
  expect(endOfChain([root.der, corporate.certificate.der])).toEqual(root.notAfter);
  expect([root, corporateRoot.certificate, corporate.certificate, crossOf(root)].map(isSelfSigned)).toEqual([
    true,
    true,
    false,
    false,
  ]);
});
