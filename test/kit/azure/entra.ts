/** A stand-in for Entra ID: tenants whose tokens one set of keys signs, and where those keys are published. */
import { randomBytes, randomUUID } from 'node:crypto';
import { faultOf } from '../http/form.ts';
import { type Answer, type Received, type Served, serve } from '../http/served.ts';
import { type JwsParts, type SigningKey, signingKey, writeJws } from '../oidc/jws.ts';

export interface Entra {
  readonly served: Served;
  /** Keys are the same for all tenants, as they are at Microsoft: only `iss` and `tid` tell them apart. */
  readonly key: SigningKey;
  /** A managed identity's token of version 1. `changes` replace claims; undefined drops one. */
  token(identity: ManagedIdentity, audience: string, changes?: object, parts?: JwsParts): string;
  rotate(): SigningKey;
  /** What the JWK set says instead of the keys. */
  publish(jwks: object | undefined): void;
  close(): Promise<void>;
}

/** As the VM's metadata service knows it. */
export interface ManagedIdentity {
  readonly tenant: string;
  readonly principalId: string;
  readonly clientId: string;
  /** `xms_mirid`. */
  readonly resource: string;
  /** `xms_az_rid`, for identities that are no machine's own. */
  readonly machine?: string;
}

/** Entra ID dates tokens five minutes back, and gives managed identities a day. */
const BACK_SECONDS = 300;
export const TOKEN_SECONDS = 86_400;

export async function startEntra(now: () => Date): Promise<Entra> {
  let keys = [signingKey('entra-1')];
  let published: object | undefined;
  const newest = (): SigningKey => {
    const key = keys.at(-1);
    if (key === undefined) throw new Error('no key');
    return key;
  };
  const served = await serve((received) => answer(received, published ?? { keys: keys.map(jwkOf) }), { now });
  return {
    served,
    get key() {
      return newest();
    },
    token: (identity, audience, changes = {}, parts = {}) => {
      const key = newest();
      const claims = { ...claimsOf(identity, audience, now()), ...changes };
      return writeJws(claims, key, { ...parts, header: { x5t: key.kid, ...parts.header } });
    },
    rotate: () => {
      keys = [...keys, signingKey(`entra-${keys.length + 1}`)];
      return newest();
    },
    publish: (jwks) => {
      published = jwks;
    },
    close: () => served.close(),
  };
}

/** With the members that Microsoft's own set has: no algorithm. */
function jwkOf(key: SigningKey): object {
  const { kty, n, e } = key.publicKey.export({ format: 'jwk' });
  return { kty, use: 'sig', kid: key.kid, x5t: key.kid, n, e };
}

function claimsOf(
  { tenant, principalId, clientId, resource, machine }: ManagedIdentity,
  audience: string,
  now: Date,
) {
  const iat = Math.floor(now.getTime() / 1000) - BACK_SECONDS;
  return {
    aud: audience,
    iss: `https://sts.windows.net/${tenant}/`,
    iat,
    nbf: iat,
    exp: iat + BACK_SECONDS + TOKEN_SECONDS,
    aio: randomBytes(24).toString('base64'),
    appid: clientId,
    appidacr: '2',
    idp: `https://sts.windows.net/${tenant}/`,
    idtyp: 'app',
    oid: principalId,
    rh: `1.${randomBytes(24).toString('base64url')}.`,
    sub: principalId,
    tid: tenant,
    uti: randomBytes(16).toString('base64url'),
    ver: '1.0',
    xms_mirid: resource,
    ...(machine === undefined ? {} : { xms_az_rid: machine }),
  };
}

/** What a token of version 2 says otherwise. */
export const version2 = (tenant: string, applicationId: string): object => ({
  iss: `https://login.microsoftonline.com/${tenant}/v2.0`,
  aud: applicationId,
  ver: '2.0',
  appid: undefined,
  appidacr: undefined,
  azp: randomUUID(),
  azpacr: '2',
});

const TENANT = /^\/([0-9a-f-]{36})\/(v2\.0\/|)\.well-known\/openid-configuration$/;

function answer(received: Received, jwks: object): Answer {
  const [path = ''] = received.target.split('?');
  // "appid" asks for the keys of one application.
  const fault = faultOf(received, { parameters: ['appid'], produces: 'application/json' });
  if (fault !== undefined) return { status: fault.status, body: fault.says };
  if (/^\/[0-9a-f-]{36}\/discovery\/(v2\.0\/)?keys$/.test(path)) return json(jwks);
  const [, tenant, version] = TENANT.exec(path) ?? [];
  if (tenant === undefined) return { status: 404 };
  const login = 'https://login.microsoftonline.com';
  return json(
    version === ''
      ? { issuer: `https://sts.windows.net/${tenant}/`, jwks_uri: `${login}/${tenant}/discovery/keys` }
      : { issuer: `${login}/${tenant}/v2.0`, jwks_uri: `${login}/${tenant}/discovery/v2.0/keys` },
  );
}

const json = (value: object): Answer => ({
  status: 200,
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: JSON.stringify(value),
});
