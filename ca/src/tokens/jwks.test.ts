import { generateKeyPairSync } from 'node:crypto';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MovableClock } from '../../../test/kit/clock.ts';
import { startIssuer, type TestIssuer } from '../../../test/kit/oidc/issuer.ts';
import { publicJwk, signingKey } from '../../../test/kit/oidc/jws.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { type KeySet, type KeySource, keySetFrom } from './jwks.ts';

const outbound = openOutbound();
afterAll(() => outbound.close());

let clock: MovableClock;
let issuer: TestIssuer;
let keys: KeySet;
beforeEach(async () => {
  clock = new MovableClock();
  issuer = await startIssuer({ now: () => clock.now() });
  keys = made({ discover: issuer.url });
});
afterEach(() => issuer.close());

const made = (source: KeySource): KeySet => keySetFrom(source, { outbound, clock, log: silentLog });
const asked = (): number => issuer.served.received.filter(({ target }) => target === '/jwks').length;
const key = (kid = 'key-1') => keys.keyFor(kid, 'RS256');
const hour = 3600;

describe('an issuer’s keys', () => {
  test('are fetched once and kept', async () => {
    const first = await key();
    expect(await key()).toBe(first);
    expect(asked()).toBe(1);
  });

  test('are fetched once by many at the same time', async () => {
    await Promise.all(Array.from({ length: 20 }, () => key()));
    expect(asked()).toBe(1);
  });

  test('are looked at again after five minutes, without making anybody wait', async () => {
    await key();
    clock.move(301);
    issuer.served.spoil('hang');
    await key();
    await expect.poll(() => issuer.served.received.length).toBe(3);
  });

  test.each([601, hour, 23 * hour])(
    'C59 that were withdrawn %i s ago are not accepted once more',
    async (age) => {
      await key();
      issuer.publish({ keys: [publicJwk(signingKey('key-2'))] });
      clock.move(age);
      await expect(key()).rejects.toThrow(refusal('jwt_signature', /has no key "key-1"/));
    },
  );

  test('may be where the config says, without discovery', async () => {
    keys = made({ jwksUri: `${issuer.url}/jwks` });
    await key();
    expect(issuer.served.received.map(({ target }) => target)).toEqual(['/jwks']);
  });

  test('that are new are found at once', async () => {
    await key();
    const { kid } = issuer.rotate();
    clock.move(61);
    await key(kid);
    expect(asked()).toBe(2);
  });

  test('that the issuer has dropped are not good after the next look', async () => {
    await key();
    issuer.rotate(true);
    clock.move(61);
    await expect(key('another')).rejects.toThrow(refusal('jwt_signature', /has no key "another"/));
    await expect(key()).rejects.toThrow(refusal('jwt_signature', /has no key "key-1"/));
  });

  test('outlast the issuer’s outage by a day and no more', async () => {
    await key();
    issuer.served.spoil(() => ({ status: 500 }));
    clock.move(23 * hour);
    await key();
    clock.move(hour);
    await expect(key()).rejects.toThrow(refusal('keys_unavailable', /answered 500, expected 200/));
  });

  test('are there again when the issuer is', async () => {
    issuer.served.spoil(() => ({ status: 500 }));
    await expect(key()).rejects.toThrow(refusal('keys_unavailable', /answered 500/));
    issuer.served.spoil(undefined);
    await expect(key()).rejects.toThrow(refusal('keys_unavailable', /answered 500/));
    clock.move(61);
    await key();
  });
});

describe('I90 the clock is set back by two hours', () => {
  const seconds = 2 * hour;

  test('after a fetch that failed: the keys are fetched at once', async () => {
    issuer.served.spoil(() => ({ status: 500 }));
    await expect(key()).rejects.toThrow(refusal('keys_unavailable', /answered 500/));
    issuer.served.spoil(undefined);
    clock.move(-seconds);
    await key();
  });

  test('after keys were fetched: they are looked at again, and are good meanwhile', async () => {
    await key();
    clock.move(-seconds);
    await key();
    await expect.poll(asked).toBe(2);
  });

  test('after keys were fetched, and the issuer is away: they are good for a day by the new clock', async () => {
    await key();
    issuer.served.spoil(() => ({ status: 500 }));
    clock.move(-seconds);
    const before = issuer.served.received.length;
    await key();
    await expect.poll(() => issuer.served.received.length).toBeGreaterThan(before);
    clock.move(23 * hour);
    await key();
    clock.move(hour + 60);
    await expect(key()).rejects.toThrow(refusal('keys_unavailable', /answered 500/));
  });
});

test('C27 ten thousand unknown keys are one question in ten seconds', async () => {
  await key();
  for (let n = 0; n < 10_000; n += 1) await expect(key(`unknown-${n}`)).rejects.toThrow('has no key');
  expect(asked()).toBe(2);
  clock.move(11);
  await Promise.allSettled(Array.from({ length: 100 }, (_, n) => key(`unknown-${n}`)));
  expect(asked()).toBe(3);
});

describe('C52 a stranger with unknown keys', () => {
  test('does not spend the question that a new key needs', async () => {
    await key();
    await expect(key('unknown')).rejects.toThrow('has no key');
    const { kid } = issuer.rotate();
    // One name again and again leaves the next share to the others.
    clock.move(11);
    await expect(key('unknown')).rejects.toThrow('has no key');
    expect(asked()).toBe(2);
    await key(kid);
    expect(asked()).toBe(3);
  });

  test('in a flood, delays a new key by ten seconds at most', async () => {
    await key();
    const flood = async (from: number) => {
      for (let n = from; n < from + 100; n += 1) await key(`unknown-${n}`).catch(() => undefined);
    };
    await flood(0);
    const { kid } = issuer.rotate();
    await flood(100);
    await expect(key(kid)).rejects.toThrow('has no key');
    clock.move(11);
    await flood(200);
    await key(kid);
  });

  test('does not keep a set from being looked at again', async () => {
    await key();
    clock.move(595);
    await expect(key('unknown')).rejects.toThrow('has no key');
    clock.move(601);
    const before = asked();
    await key();
    await expect.poll(asked).toBe(before + 1);
  });
});

describe('C28 a set cannot be used', () => {
  const rsa = publicJwk(signingKey('a'));
  const other = publicJwk(signingKey('b'));
  const twice = (...algs: readonly (string | undefined)[]) => ({
    keys: [rsa, other].map((each, at) => ({ ...each, kid: 'a', alg: algs[at] })),
  });
  const weak = { kid: 'weak', kty: 'RSA', e: 'AQAB', n: Buffer.alloc(128, 0xff).toString('base64url') };
  const { privateKey } = signingKey('a');

  test.each<[string, unknown, RegExp]>([
    [
      'with a private key',
      { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'a' }] },
      /a private key \("d"\)/,
    ],
    ['with a shared key', { keys: [{ kty: 'oct', k: 'AAAA', kid: 'a' }] }, /a private key \("k"\)/],
    ['with two keys of one name', { keys: [rsa, { ...other, kid: 'a' }] }, /two keys "a" for RS256/],
    ['with two keys of one name and algorithm', twice('RS512', 'RS512'), /two keys "a" for RS512/],
    ['with two keys of one name, one for any', twice('RS512', undefined), /two keys "a" for RS512/],
    ['of too many keys', { keys: Array.from({ length: 65 }, () => ({})) }, /has 65 keys, at most 64/],
    ['that is not an object', [rsa], /an object with an array "keys"/],
    ['without keys', {}, /an object with an array "keys"/],
    ['whose key is a string', { keys: ['a'] }, /is not an object/],
  ])('%s', async (_, jwks, says) => {
    const bytes = utf8(JSON.stringify(jwks));
    expect(() => made({ jwks: bytes })).toThrow(refusal('config', says));
    issuer.publish(jwks as object);
    await expect(key('a')).rejects.toThrow(refusal('keys_unavailable', says));
  });

  test.each([
    ['too weak', weak],
    ['too large', { ...rsa, kid: 'weak', n: Buffer.alloc(1025, 0xff).toString('base64url') }],
    ['for encryption', { ...rsa, kid: 'weak', use: 'enc' }],
    ['C51 for operations without verify', { ...rsa, kid: 'weak', key_ops: ['wrapKey'] }],
    ['C51 for verify as a string', { ...rsa, kid: 'weak', key_ops: 'verify' }],
    ['C51 for no use at all', { ...rsa, kid: 'weak', use: null }],
    ['of a kind that nobody knows', { ...rsa, kid: 'weak', kty: 'PQC' }],
    ['without a modulus', { kid: 'weak', kty: 'RSA', e: 'AQAB' }],
    ['of a kind that has no text', { kid: 'weak', kty: { toString: 1 }, crv: 'P-256' }],
    ['of a curve that has no text', { kid: 'weak', kty: 'EC', crv: { toString: 1 } }],
  ])('a key that is %s is as if it were not there', async (_, jwk) => {
    keys = made({ jwks: utf8(JSON.stringify({ keys: [jwk, rsa] })) });
    await key('a');
    await expect(key('weak')).rejects.toThrow(refusal('jwt_signature', /has no key "weak"/));
  });

  test('C60 one key may be there for each of its algorithms, twice, and beside one of another kind', async () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const ec = { ...publicKey.export({ format: 'jwk' }), kid: 'a' };
    const each = ['RS256', 'RS384', 'RS384'].map((alg) => ({ ...rsa, alg }));
    keys = made({ jwks: utf8(JSON.stringify({ keys: [...each, ec] })) });
    for (const alg of ['RS256', 'RS384', 'ES256']) await keys.keyFor('a', alg);
    await expect(keys.keyFor('a', 'RS512')).rejects.toThrow(
      refusal('jwt_alg', /for RS256, RS384, RS384 \(RSA\) is not for RS512/),
    );
    keys = made({ jwks: utf8(JSON.stringify({ keys: each })) });
    await keys.keyFor(undefined, 'RS384');
  });

  test('a key for an algorithm that has no text is for none', async () => {
    keys = made({ jwks: utf8(`{"keys":[${JSON.stringify({ ...rsa, alg: 0 }).replace(':0', ':1e400')}]}`) });
    await expect(keys.keyFor('a', 'RS256')).rejects.toThrow(refusal('jwt_alg', /for 1e400 \(RSA\)/));
  });

  test('a key whose numbers are none is refused when it is used', async () => {
    keys = made({
      jwks: utf8(JSON.stringify({ keys: [{ kid: 'e', kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' }] })),
    });
    await expect(keys.keyFor('e', 'ES256')).rejects.toThrow(refusal('jwt_signature', /cannot be used/));
  });

  test.each<[string, Parameters<TestIssuer['served']['spoil']>[0], RegExp]>([
    [
      'that is 50 MB',
      (answer) => ({ ...answer, body: Buffer.alloc(50 * 1024 * 1024, 0x20) }),
      /longer than 262144/,
    ],
    ['that is a redirect', () => ({ status: 302, headers: { location: '/jwks' } }), /answered 302/],
    ['that is HTML', (answer) => ({ ...answer, body: '<html>' }), /a value is expected/],
    ['that is cut off', 'cut', /aborted|hang up/],
  ])('%s', async (_, how, says) => {
    issuer.served.spoil(how);
    await expect(key()).rejects.toThrow(refusal('keys_unavailable', says));
  });
});

describe('C33 discovery is refused', () => {
  const discovered = (document: object) =>
    issuer.served.spoil((answer, { target }) =>
      target.includes('.well-known') ? { ...answer, body: JSON.stringify(document) } : answer,
    );
  test.each<[string, (url: string) => object, RegExp]>([
    [
      'for another issuer',
      (url) => ({ issuer: `${url}.evil`, jwks_uri: `${url}/jwks` }),
      /is for issuer .*evil/,
    ],
    [
      'for the issuer with a slash',
      (url) => ({ issuer: `${url}/`, jwks_uri: `${url}/jwks` }),
      /is for issuer/,
    ],
    [
      'with its keys over http elsewhere',
      (url) => ({ issuer: url, jwks_uri: 'http://169.254.169.254/' }),
      /not https/,
    ],
    ['with its keys in a file', (url) => ({ issuer: url, jwks_uri: 'file:///etc/passwd' }), /not https/],
    ['without keys', (url) => ({ issuer: url }), /names no jwks_uri/],
    ['that is an array', () => [], /is not a JSON object/],
  ])('%s', async (_, document, says) => {
    discovered(document(issuer.url));
    await expect(key()).rejects.toThrow(refusal('keys_unavailable', says));
    expect(asked()).toBe(0);
  });
});
