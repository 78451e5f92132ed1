/** C25 to C33: what every platform that signs tokens has in common, shown with an OpenID Connect issuer. */
import { OidcConfig } from '@chancery/ca/attestors/oidc/config.ts';
import { ALGORITHMS } from '@chancery/ca/tokens/jwt.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type JwsParts, publicJwk, signingKey, writeJws } from '../../kit/oidc/jws.ts';
import { attestToken, type OidcWorld, startOidcWorld } from '../../kit/oidc/world.ts';
import { type Expected, expectRefusal } from '../../kit/tpm/tpm-attestor.ts';

let world: OidcWorld;
beforeAll(async () => {
  world = await startOidcWorld();
});
afterAll(() => world.close());

const U = (code: Expected['code'], says: RegExp): Expected => ({ status: 'U', code, says });
const I = (code: Expected['code'], says: RegExp): Expected => ({ status: 'I', code, says });
const seconds = (): number => Math.floor(world.clock.now().getTime() / 1000);

/** A genuine token with these changes. */
const attempt = (claims: object, parts?: JwsParts, config?: object) =>
  attestToken(world, world.oidc(config), {
    token: (aud) => world.issuer.token({ aud, ...claims }, parts),
  });

test('a genuine token is accepted, as a string or as the only one of a list of audiences', async () => {
  expect(await attempt({})).toEqual({ node: 'job', attributes: { subject: 'job' }, exclusive: false });
  const listed = attestToken(world, world.oidc(), { token: (aud) => world.issuer.token({ aud: [aud] }) });
  expect(await listed).toMatchObject({ node: 'job' });
});

test.each(['ES256', 'ES384'] as const)(
  'a token may be signed with %s where the config says so',
  async (algorithm) => {
    const other = await startOidcWorld({ algorithm });
    const token = (aud: string) => other.issuer.token({ aud });
    try {
      await attestToken(other, other.oidc({ algorithms: [algorithm] }), { token });
      const unasked = attestToken(other, other.oidc(), { token });
      await expectRefusal(unasked, U('jwt_alg', new RegExp(`alg is "${algorithm}", expected RS256`)));
    } finally {
      await other.close();
    }
  },
);

describe('C25 the algorithm', () => {
  test.each<[string, JwsParts]>([
    ['none', { header: { alg: 'none' } }],
    ['HS256 with the public key', { header: { alg: 'HS256' } }],
    ['missing', { header: { alg: undefined } }],
    ['in lower case', { header: { alg: 'rs256' } }],
    ['RSA with SHA-1', { header: { alg: 'RS1' } }],
  ])('%s is refused', async (name, parts) => {
    const expected =
      name === 'none' ? I('jwt_parse', /three base64url parts/) : U('jwt_alg', /alg is .*, expected RS256/);
    await expectRefusal(attempt({}, parts), expected);
  });

  test('none is refused with a signature too', async () => {
    const token = (aud: string) => `${world.issuer.token({ aud }, { header: { alg: 'none' } })}AAAA`;
    await expectRefusal(attestToken(world, world.oidc(), { token }), U('jwt_alg', /alg is "none"/));
  });

  test.each(ALGORITHMS.filter((name) => !name.startsWith('RS') && name !== 'PS256'))(
    '%s with an RSA key is refused, where the config lets it',
    async (alg) => {
      const expected = U('jwt_alg', new RegExp(`a key for .* is not for ${alg}`));
      await expectRefusal(attempt({}, { header: { alg } }, { algorithms: [alg] }), expected);
    },
  );

  test.each(['none', 'HS256', 'RS1'])('a config with %s is refused', (alg) => {
    expect(OidcConfig.safeParse({ claims: { sub: ['a'] }, algorithms: [alg] }).success).toBe(false);
  });
});

describe('what real issuers write is read', () => {
  const tolerated = { 'x5t#S256': 'a', x5t: 'b', x5c: ['MIIB'], typ: 'jwt' };
  test.each(Object.entries(tolerated))('with %s in the header', async (name, value) => {
    expect(await attempt({}, { header: { [name]: value } })).toMatchObject({ node: 'job' });
  });

  test('with fractions of a second, which are cut off', async () => {
    const [iat, exp] = [seconds() - 1.5, seconds() - 28.5];
    expect(await attempt({ iat: iat - 60, nbf: iat, exp })).toMatchObject({ node: 'job' });
    await expectRefusal(attempt({ iat: iat - 60, exp: seconds() - 29.5 }), U('jwt_time', /it expired/));
  });

  test('without kid, where the issuer has one key, named or not', async () => {
    const { issuer } = world;
    const nameless = { header: { kid: undefined } };
    expect(await attempt({}, nameless)).toMatchObject({ node: 'job' });
    const [one, two] = [publicJwk(issuer.key), publicJwk(signingKey('two'))];
    const configOf = (keys: object[]) => {
      world.files.set('jwks.json', JSON.stringify({ keys }));
      return { jwks: 'jwks.json' };
    };
    const { kid: _, ...bare } = one;
    expect(await attempt({}, nameless, configOf([bare]))).toMatchObject({ node: 'job' });
    await expectRefusal(
      attempt({}, nameless, configOf([one, two])),
      U('jwt_header', /has no kid, which it needs unless the issuer has exactly one key/),
    );
  });

  test('C50 and a key in the header is never used', async () => {
    const stranger = signingKey('key-1');
    const x5c = [stranger.publicKey.export({ format: 'der', type: 'spki' }).toString('base64')];
    const token = (aud: string) => {
      const [, payload = ''] = world.issuer.token({ aud }).split('.');
      const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
      return writeJws(claims, stranger, { header: { x5c, 'x5t#S256': 'x' } });
    };
    await expectRefusal(attestToken(world, world.oidc(), { token }), U('jwt_signature', /does not verify/));
  });
});

describe('C26 the header', () => {
  const anything = {
    jku: 'https://evil.example/jwks',
    x5u: 'https://evil.example/x',
    b64: false,
    zip: 'DEF',
  };
  const more = { jwk: { kty: 'RSA' }, crit: ['exp'], cty: 'JWT' };
  test.each(Object.entries({ ...anything, ...more }))('with %s is refused', async (name, value) => {
    const expected = U('jwt_header', new RegExp(`the header has "${name}", which is not read`));
    await expectRefusal(attempt({}, { header: { [name]: value } }), expected);
    expect(world.issuer.served.received.map(({ target }) => target)).not.toContain('/x');
  });

  test.each<[string, object, RegExp]>([
    ['another type', { typ: 'at+jwt' }, /typ is "at\+jwt", expected JWT/],
    ['an empty key', { kid: '' }, /kid is ""/],
    ['a key that is not a string', { kid: 1 }, /kid is 1/],
  ])('with %s is refused', async (_, header, says) => {
    await expectRefusal(attempt({}, { header: { ...header } }), U('jwt_header', says));
  });

  test('with a thumbprint or without a type is read', async () => {
    await attempt({}, { header: { x5t: 'aGk', typ: undefined } });
  });
});

test('C27 an unknown key is refused, and so is another key under a known name', async () => {
  await expectRefusal(attempt({}, { header: { kid: 'x' } }), U('jwt_signature', /has no key "x"/));
  const stranger = signingKey('key-1');
  const iat = seconds();
  const token = (aud: string) =>
    writeJws({ iss: world.issuer.url, sub: 'job', aud, iat, exp: iat + 60 }, stranger);
  const refused = attestToken(world, world.oidc(), { token });
  await expectRefusal(refused, U('jwt_signature', /does not verify/));
});

test('a changed claim is refused', async () => {
  const token = (aud: string) => {
    const [header, , signature] = world.issuer.token({ aud }).split('.');
    const claims = Buffer.from(JSON.stringify({ aud, iss: world.issuer.url, sub: 'other' })).toString(
      'base64url',
    );
    return `${header}.${claims}.${signature}`;
  };
  const refused = attestToken(world, world.oidc(), { token });
  await expectRefusal(refused, U('jwt_signature', /does not verify/));
});

describe('C29 the audience', () => {
  test.each<[string, (aud: string) => unknown]>([
    ['ours among others', (aud) => [aud, 'https://other.example']],
    ['ours twice', (aud) => [aud, aud]],
    ['none', () => undefined],
    ['an empty list', () => []],
    ['a list in a list', (aud) => [[aud]]],
    ['with ours inside', (aud) => `${aud}x`],
    ['in capitals', (aud) => aud.toUpperCase()],
    ['of another trust domain', (aud) => aud.replace('test.example', 'prod.example')],
    ['of the trust domain without the binding', () => 'chancery://test.example'],
    ['null', () => null],
  ])('%s is refused', async (_, audience) => {
    const token = (aud: string) => world.issuer.token({ aud: audience(aud) });
    const refused = attestToken(world, world.oidc(), { token });
    await expectRefusal(refused, U('jwt_aud', /^aud is .*, expected chancery:\/\/test\.example\//));
  });
});

describe('C30 the times', () => {
  const hour = 3600;
  test.each<[string, () => object, RegExp]>([
    ['without an end', () => ({ exp: undefined }), /exp is missing/],
    ['without a beginning', () => ({ iat: undefined }), /iat is missing/],
    [
      'that ends in ten years',
      () => ({ exp: seconds() + 87_600 * hour }),
      /it lives \d+ s, expected 1 to 3600/,
    ],
    [
      'that lives a second too long',
      () => ({ iat: seconds(), exp: seconds() + hour + 1 }),
      /it lives 3601 s/,
    ],
    ['that ends where it begins', () => ({ iat: seconds(), exp: seconds() }), /it lives 0 s/],
    [
      'that begins in the future',
      () => ({ iat: seconds() + 32, exp: seconds() + 90 }),
      /iat is .* in the future/,
    ],
    ['that is not good yet', () => ({ nbf: seconds() + 32 }), /nbf is .* in the future/],
    ['that has ended', () => ({ iat: seconds() - 90, exp: seconds() - 31 }), /it expired at/],
    ['with times as strings', () => ({ exp: String(seconds() + 60) }), /exp is "\d+", expected seconds/],
    ['with a time below one second', () => ({ iat: 0.5 }), /iat is 0.5/],
    ['with a negative time', () => ({ iat: -1 }), /iat is -1/],
    ['with a time beyond all years', () => ({ exp: 1e15 }), /exp is 1000000000000000/],
    ['with null', () => ({ nbf: null }), /nbf is null/],
  ])('a token %s is refused', async (_, claims, says) => {
    await expectRefusal(attempt(claims()), U('jwt_time', says));
  });

  test('NaN is not JSON', async () => {
    const token = (aud: string) => world.issuer.token({ aud }, { claimsText: '{"exp":NaN}' });
    await expectRefusal(attestToken(world, world.oidc(), { token }), I('jwt_parse', /value is expected/));
  });

  test('clocks may differ by half a minute', async () => {
    await attempt({ iat: seconds() + 28, nbf: seconds() + 28, exp: seconds() + 90 });
    await attempt({ iat: seconds() - 90, exp: seconds() - 28 });
  });
});

describe('C31 claims twice', () => {
  test.each(['sub', 'aud', 'iss'])('%s', async (name) => {
    const claimsText = `{"${name}":"a","x":1,"${name}":"b"}`;
    await expectRefusal(attempt({}, { claimsText }), I('jwt_duplicate', /the same key twice/));
  });
  test('in the header', async () => {
    const headerText = '{"alg":"RS256","alg":"none","kid":"key-1"}';
    await expectRefusal(attempt({}, { headerText }), I('jwt_duplicate', /the same key twice/));
  });
});

describe('C32 the encoding', () => {
  test.each<[string, (token: string) => string, RegExp]>([
    ['of 17 KiB', () => 'a'.repeat(17 * 1024), /17408 bytes, at most 16384/],
    ['of four parts', (token) => `${token}.AAAA`, /three base64url parts/],
    ['of two parts', (token) => token.split('.').slice(0, 2).join('.'), /three base64url parts/],
    ['with padding', (token) => `${token}=`, /three base64url parts/],
    ['with a line break', (token) => `${token}\n`, /three base64url parts/],
    ['with a NUL', (token) => `${token}\0`, /three base64url parts/],
    ['with a plus', (token) => `+${token}`, /three base64url parts/],
    [
      'with bits that are dropped',
      (token) => `${token.slice(0, -1)}${next(token.at(-1))}`,
      /signature are not canonical/,
    ],
    ['that is empty', () => '', /three base64url parts/],
    ['whose claims are a list', (token) => replaced(token, '[]'), /claims are not a JSON object/],
    ['whose claims are not UTF-8', (token) => replaced(token, Buffer.from([0x22, 0xff, 0x22])), /not UTF-8/],
    [
      'whose claims nest too deep',
      (token) => replaced(token, `${'{"a":'.repeat(9)}1${'}'.repeat(9)}`),
      /nested more/,
    ],
  ])('a token %s is refused', async (_, spoil, says) => {
    const token = (aud: string) => spoil(world.issuer.token({ aud }));
    await expectRefusal(attestToken(world, world.oidc(), { token }), I('jwt_parse', says));
  });

  test('a token where none was asked for is refused', async () => {
    const refused = attestToken(world, world.oidc(), { opening: 'x', token: 'x' });
    await expectRefusal(refused, I('evidence_parse', /sent when it is asked for/));
  });

  /** The last character of an RSA-2048 signature has two bits that mean nothing. */
  const next = (character = 'A'): string => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    return alphabet[alphabet.indexOf(character) ^ 1] ?? '';
  };
  const replaced = (token: string, claims: string | Buffer): string => {
    const [header, , signature] = token.split('.');
    return `${header}.${Buffer.from(claims).toString('base64url')}.${signature}`;
  };
});

describe('C33 the issuer', () => {
  test.each<[string, (url: string) => unknown]>([
    ['with a slash', (url) => `${url}/`],
    ['over https', (url) => url.replace('http:', 'https:')],
    ['in capitals', (url) => url.toUpperCase()],
    ['missing', () => undefined],
    ['a list', (url) => [url]],
  ])('%s is refused', async (_, iss) => {
    const expected = U('issuer_unknown', /^iss is .*, expected http:/);
    await expectRefusal(attempt({ iss: iss(world.issuer.url) }), expected);
  });

  test.each([
    'http://issuer.example',
    'ftp://127.0.0.1',
    'issuer.example',
    'https://user@issuer.example',
    'https://a b',
  ])('a config with %s is refused', (issuer) => {
    const read = OidcConfig.safeParse({ issuer, claims: { sub: ['a'] } });
    expect(JSON.stringify(read.error?.issues)).toContain('cannot be called: write an https address');
  });
});

test.each<[string, object, RegExp]>([
  ['missing', { sub: undefined }, /sub is missing/],
  ['empty', { sub: '' }, /sub is ""/],
  ['a number', { sub: 7 }, /sub is 7/],
])('a subject that is %s is refused', async (_, claims, says) => {
  await expectRefusal(attempt(claims), I('jwt_parse', says));
});
