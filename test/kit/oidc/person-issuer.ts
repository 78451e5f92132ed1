/**
 * An OpenID Connect issuer where people sign in, on loopback: authorisation code with PKCE, and device codes. It checks
 * client, redirect address, verifier and one use of a code as Keycloak does. Its page signs `person` in.
 */
import { createHash, randomUUID } from 'node:crypto';
import { type Answer, type Received, type Served, serve } from '../http/served.ts';
import { publicJwk, signingKey, writeJws } from './jws.ts';

export const CLIENT = 'chancery';

export interface PersonIssuer {
  readonly url: string;
  readonly served: Served;
  /** Claims of the next tokens, over those that are right; undefined leaves one out. */
  person: Readonly<Record<string, unknown>>;
  /** An ID token, as `person` for this nonce. */
  token(nonce: string, algorithm?: 'RS256' | 'ES256'): string;
  /** The person enters the code that a device shows. */
  approve(userCode: string): void;
  close(): Promise<void>;
}

interface Grant {
  readonly challenge: string;
  readonly nonce: string;
  readonly redirectUri?: string;
  approved: boolean;
}

const json = (status: number, value: object): Answer => ({
  status,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(value),
});
const refused = (error: string): Answer => json(400, { error });

export async function startPersonIssuer(now: () => Date = () => new Date()): Promise<PersonIssuer> {
  const key = signingKey('people-1');
  const ecdsa = signingKey('people-2', 'ES256');
  const codes = new Map<string, Grant>();
  const devices = new Map<string, Grant & { readonly userCode: string }>();
  const token = (nonce: string, algorithm = 'RS256'): string => {
    const iat = Math.floor(now().getTime() / 1000);
    const right = { iss: served.url, aud: CLIENT, azp: CLIENT, sub: 'ada', nonce, iat, exp: iat + 60 };
    const claims = { ...right, auth_time: iat, preferred_username: 'ada.l', ...issuer.person };
    return writeJws(JSON.parse(JSON.stringify(claims)), algorithm === 'ES256' ? ecdsa : key);
  };
  const authorise = (query: URLSearchParams): Answer => {
    const redirectUri = query.get('redirect_uri') ?? '';
    const isLoopback = /^http:\/\/127\.0\.0\.1:\d+\/callback$/.test(redirectUri);
    if (query.get('client_id') !== CLIENT || !isLoopback)
      return { status: 400, body: 'unknown client or redirect' };
    const challenge = query.get('code_challenge') ?? '';
    if (query.get('code_challenge_method') !== 'S256' || challenge.length !== 43)
      return { status: 400, body: 'PKCE' };
    const code = randomUUID();
    codes.set(code, { challenge, nonce: query.get('nonce') ?? '', redirectUri, approved: true });
    const location = new URL(redirectUri);
    location.searchParams.set('code', code);
    location.searchParams.set('state', query.get('state') ?? '');
    location.searchParams.set('iss', served.url);
    return { status: 302, headers: { location: location.href } };
  };
  const device = (form: URLSearchParams): Answer => {
    if (form.get('client_id') !== CLIENT) return refused('invalid_client');
    const [code, userCode] = [randomUUID(), randomUUID().slice(0, 8)];
    const challenge = form.get('code_challenge') ?? '';
    devices.set(code, { challenge, nonce: form.get('nonce') ?? '', approved: false, userCode });
    const uri = { verification_uri: `${served.url}/device-page`, expires_in: 600, interval: 1 };
    return json(200, { device_code: code, user_code: userCode, ...uri });
  };
  const exchange = (form: URLSearchParams): Answer => {
    const code = form.get('code') ?? '';
    const grant = codes.get(code) ?? devices.get(form.get('device_code') ?? '');
    if (form.get('client_id') !== CLIENT || grant === undefined) return refused('invalid_grant');
    if (!grant.approved) return refused('authorization_pending');
    codes.delete(code);
    devices.delete(form.get('device_code') ?? '');
    const made = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    const same = grant.redirectUri === undefined || grant.redirectUri === form.get('redirect_uri');
    if (made !== grant.challenge || !same) return refused('invalid_grant');
    return json(200, { id_token: token(grant.nonce), token_type: 'Bearer', access_token: 'none' });
  };
  const served = await serve(({ method, target, body }: Received): Answer => {
    const { pathname, searchParams } = new URL(target, 'http://issuer');
    const form = new URLSearchParams(body.toString());
    if (method === 'POST' && pathname === '/token') return exchange(form);
    if (method === 'POST' && pathname === '/device') return device(form);
    if (pathname === '/auth') return authorise(searchParams);
    if (pathname === '/jwks') return json(200, { keys: [key, ecdsa].map(publicJwk) });
    if (pathname !== '/.well-known/openid-configuration') return { status: 404 };
    return json(200, {
      issuer: served.url,
      jwks_uri: `${served.url}/jwks`,
      authorization_endpoint: `${served.url}/auth`,
      token_endpoint: `${served.url}/token`,
      device_authorization_endpoint: `${served.url}/device`,
    });
  });
  const issuer: PersonIssuer = {
    url: served.url,
    served,
    person: {},
    token,
    approve: (userCode) => {
      for (const each of devices.values()) if (each.userCode === userCode) each.approved = true;
    },
    close: () => served.close(),
  };
  return issuer;
}
