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
  ['of another use', { ...key, use: 'jwt-svid' }],
  ['without a use', { kty: 'EC', x5c: key.x5c }],
  ['without a kty', { use: key.use, x5c: key.x5c }],
  ['without x5c', { kty: 'EC', use: key.use }],
])('a key %s is ignored', (_, other) => {
  expect(authoritiesOf(other, key)).toEqual([der]);
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
