/** What is above a root: the CA's own root, names of the chain's own certificates, and work that is bounded. */
import { expect, test } from 'vitest';
import { corporate, corporateRoot, crossOf, directoryConstraint } from '../../../../test/kit/ca/above.ts';
import { extension, makeAuthority, NOW } from '../../../../test/kit/certificates.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import * as der from '../../der/write.ts';
import { utf8 } from '../../ground/bytes.ts';
import { commonName } from '../compose/tbs.ts';
import * as x509 from '../extensions.ts';
import { NAME } from '../names.ts';
import { isSelfSigned, verifyCross } from './cross.ts';

const root = makeAuthority('Ours').certificate;
const plain = { root, names: [], now: NOW, code: 'chain' } as const;

test.each<[string, Readonly<Record<string, Uint8Array | undefined>>, RegExp]>([
  ['of no CA', { constraints: x509.basicConstraints() }, /an issuer is not an authority$/],
  [
    'with basic constraints that are not critical',
    { constraints: extension(x509.OID.basicConstraints, false, der.sequence(der.boolean(true))) },
    /are not critical$/,
  ],
  ['without basic constraints', { constraints: undefined }, /has no basic constraints$/],
  ['that may not sign', { usage: x509.keyUsage(x509.KEY_USAGE.crlSign) }, /may not sign certificates$/],
  ['without a key identifier', { keyId: undefined }, /has no subject key identifier$/],
  [
    'with an unknown critical extension',
    { odd: extension('1.2.3.4', true, Buffer.alloc(1)) },
    /not processed$/,
  ],
])('I263 a root above %s is refused', (_, extensions, says) => {
  const verify = (changes: typeof extensions) => {
    const top = makeAuthority('Top', undefined, { extensions: changes });
    const mid = makeAuthority('Between', top);
    const chain = [crossOf(root, mid), mid.certificate];
    verifyCross({ ...plain, chain, rootAbove: top.certificate });
  };
  expect(() => verify({})).not.toThrow();
  expect(() => verify(extensions)).toThrow(refusal('chain', /^the root above: /));
  // The root of a CA that is old cannot be changed, and without it the import goes on.
  const whole = new RegExp(
    `${says.source.slice(0, -1)}; leave it out of the file, and --root: then the last link is`,
  );
  expect(() => verify(extensions)).toThrow(refusal('chain', whole));
});

test('I283 the certificate of a CA above that has a new key does not count in the path lengths above it', () => {
  const verify = (pathLength: number) => {
    const old = makeAuthority('Top', undefined, {
      extensions: { constraints: x509.basicConstraints({ pathLength }) },
    });
    const rollover = makeAuthority('Top', old);
    const mid = makeAuthority('Between', rollover);
    const chain = [crossOf(root, mid), mid.certificate, rollover.certificate];
    verifyCross({ ...plain, chain, rootAbove: old.certificate });
  };
  expect(() => verify(3)).not.toThrow();
  const says =
    /^the root above: its path length is 2, and 3 intermediates are below it: at least 3 is needed$/;
  expect(() => verify(2)).toThrow(refusal('chain', says));
});

test('I264 a chain whose own certificates are outside the name constraints above them is refused', () => {
  const verify = (permitted: string) => {
    const names = directoryConstraint(commonName(permitted));
    const mid = makeAuthority('Between', corporateRoot, { extensions: { names } });
    verifyCross({
      ...plain,
      chain: [crossOf(root, mid), mid.certificate],
      rootAbove: corporateRoot.certificate,
    });
  };
  expect(() => verify('Ours')).not.toThrow();
  const says = /^certificate 2 .*: its name constraints do not permit a certificate of the chain below it: /;
  expect(() => verify('Theirs')).toThrow(refusal('chain', says));
});

test('I265 a chain that costs more than 250,000 comparisons of names is refused before the first', () => {
  const subtree = der.sequence(der.implicit(NAME.dns, utf8('a')));
  const many = der.sequence(der.explicit(0, ...Array.from({ length: 1000 }, () => subtree)));
  const names = extension(x509.OID.nameConstraints, true, many);
  const mid = makeAuthority('Between', corporateRoot, { extensions: { names } });
  const verify = (count: number, value: string) => {
    const below = { name: { kind: NAME.dns, value: utf8(value) }, says: value };
    const chain = [crossOf(root, mid), mid.certificate];
    verifyCross({ ...plain, chain, names: Array.from({ length: count }, () => below) });
  };
  // The subject of the cross-certificate is one more.
  expect(() => verify(249, 'a')).not.toThrow();
  expect(() => verify(250, 'b')).toThrow(
    refusal('chain', /names and constraints make more than 250000 pairs$/),
  );
});

test('a certificate of its own name that another key of that name has signed is no root', () => {
  const { certificate } = makeAuthority('Corporate root', corporateRoot);
  expect(certificate.subject).toEqual(certificate.issuer);
  expect(isSelfSigned(certificate)).toBe(false);
  const next = makeAuthority('Corporate root', corporateRoot);
  const chain = [crossOf(root, next), next.certificate];
  expect(() => verifyCross({ ...plain, chain, rootAbove: corporateRoot.certificate })).not.toThrow();
  expect(() => verifyCross({ ...plain, chain, rootAbove: corporate.certificate })).toThrow(
    refusal('chain', /differ$/),
  );
});
