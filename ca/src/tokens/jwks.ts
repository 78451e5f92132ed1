/**
 * An issuer's keys (RFC 7517): from a file, an address or discovery. Fetched keys are kept. After five minutes they are
 * fetched again beside their use, after ten before it, since the issuer may have withdrawn one. If it cannot be reached
 * they are good for a day, so that its outage does not stop the CA. A token
 * with an unknown key name may be the first with a new key, or a stranger's. Fetches for such names have a rate of
 * their own: one in ten seconds, and one per name in half a minute.
 */
import { type Clock, isRecent } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Outbound } from '@chancery/shared/outbound/http.ts';
import { type IssuerKey, type IssuerKeys, importKey, readKeys, serves } from './keys.ts';

export interface KeySet {
  /**
   * Without `kid`, the only key of a set of one. Throws jwt_signature for an unknown key, jwt_alg for another kind,
   * keys_unavailable.
   */
  keyFor(kid: string | undefined, alg: string): Promise<CryptoKey>;
}

/** Where an issuer's keys are. */
export type KeySource =
  | { readonly jwks: Uint8Array }
  | { readonly jwksUri: string }
  | { readonly discover: string };

export interface KeySetDeps {
  readonly outbound: Outbound;
  readonly clock: Clock;
  readonly log: Log;
  /** PEM of the roots that the issuer's server is verified by, instead of the system's. */
  readonly ca?: string | Uint8Array | undefined;
}

const REFRESH_SECONDS = 300;
/** Older keys are used only if the issuer does not answer. */
const FRESH_SECONDS = 600;
const AT_MOST_EVERY_SECONDS = 60;
/** The interval of fetches for unknown names. */
const UNKNOWN_EVERY_SECONDS = 10;
const SAME_UNKNOWN_EVERY_SECONDS = 30;
/** How many unknown names are remembered: more than can cause a fetch in that time. */
const MAX_UNKNOWN = 16;
const GOOD_FOR_SECONDS = 86_400;
const MAX_BYTES = 256 * 1024;

/** Fetches nothing before the first key is needed. Throws config for a bad static set. */
export function keySetFrom(source: KeySource, deps: KeySetDeps): KeySet {
  if (!('jwks' in source)) return new FetchedKeys(() => fetchKeys(source, deps), deps);
  const keys = readKeys(source.jwks, 'config');
  return { keyFor: async (kid, alg) => importKey(foundIn(keys, kid, alg), alg) };
}

interface Fetched {
  readonly all: IssuerKeys;
  readonly at: Date;
}

class FetchedKeys implements KeySet {
  readonly #load: () => Promise<IssuerKeys>;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Names that caused a fetch, and when. */
  readonly #unknown = new Map<string, Date>();
  #unknownAt: Date | undefined;
  #keys: Fetched | undefined;
  #triedAt: Date | undefined;
  #lastFailure: unknown;
  #fetching: Promise<void> | undefined;

  constructor(load: () => Promise<IssuerKeys>, { clock, log }: KeySetDeps) {
    this.#load = load;
    this.#clock = clock;
    this.#log = log;
  }

  async keyFor(kid: string | undefined, alg: string): Promise<CryptoKey> {
    const known = this.#known();
    if (known === undefined) await this.#refresh();
    else if (kid === undefined || known.all.named.has(kid)) {
      const now = this.#clock.now();
      if (!isRecent(known.at, FRESH_SECONDS, now)) await this.#refresh();
      else if (!isRecent(known.at, REFRESH_SECONDS, now)) void this.#refresh();
    } else await this.#refreshFor(kid);
    const keys = this.#known();
    if (keys === undefined)
      throw new IdentityError('keys_unavailable', `no keys of the issuer: ${sentenceOf(this.#lastFailure)}`, {
        cause: this.#lastFailure,
      });
    return importKey(foundIn(keys.all, kid, alg), alg);
  }

  /** Keys with a time in the future were fetched before the clock was set back. They are good until the next fetch. */
  #known(): Fetched | undefined {
    const [keys, now] = [this.#keys, this.#clock.now()];
    if (keys === undefined || keys.at > now) return keys;
    return isRecent(keys.at, GOOD_FOR_SECONDS, now) ? keys : undefined;
  }

  /** Callers that come during a fetch wait for it. Never throws. */
  #refresh(): Promise<void> {
    const now = this.#clock.now();
    if (this.#fetching !== undefined) return this.#fetching;
    if (this.#triedAt !== undefined && isRecent(this.#triedAt, AT_MOST_EVERY_SECONDS, now))
      return Promise.resolve();
    this.#triedAt = now;
    return this.#fetch(now);
  }

  /** Has a rate of its own, apart from that of known names and first fetches. Never throws. */
  #refreshFor(kid: string): Promise<void> {
    const now = this.#clock.now();
    if (this.#fetching !== undefined) return this.#fetching;
    const early = (at: Date | undefined, seconds: number) => at !== undefined && isRecent(at, seconds, now);
    if (early(this.#unknownAt, UNKNOWN_EVERY_SECONDS)) return Promise.resolve();
    if (early(this.#unknown.get(kid), SAME_UNKNOWN_EVERY_SECONDS)) return Promise.resolve();
    this.#unknown.delete(kid);
    this.#unknown.set(kid, now);
    const [oldest] = this.#unknown.keys();
    if (this.#unknown.size > MAX_UNKNOWN && oldest !== undefined) this.#unknown.delete(oldest);
    this.#unknownAt = now;
    return this.#fetch(now);
  }

  #fetch(now: Date): Promise<void> {
    this.#fetching = this.#fetchNow(now).finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetchNow(at: Date): Promise<void> {
    try {
      this.#keys = { all: await this.#load(), at };
      this.#lastFailure = undefined;
    } catch (error) {
      this.#lastFailure = error;
      if (this.#keys !== undefined && this.#keys.at > at) this.#keys = { ...this.#keys, at };
      this.#log.warn(
        { err: error },
        'an issuer’s keys could not be fetched; those that are known are kept a day',
      );
    }
  }
}

function foundIn({ named, only }: IssuerKeys, kid: string | undefined, alg: string): IssuerKey {
  if (kid === undefined) {
    ensure(
      only !== undefined,
      'jwt_header',
      'the token has no kid, which it needs unless the issuer has exactly one key',
    );
    return only;
  }
  const keys = named.get(kid);
  const key = keys?.find((each) => serves(each, alg)) ?? keys?.[0];
  ensure(key !== undefined, 'jwt_signature', `the issuer has no key "${kid.slice(0, 100)}"`);
  return key;
}

async function fetchKeys(
  source: { jwksUri: string } | { discover: string },
  deps: KeySetDeps,
): Promise<IssuerKeys> {
  const uri = 'jwksUri' in source ? source.jwksUri : await discover(source.discover, deps);
  return readKeys(await get(uri, deps), 'keys_unavailable');
}

/** OpenID Connect Discovery 1.0, section 4: the document must speak for the issuer that was configured. */
async function discover(issuer: string, deps: KeySetDeps): Promise<string> {
  const where = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const document = documentOf(await get(where, deps), where);
  const { issuer: named, jwks_uri: uri } = document;
  ensure(
    named === issuer,
    'keys_unavailable',
    `${where} is for issuer ${JSON.stringify(named)}, not ${issuer}`,
  );
  ensure(typeof uri === 'string', 'keys_unavailable', `${where} names no jwks_uri`);
  const url = URL.parse(uri);
  const safe = url?.protocol === 'https:' || (url !== null && url.origin === new URL(issuer).origin);
  ensure(safe, 'keys_unavailable', `${where} has its keys at ${uri}, which is not https`);
  return uri;
}

function documentOf(body: Uint8Array, where: string): JsonObject {
  const document = parseJson(body, { code: 'keys_unavailable', maxBytes: MAX_BYTES, maxDepth: 16 });
  ensure(isJsonObject(document), 'keys_unavailable', `${where} is not a JSON object`);
  return document;
}

/**
 * A kube-apiserver sends keys only as `application/jwk-set+json` (RFC 7517, section 8.5.1), and answers 406 if the
 * request does not accept it. The body is read strictly, whatever its type.
 */
const ACCEPT = 'application/json, application/jwk-set+json, */*;q=0.1';

async function get(url: string, { outbound, ca }: KeySetDeps): Promise<Uint8Array> {
  const headers = { accept: ACCEPT };
  const { status, body } = await outbound.request({ url, headers, maxBytes: MAX_BYTES, ...(ca && { ca }) });
  ensure(status === 200, 'keys_unavailable', `${url} answered ${status}, expected 200`);
  return body;
}

const sentenceOf = (error: unknown): string =>
  isRefusal(error) ? error.message : error === undefined ? 'none was fetched yet' : String(error);
