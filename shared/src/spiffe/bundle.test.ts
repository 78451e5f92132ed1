import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { makeAuthority } from '../../../test/kit/certificates.ts';
import { base64, utf8 } from '../ground/bytes.ts';
import { readBundle, writeBundle } from './bundle.ts';
import { parseTrustDomain } from './id.ts';

const trustDomain = parseTrustDomain('prod.example');
const { der } = makeAuthority('Root').certificate;
const key = { kty: 'EC', use: 'x509-svid', x5c: [base64(der)] };
const read = (text: string) => readBundle(utf8(text), trustDomain);
const authoritiesOf = (...keys: readonly unknown[]) => read(JSON.stringify({ keys })).authorities;

test('a bundle is read as it was written', () => {
  const bundle = {
    trustDomain,
    authorities: [der, makeAuthority('Next').certificate.der],
    sequence: 2n ** 64n - 1n,
  };
  expect(read(writeBundle(bundle))).toEqual(bundle);
});

test('a written key is a JWK with its parameters', () => {
  const { keys } = JSON.parse(writeBundle({ trustDomain, authorities: [der], sequence: 7n }));
  expect(keys).toEqual([{ ...key, crv: 'P-256', x: expect.any(String), y: expect.any(String) }]);
});

test('of two values in x5c the first counts, as X509-SVID section 6.2 has it', () => {
  const key = { kty: 'EC', use: 'x509-svid', x5c: [base64(der), 'anything'] };
  expect(read(JSON.stringify({ keys: [key] })).authorities).toEqual([der]);
});

test('a written bundle says how often to look for a change', () => {
  const written = writeBundle({ trustDomain, authorities: [der], sequence: 7n });
  expect(JSON.parse(written)).toMatchObject({ spiffe_refresh_hint: 300, spiffe_sequence: 7 });
});

test('an empty bundle trusts nothing, and a sequence that is not there is 0', () => {
  expect(read('{"keys":[]}')).toEqual({ trustDomain, authorities: [], sequence: 0n });
});

test.each([
  ['of another use', { ...key, use: 'wit-svid' }],
  ['without a use', { kty: 'EC', x5c: key.x5c }],
  ['without a kty', { use: key.use, x5c: key.x5c }],
  ['without x5c', { kty: 'EC', use: key.use }],
])('a key %s is ignored', (_, other) => {
  expect(authoritiesOf(other, key)).toEqual([der]);
});

const jwtOf = (keyId: string, curve = 'P-256') => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: curve });
  return { keyId, spki: publicKey.export({ format: 'der', type: 'spki' }) };
};

test('keys of tokens are read as they were written, and have no private member', () => {
  const jwtAuthorities = [jwtOf('40aa'), jwtOf('40bb', 'P-384')];
  const text = writeBundle({ trustDomain, authorities: [der], jwtAuthorities, sequence: 7n });
  expect(read(text)).toEqual({ trustDomain, authorities: [der], jwtAuthorities, sequence: 7n });
  const members = {
    kid: '40aa',
    use: 'jwt-svid',
    crv: 'P-256',
    x: expect.any(String),
    y: expect.any(String),
  };
  expect(JSON.parse(text).keys[1]).toEqual({ kty: 'EC', ...members });
});

test('keys of another use, or without a kind, verify no tokens', () => {
  const jwtAuthorities = ['40aa', '40bb', '40cc', '40dd'].map((kid) => jwtOf(kid));
  const { keys } = JSON.parse(writeBundle({ trustDomain, authorities: [], jwtAuthorities, sequence: 1n }));
  const [good, other, none, untyped] = keys;
  const all = [
    good,
    { ...other, use: 'sig' },
    { ...none, use: undefined },
    { ...untyped, kty: undefined, kid: '40aa' },
  ];
  expect(read(JSON.stringify({ keys: all })).jwtAuthorities?.map(({ keyId }) => keyId)).toEqual(['40aa']);
});

test('keys of tokens on another curve, of another kind or without a kid are ignored', () => {
  const { keys } = JSON.parse(
    writeBundle({ trustDomain, authorities: [], jwtAuthorities: [jwtOf('40aa')], sequence: 1n }),
  );
  const others = [
    { kty: 'RSA', n: 'AQ', e: 'AQAB', kid: 'rsa', use: 'jwt-svid' },
    { ...keys[0], kid: undefined },
    { ...generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey.export({ format: 'jwk' }), kid: '521' },
  ].map((each) => ({ ...each, use: 'jwt-svid' }));
  const { jwtAuthorities } = read(JSON.stringify({ keys: [...others, ...keys] }));
  expect(jwtAuthorities?.map(({ keyId }) => keyId)).toEqual(['40aa']);
});

describe('refuses keys of tokens', () => {
  const [good] = JSON.parse(
    writeBundle({ trustDomain, authorities: [], jwtAuthorities: [jwtOf('40aa')], sequence: 1n }),
  ).keys;
  test.each([
    ['with a kid of a blank', [{ ...good, kid: 'a b' }], /no kid of 1 to 64 printable characters$/],
    ['with one kid twice', [good, good], /^bundle has two JWT keys with the kid 40aa$/],
    ['off the curve', [{ ...good, x: good.y, y: good.x }], /^the JWT key 40aa is not a public key/],
    ['beyond number', Array.from({ length: 17 }, (_, n) => ({ ...good, kid: `${n}` })), /^bundle has 17 JWT/],
  ])('%s', (_, keys, message) => {
    expect(() => read(JSON.stringify({ keys }))).toThrow(
      expect.objectContaining({ code: 'bundle', message: expect.stringMatching(message) }),
    );
  });
});

describe('refuses', () => {
  const withKey = (changed: object) => JSON.stringify({ keys: [{ ...key, ...changed }] });
  test.each([
    ['what is not JSON', '{', /./],
    ['a list', '[]', /not an object/],
    ['no keys', '{}', /no list of keys/],
    ['keys that are no list', '{"keys":{}}', /no list of keys/],
    ['keys twice', '{"keys":[],"keys":[]}', /./],
    ['a key that is not an object', '{"keys":[1]}', /a key is not an object/],
    ['x5c that is not a list', withKey({ x5c: base64(der) }), /x5c is not a list/],
    ['x5c with nothing in it', withKey({ x5c: [] }), /x5c has no certificate/],
    ['x5c in base64url', withKey({ x5c: [Buffer.from(der).toString('base64url')] }), /not base64/],
    ['x5c that is no DER', withKey({ x5c: ['AAAA'] }), /x5c has/],
    ['a sequence with a fraction', '{"keys":[],"spiffe_sequence":1.5}', /not a whole number/],
    ['a negative sequence', '{"keys":[],"spiffe_sequence":-1}', /not a whole number/],
    ['a sequence as text', '{"keys":[],"spiffe_sequence":"1"}', /not a whole number/],
    ['a sequence of 65 bits', '{"keys":[],"spiffe_sequence":18446744073709551616}', /longer than 64 bits/],
    ['two megabytes', `{"keys":[],"x":"${'x'.repeat(2 ** 20)}"}`, /at most 1048576/],
  ])('%s', (_, text, message) => {
    expect(() => read(text)).toThrow(
      expect.objectContaining({ code: 'bundle', message: expect.stringMatching(message) }),
    );
  });
});
