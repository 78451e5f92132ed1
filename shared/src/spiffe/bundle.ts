/**
 * The bundle document (SPIFFE_Trust_Domain_and_Bundle.md §4): a JWK Set with the X.509 authorities of one
 * trust domain, and with the keys of its tokens.
 */
import { X509Certificate } from 'node:crypto';
import { ensureDer } from '../der/walk.ts';
import { base64 } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '../ground/json.ts';
import type { TrustDomain } from './id.ts';
import { type JwtAuthority, offeredJwk, readJwtAuthorities, writeJwk } from './jwt-authority.ts';

/** No authorities means that nothing is trusted. Bundles of different trust domains are never merged. */
export interface Bundle {
  readonly trustDomain: TrustDomain;
  /** X.509 DER. */
  readonly authorities: readonly Uint8Array[];
  /** They verify tokens, and nothing else. None where it is not set. */
  readonly jwtAuthorities?: readonly JwtAuthority[];
  /** Grows with every change; 0 when the document does not say. */
  readonly sequence: bigint;
}

const LIMITS = { code: 'bundle', maxBytes: 1024 * 1024, maxDepth: 8 } as const;
const MAX_SEQUENCE = 2n ** 64n - 1n;
const X509_USE = 'x509-svid';
const JWT_USE = 'jwt-svid';
/** §4.1.2: how often to look for a change; five minutes is what SPIRE says. */
export const REFRESH_HINT_SECONDS = 300;

/** `trustDomain` is the one that the document was asked for: it does not name it itself. Throws bundle. */
export function readBundle(bytes: Uint8Array, trustDomain: TrustDomain): Bundle {
  const document = parseJson(bytes, LIMITS);
  ensure(isJsonObject(document), 'bundle', 'bundle is not an object');
  const keys = document['keys'];
  ensure(isList(keys), 'bundle', 'bundle has no list of keys');
  const authorities = keys.flatMap(readKey);
  const jwtAuthorities = readJwtAuthorities(keys.flatMap(readJwtKey));
  const sequence = readSequence(document['spiffe_sequence']);
  return { trustDomain, authorities, sequence, ...(jwtAuthorities.length > 0 && { jwtAuthorities }) };
}

/**
 * §4.2: `kty` and `use` in every key; of X.509 one certificate in `x5c` and no `kid`, of tokens a `kid`. Authorities
 * are not checked again.
 */
export function writeBundle({ authorities, jwtAuthorities = [], sequence }: Bundle): string {
  const x509 = authorities.map((der) => ({
    ...new X509Certificate(der).publicKey.export({ format: 'jwk' }),
    use: X509_USE,
    x5c: [base64(der)],
  }));
  const keys = [...x509, ...jwtAuthorities.map((each) => writeJwk(each, JWT_USE))];
  // Written as text: a sequence is 64 bits and a number of JavaScript's is not.
  const hint = REFRESH_HINT_SECONDS;
  return `{"keys":${JSON.stringify(keys)},"spiffe_refresh_hint":${hint},"spiffe_sequence":${sequence}}`;
}

/** §4.2.2: a key without `kty` or of another use is ignored, and so is one without `x5c`. */
function readKey(key: Json): readonly Uint8Array[] {
  ensure(isJsonObject(key), 'bundle', 'a key is not an object');
  const { use, kty, x5c } = key as JsonObject & { use?: Json; kty?: Json; x5c?: Json };
  if (use !== X509_USE || typeof kty !== 'string' || x5c === undefined) return [];
  ensure(isList(x5c), 'bundle', 'x5c is not a list');
  // X509-SVID.md §6.2: there is one value; of more, all but the first are ignored.
  const [text] = x5c;
  ensure(typeof text === 'string', 'bundle', 'x5c has no certificate');
  const der = Buffer.from(text, 'base64');
  ensure(base64(der) === text, 'bundle', 'x5c is not base64');
  ensureDer(der, 'bundle', 'x5c');
  return [der];
}

/** JWT-SVID.md §6: as `readKey`, of the other use. */
function readJwtKey(key: Json): ReturnType<typeof offeredJwk> {
  ensure(isJsonObject(key), 'bundle', 'a key is not an object');
  return key['use'] === JWT_USE && typeof key['kty'] === 'string' ? offeredJwk(key) : [];
}

function readSequence(value: Json | undefined): bigint {
  if (value === undefined) return 0n;
  const text = typeof value === 'number' ? String(value) : exactText(value);
  ensure(/^\d+$/.test(text), 'bundle', 'spiffe_sequence is not a whole number');
  const sequence = BigInt(text);
  ensure(sequence <= MAX_SEQUENCE, 'bundle', 'spiffe_sequence is longer than 64 bits');
  return sequence;
}

/** A number that a double does not hold, as it was written. */
function exactText(value: Json): string {
  return typeof value === 'object' && value !== null && 'rawJSON' in value ? String(value.rawJSON) : '';
}

function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}
