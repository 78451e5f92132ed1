/** One JWK set, read strictly: public keys for signatures, each under a name of its own. */
import { ensure, IdentityError, type Refusal } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';

/** A key that may be used, not yet imported. */
export interface IssuerKey {
  readonly jwk: JsonObject;
  /** What `alg` says, of each entry of the set that has this key; undefined for one that serves any. */
  readonly algs: readonly (Json | undefined)[];
  /** By algorithm, since a key may serve two. */
  readonly imported: Map<string, Promise<CryptoKey>>;
}

const MAX_SET_BYTES = 256 * 1024;
const MAX_KEYS = 64;
/** RFC 7518, section 6: members that only a private or a shared key has. */
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];
const MIN_MODULUS_BITS = 2048;
/**
 * As for certificates. Work grows with the cube; and OpenSSL leaves an error behind where it refuses a far larger one,
 * which Node then takes for that of the next key.
 */
const MAX_MODULUS_BITS = 8192;
/** By algorithm: the key type, and the curve where it has one. */
const KIND_OF: Readonly<Record<string, string>> = {
  RS256: 'RSA',
  RS384: 'RSA',
  RS512: 'RSA',
  PS256: 'RSA',
  ES256: 'EC P-256',
  ES384: 'EC P-384',
  EdDSA: 'OKP Ed25519',
};

/** The keys of a set that may verify a token. */
export interface IssuerKeys {
  /** Several under one name are of different kinds, or for different algorithms. */
  readonly named: ReadonlyMap<string, readonly IssuerKey[]>;
  /** For a token without `kid`: the set's one key, with or without a name; undefined if there are several. */
  readonly only: IssuerKey | undefined;
}

/**
 * Keys that are not for signatures, too weak, or too large are left out: a set may hold them for others. One key may be
 * there once for each algorithm, and keys for different algorithms may have one name (RFC 7517 section 4.5). A set
 * with a private key, or with two keys of which a name and an algorithm do not say which is meant, is refused whole.
 * Throws `code`.
 */
export function readKeys(bytes: Uint8Array, code: Refusal): IssuerKeys {
  const set = parseJson(bytes, { code, maxBytes: MAX_SET_BYTES, maxDepth: 8 });
  const keys = isJsonObject(set) ? set['keys'] : undefined;
  ensure(Array.isArray(keys), code, 'a JWK set is an object with an array "keys"');
  const all = keys as readonly Json[];
  ensure(all.length <= MAX_KEYS, code, `the JWK set has ${all.length} keys, at most ${MAX_KEYS} are read`);
  const usable: (IssuerKey & { readonly kid: Json | undefined })[] = [];
  for (const jwk of all) {
    ensure(isJsonObject(jwk), code, 'a key of the JWK set is not an object');
    const secret = PRIVATE.find((name) => Object.hasOwn(jwk, name));
    ensure(secret === undefined, code, `the JWK set has a private key ("${secret}")`);
    if (!isForSignatures(jwk)) continue;
    const { kid, alg } = jwk;
    const same = usable.findIndex((each) => each.kid === kid && materialOf(each.jwk) === materialOf(jwk));
    const before = usable[same];
    if (before === undefined) usable.push({ kid, jwk, algs: [alg], imported: new Map() });
    else usable[same] = { ...before, algs: [...before.algs, alg] };
  }
  return { named: byName(usable, code), only: usable.length === 1 ? usable[0] : undefined };
}

function byName(
  keys: readonly (IssuerKey & { readonly kid: Json | undefined })[],
  code: Refusal,
): ReadonlyMap<string, readonly IssuerKey[]> {
  const named = new Map<string, readonly IssuerKey[]>();
  for (const key of keys) {
    const { kid } = key;
    if (typeof kid !== 'string') continue;
    const others = named.get(kid) ?? [];
    const both = Object.keys(KIND_OF).find(
      (alg) => [key, ...others].filter((each) => serves(each, alg)).length > 1,
    );
    ensure(both === undefined, code, `the JWK set has two keys "${kid}" for ${both}`);
    named.set(kid, [...others, key]);
  }
  return named;
}

/** What two entries of one key have in common. */
const materialOf = ({ kty, crv, n, e, x, y }: JsonObject): string => JSON.stringify([kty, crv, n, e, x, y]);

/** Whether a token of this algorithm may be verified by the key. */
export const serves = ({ jwk, algs }: IssuerKey, alg: string): boolean =>
  KIND_OF[alg] === kindOf(jwk) && algs.some((only) => only === undefined || only === alg);

/** RFC 7517, sections 4.2 and 4.3: where they are there, both must permit to verify. */
function isForSignatures(jwk: JsonObject): boolean {
  const { use = 'sig', key_ops: operations = ['verify'], n } = jwk;
  const kind = kindOf(jwk);
  const verifies = use === 'sig' && Array.isArray(operations) && operations.includes('verify');
  if (!verifies || kind === undefined) return false;
  if (kind !== 'RSA') return Object.values(KIND_OF).includes(kind);
  const bits = typeof n === 'string' ? modulusBits(n) : 0;
  return bits >= MIN_MODULUS_BITS && bits <= MAX_MODULUS_BITS;
}

/** Only of strings: an object, or a number that is kept as it was written, may have no text at all. */
function kindOf({ kty, crv }: JsonObject): string | undefined {
  if (kty === 'RSA') return kty;
  return typeof kty === 'string' && typeof crv === 'string' ? `${kty} ${crv}` : undefined;
}

function modulusBits(n: string): number {
  const bytes = Buffer.from(n, 'base64url');
  const first = bytes.findIndex((byte) => byte !== 0);
  return first < 0 ? 0 : (bytes.length - first) * 8 - Math.clz32(bytes[first] ?? 0) + 24;
}

/** Throws jwt_alg if the key is for something else. */
export async function importKey(key: IssuerKey, alg: string): Promise<CryptoKey> {
  const { jwk, algs, imported } = key;
  const named = algs.map((only = alg) => (typeof only === 'string' ? only : JSON.stringify(only))).join(', ');
  ensure(serves(key, alg), 'jwt_alg', `a key for ${named} (${kindOf(jwk)}) is not for ${alg}`);
  const known = imported.get(alg) ?? importNow(jwk, alg);
  imported.set(alg, known);
  return known;
}

async function importNow(jwk: JsonObject, alg: string): Promise<CryptoKey> {
  const { importJWK } = await import('jose');
  try {
    const { kty, crv, n, e, x, y } = jwk;
    const key = await importJWK(JSON.parse(JSON.stringify({ kty, crv, n, e, x, y })), alg);
    // Bytes are what a shared key becomes, and of those none gets here: KIND_OF has no algorithm for them.
    return key as CryptoKey;
  } catch (error) {
    throw new IdentityError('jwt_signature', `the issuer's key cannot be used: ${String(error)}`, {
      cause: error,
    });
  }
}
