/**
 * Signed tokens of platforms (RFC 7515, 7519), read strictly. jose verifies the signature. This file checks the header,
 * the one audience, and times with their bounds: jose accepts several audiences, an expiry in ten years and a repeated
 * claim.
 */
import { asBuffer, equal, utf8 } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import { Claims } from './claims.ts';
import type { KeySet } from './jwks.ts';

/** Asymmetric only, so that a key that verifies cannot sign; no "none", and no RSA with SHA-1. */
export const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'ES256', 'ES384', 'EdDSA'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

export interface TokenRules {
  /** Exactly this, byte for byte. */
  readonly issuer: string;
  /** The only audience. */
  readonly audience: string;
  readonly algorithms: readonly Algorithm[];
  readonly keys: KeySet;
  /** From `iat` to `exp`. */
  readonly maxLifetimeSeconds: number;
}

const MAX_TOKEN_BYTES = 16 * 1024;
const SKEW_SECONDS = 30;
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;
/**
 * Tokens of GitHub, Azure, Keycloak and ADFS also name the key's certificate (RFC 7515, sections 4.1.6 to 4.1.8). These
 * members are ignored: the key comes from the issuer's set.
 */
const HEADER = new Set(['alg', 'kid', 'typ', 'x5t', 'x5t#S256', 'x5c']);

/**
 * The claims of a token that the rules' issuer signed for the rules' audience, good at `now`. Throws jwt_parse,
 * jwt_duplicate, jwt_header, jwt_alg, jwt_signature, issuer_unknown, jwt_aud, jwt_time, keys_unavailable.
 */
export async function verifyToken(token: Uint8Array, rules: TokenRules, now: Date): Promise<Claims> {
  const { header, payload, text } = cut(token);
  const { alg, kid } = readHeader(header, rules.algorithms);
  const key = await rules.keys.keyFor(kid, alg);
  await verifySignature(text, key, alg);
  const { iss } = payload;
  ensure(iss === rules.issuer, 'issuer_unknown', `iss is ${said(iss)}, expected ${rules.issuer}`);
  ensureAudience(payload['aud'], rules.audience);
  const { issuedAt, expiresAt } = timesOf(payload, rules.maxLifetimeSeconds, now);
  const { sub } = payload;
  ensure(typeof sub === 'string' && sub !== '', 'jwt_parse', `sub is ${said(sub)}, expected a string`);
  return new Claims(payload, { subject: sub, issuedAt, expiresAt });
}

/** The unverified claims, to choose an issuer by, never to decide by. Throws jwt_parse, jwt_duplicate. */
export const peekClaims = (token: Uint8Array): JsonObject => cut(token).payload;

function cut(token: Uint8Array) {
  ensure(
    token.length <= MAX_TOKEN_BYTES,
    'jwt_parse',
    `the token is ${token.length} bytes, at most ${MAX_TOKEN_BYTES} are read`,
  );
  const text = asBuffer(token).toString('latin1');
  ensure(COMPACT.test(text), 'jwt_parse', 'the token is not three base64url parts joined by dots');
  const [header = '', payload = '', signature = ''] = text.split('.');
  decode('signature', signature);
  return { text, header: objectOf('header', header), payload: objectOf('claims', payload) };
}

function objectOf(what: string, part: string): JsonObject {
  const limits = {
    code: 'jwt_parse',
    duplicate: 'jwt_duplicate',
    maxBytes: MAX_TOKEN_BYTES,
    maxDepth: 8,
  } as const;
  const value = parseJson(decode(what, part), limits);
  ensure(isJsonObject(value), 'jwt_parse', `the ${what} are not a JSON object`);
  return value;
}

/** Accepts one text per value (RFC 4648, section 3.5): no padding, and no dropped bits. */
function decode(what: string, part: string): Uint8Array {
  const bytes = Buffer.from(part, 'base64url');
  const same = equal(utf8(bytes.toString('base64url')), utf8(part));
  ensure(same, 'jwt_parse', `the ${what} are not canonical base64url`);
  return bytes;
}

/** `typ` is a media type (RFC 7519, section 5.1), so its case does not matter. */
function readHeader(
  header: JsonObject,
  algorithms: readonly Algorithm[],
): { alg: Algorithm; kid: string | undefined } {
  const strange = Object.keys(header).find((name) => !HEADER.has(name));
  ensure(strange === undefined, 'jwt_header', `the header has "${strange}", which is not read`);
  const { typ = 'JWT', kid } = header;
  ensure(
    typeof typ === 'string' && typ.toUpperCase() === 'JWT',
    'jwt_header',
    `typ is ${said(typ)}, expected JWT`,
  );
  const alg = algorithms.find((each) => each === header['alg']);
  ensure(alg !== undefined, 'jwt_alg', `alg is ${said(header['alg'])}, expected ${algorithms.join(' or ')}`);
  const named = kid === undefined || (typeof kid === 'string' && kid !== '');
  ensure(named, 'jwt_header', `kid is ${said(kid)}, expected a string`);
  return { alg, kid };
}

async function verifySignature(text: string, key: CryptoKey, alg: Algorithm): Promise<void> {
  const { compactVerify } = await import('jose');
  const verified = await compactVerify(text, key, { algorithms: [alg] }).then(
    () => true,
    () => false,
  );
  ensure(verified, 'jwt_signature', 'the signature does not verify');
}

/** Exactly our audience: a token with another audience beside it may come from there. */
function ensureAudience(aud: Json | undefined, expected: string): void {
  const [only, ...more] = Array.isArray(aud) ? (aud as readonly Json[]) : [aud];
  ensure(only === expected && more.length === 0, 'jwt_aud', `aud is ${said(aud)}, expected ${expected}`);
}

function timesOf(payload: JsonObject, maxLifetimeSeconds: number, now: Date) {
  const issuedAt = timeOf('iat', payload['iat']);
  const expiresAt = timeOf('exp', payload['exp']);
  const notBefore = payload['nbf'] === undefined ? issuedAt : timeOf('nbf', payload['nbf']);
  const soon = addSeconds(now, SKEW_SECONDS);
  ensure(issuedAt <= soon, 'jwt_time', `iat is ${issuedAt.toISOString()}, in the future`);
  ensure(notBefore <= soon, 'jwt_time', `nbf is ${notBefore.toISOString()}, in the future`);
  ensure(expiresAt > addSeconds(now, -SKEW_SECONDS), 'jwt_time', `it expired at ${expiresAt.toISOString()}`);
  const seconds = (expiresAt.getTime() - issuedAt.getTime()) / 1000;
  const lives = `it lives ${seconds} s, expected 1 to ${maxLifetimeSeconds}`;
  ensure(seconds > 0 && seconds <= maxLifetimeSeconds, 'jwt_time', lives);
  return { issuedAt, expiresAt };
}

/** The last second of the year 9999, beyond which ISO 8601 has no four digits. */
const LAST_SECOND = 253_402_300_799;

/** NumericDate (RFC 7519, section 2), whose fractions are cut off. */
function timeOf(name: string, value: Json | undefined): Date {
  const seconds = typeof value === 'number' ? Math.floor(value) : 0;
  const good = seconds > 0 && seconds <= LAST_SECOND;
  ensure(good, 'jwt_time', `${name} is ${said(value)}, expected seconds since 1970`);
  return new Date(seconds * 1000);
}

const said = (value: Json | undefined): string =>
  value === undefined ? 'missing' : JSON.stringify(value).slice(0, 200);
