/**
 * An OpenID Connect issuer on loopback: discovery, keys that rotate, and ID tokens as CI systems hand them to their
 * jobs. The token endpoint is GitHub's: a bearer token of the job's and an audience of its choice.
 */
import { randomUUID } from 'node:crypto';
import { faultOf } from '../http/form.ts';
import { type Answer, type Received, type Served, serve } from '../http/served.ts';
import { type JwsParts, publicJwk, type SigningKey, signingKey, writeJws } from './jws.ts';

export interface TestIssuer {
  readonly url: string;
  readonly served: Served;
  /** Signs with the newest key. */
  token(claims?: object, parts?: JwsParts): string;
  /** Every token that it has signed. */
  readonly signed: readonly string[];
  /** A new key beside the old ones; `drop` forgets those. */
  rotate(drop?: boolean): SigningKey;
  readonly key: SigningKey;
  /** What the JWK set says instead of the keys. */
  publish(jwks: object | undefined): void;
  /** What GitHub puts in a job's environment. */
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export interface IssuerOptions {
  readonly now: () => Date;
  /** Of every token, beside the times and the audience. */
  readonly claims?: object;
  readonly algorithm?: 'RS256' | 'ES256' | 'ES384';
  readonly lifetimeSeconds?: number;
}

export async function startIssuer(options: IssuerOptions): Promise<TestIssuer> {
  const { now, algorithm = 'RS256', lifetimeSeconds = 300 } = options;
  const requestToken = randomUUID();
  const signed: string[] = [];
  let keys = [signingKey('key-1', algorithm)];
  let published: object | undefined;
  const newest = (): SigningKey => {
    const key = keys.at(-1);
    if (key === undefined) throw new Error('no key');
    return key;
  };
  const token = (claims: object = {}, parts: JwsParts = {}): string => {
    const iat = Math.floor(now().getTime() / 1000);
    const times = { iat, nbf: iat - 60, exp: iat + lifetimeSeconds };
    const all = { iss: served.url, sub: 'job', jti: randomUUID(), ...times, ...options.claims, ...claims };
    const jws = writeJws(all, newest(), parts);
    signed.push(jws);
    return jws;
  };
  const served = await serve((received): Answer => {
    const { pathname, searchParams } = new URL(received.target, 'http://issuer');
    const parameters = pathname === '/token' ? ['audience', 'api-version'] : [];
    const fault = faultOf(received, { parameters, produces: 'application/json' });
    if (fault !== undefined) return { status: fault.status, body: fault.says };
    if (pathname === '/.well-known/openid-configuration')
      return json({ issuer: served.url, jwks_uri: `${served.url}/jwks` });
    if (pathname === '/jwks') return json(published ?? { keys: keys.map(publicJwk) });
    if (pathname !== '/token') return { status: 404 };
    if (!isAuthorised(received, requestToken)) return { status: 401, body: 'Unauthorized' };
    return json({ value: token({ aud: searchParams.get('audience') ?? 'https://github.example' }) });
  });
  return {
    url: served.url,
    served,
    token,
    signed,
    rotate: (drop = false) => {
      keys = [...(drop ? [] : keys), signingKey(`key-${randomUUID()}`, algorithm)];
      return newest();
    },
    get key() {
      return newest();
    },
    publish: (jwks) => {
      published = jwks;
    },
    env: {
      ACTIONS_ID_TOKEN_REQUEST_URL: `${served.url}/token?api-version=2.0`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: requestToken,
    },
    close: () => served.close(),
  };
}

const isAuthorised = ({ headers }: Received, requestToken: string): boolean =>
  headers.get('authorization')?.[0] === `Bearer ${requestToken}`;

const json = (value: object): Answer => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(value),
});
