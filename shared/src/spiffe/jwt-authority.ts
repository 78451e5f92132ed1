/** Public keys that verify tokens of a trust domain (JWT-SVID section 5, RFC 7517), each by its `kid`. */
import { createPublicKey } from 'node:crypto';
import { asBuffer, hex } from '../ground/bytes.ts';
import { ensure, refusalOf } from '../ground/errors.ts';
import type { Json, JsonObject } from '../ground/json.ts';

export interface JwtAuthority {
  /** The `kid` of the tokens. */
  readonly keyId: string;
  /** SubjectPublicKeyInfo, DER, on P-256 or P-384. */
  readonly spki: Uint8Array;
}

/** More than any rotation has; a reader refuses more. */
const MAX_AUTHORITIES = 16;
const KEY_ID = /^[\x21-\x7e]{1,64}$/;
/** RFC 7518 section 3.4: the algorithm of each curve. */
const ALGORITHMS: Readonly<Record<string, string>> = { 'P-256': 'ES256', 'P-384': 'ES384' };

/** A reader ignores what it cannot use: a key of another kind verifies nothing. */
interface Offered {
  readonly keyId: string;
  readonly publicKey: Uint8Array;
}

/** Those that this version can use. Throws bundle for too many, for a `kid` that is none, and for one twice. */
export function readJwtAuthorities(offered: readonly Offered[]): readonly JwtAuthority[] {
  ensure(offered.length <= MAX_AUTHORITIES, 'bundle', `bundle has ${offered.length} JWT keys`);
  const ids = new Set<string>();
  for (const { keyId } of offered) {
    ensure(
      KEY_ID.test(keyId),
      'bundle',
      'a JWT key of the bundle has no kid of 1 to 64 printable characters',
    );
    ensure(!ids.has(keyId), 'bundle', `bundle has two JWT keys with the kid ${keyId}`);
    ids.add(keyId);
  }
  return offered.flatMap(({ keyId, publicKey }) =>
    jwkOf(publicKey) === undefined ? [] : [{ keyId, spki: publicKey }],
  );
}

/** Of a JWK of a bundle; without a `kid` it is ignored. Throws bundle. */
export function offeredJwk(key: JsonObject): readonly Offered[] {
  const { kid, kty, crv, x, y } = key as JsonObject & Record<'kid' | 'kty' | 'crv' | 'x' | 'y', Json>;
  if (typeof kid !== 'string') return [];
  try {
    const jwk = { kty: String(kty), crv: String(crv), x: String(x), y: String(y) };
    return [{ keyId: kid, publicKey: createPublicKey({ key: jwk, format: 'jwk' }).export(SPKI) }];
  } catch (error) {
    if (kty !== 'EC') return [{ keyId: kid, publicKey: new Uint8Array() }];
    throw refusalOf(error, 'bundle', `the JWT key ${kid} is not a public key`);
  }
}
const SPKI = { format: 'der', type: 'spki' } as const;

/** The public members alone (RFC 7518 section 6.2.1), with `kid` and `use`. Throws internal for another curve. */
export function writeJwk(
  { keyId, spki }: JwtAuthority,
  use: 'jwt-svid' | 'sig',
): Readonly<Record<string, string>> {
  const jwk = jwkOf(spki);
  ensure(jwk !== undefined, 'internal', 'a JWT key is on P-256 or P-384');
  const { kty, crv, x, y, alg } = jwk;
  return { kty, kid: keyId, use, ...(use === 'sig' && { alg }), crv, x, y };
}

/** Undefined for what no token of ours is signed with. */
function jwkOf(spki: Uint8Array): Readonly<Record<'kty' | 'crv' | 'x' | 'y' | 'alg', string>> | undefined {
  try {
    const { crv, x, y } = createPublicKey({ key: asBuffer(spki), ...SPKI }).export({ format: 'jwk' });
    const alg = ALGORITHMS[crv ?? ''];
    if (crv === undefined || x === undefined || y === undefined || alg === undefined) return undefined;
    return { kty: 'EC', crv, x, y, alg };
  } catch {
    return undefined;
  }
}

/** Whether both have the same keys under the same names, in whatever order. */
export function isSameJwt(a: readonly JwtAuthority[] = [], b: readonly JwtAuthority[] = []): boolean {
  const [left, right] = [a, b].map((all) => all.map(({ keyId, spki }) => `${keyId} ${hex(spki)}`).toSorted());
  return left?.join() === right?.join();
}
