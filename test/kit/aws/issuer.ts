/** One account's issuer of web identity tokens: its keys, its discovery document, and the tokens it signs. */
import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import { faultOf } from '../http/form.ts';
import type { Answer, Received } from '../http/served.ts';

export type Algorithm = 'RS256' | 'ES384';

export interface Issuer {
  readonly url: string;
  readonly keys: Readonly<
    Record<Algorithm, { readonly publicKey: KeyObject; readonly privateKey: KeyObject }>
  >;
}

/** The names that STS itself gives its keys. */
const KIDS = { RS256: 'RSA_0', ES384: 'EC384_0' } as const;

export const makeIssuer = (url: string): Issuer => ({
  url,
  keys: {
    RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  },
});

/** With just the members that STS's own set has: its RSA key names no algorithm. */
export const jwksOf = ({ keys }: Issuer) => ({
  keys: [
    { ...keys.RS256.publicKey.export({ format: 'jwk' }), kid: KIDS.RS256, use: 'sig' },
    { ...keys.ES384.publicKey.export({ format: 'jwk' }), kid: KIDS.ES384, use: 'sig', alg: 'ES384' },
  ],
});

/** What `url` and below answers; 404 for the rest. */
export function answerAsIssuer(issuer: Issuer, received: Received): Answer {
  const { target } = received;
  const path = new URL(issuer.url).pathname.replace(/\/$/, '');
  const fault = faultOf(received, { produces: 'application/json' });
  if (fault !== undefined) return { status: fault.status, body: fault.says };
  if (target === `${path}/.well-known/openid-configuration`) return json(discoveryOf(issuer));
  if (target === `${path}/.well-known/jwks.json`) return json(jwksOf(issuer));
  return { status: 404 };
}

const discoveryOf = ({ url }: Issuer) => ({
  claims_supported: ['sub', 'iss', 'aud', 'exp', 'iat', 'jti', 'https://sts.amazonaws.com/'],
  id_token_signing_alg_values_supported: ['RS256', 'ES384'],
  issuer: url,
  jwks_uri: `${url}/.well-known/jwks.json`,
  subject_types_supported: ['public'],
});

const json = (value: object): Answer => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(value),
});

export interface TokenRequest {
  readonly audience: readonly string[];
  readonly subject: string;
  readonly algorithm: Algorithm;
  readonly issuedAt: Date;
  readonly seconds: number;
  /** Under `https://sts.amazonaws.com/`. */
  readonly aws: object;
}

/** `changes` replace claims, so that a test can spoil one; undefined drops it. */
export function mintToken(issuer: Issuer, request: TokenRequest, changes: object = {}): string {
  const { audience, subject, algorithm, issuedAt, seconds, aws } = request;
  const iat = Math.floor(issuedAt.getTime() / 1000);
  const claims = {
    aud: audience.length === 1 ? audience[0] : audience,
    sub: subject,
    'https://sts.amazonaws.com/': aws,
    iss: issuer.url,
    exp: iat + seconds,
    iat,
    jti: randomUUID(),
    ...changes,
  };
  const input = [{ kid: KIDS[algorithm], typ: 'JWT', alg: algorithm }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  const { privateKey } = issuer.keys[algorithm];
  const signed =
    algorithm === 'RS256'
      ? sign('sha256', Buffer.from(input), privateKey)
      : sign('sha384', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signed.toString('base64url')}`;
}
