/**
 * The issuer, as this machine asks it: discovery, the token endpoint, device codes. What comes back is not verified
 * here; the CA verifies the ID token, and refuses one that is not for our key.
 */
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import { isCallable } from '@chancery/shared/outbound/address.ts';
import type { Outbound, OutboundReply } from '@chancery/shared/outbound/http.ts';

export interface IssuerDeps {
  readonly outbound: Outbound;
  /** PEM of the roots of the issuer's server, instead of the system's. */
  readonly ca: Uint8Array | undefined;
}

/** Addresses of the issuer's endpoints. */
export interface Endpoints {
  readonly issuer: string;
  readonly authorization: string;
  readonly token: string;
  /** Undefined if it has no device flow. */
  readonly device: string | undefined;
}

const MAX_BYTES = 256 * 1024;
const LIMITS = { code: 'unavailable', maxBytes: MAX_BYTES, maxDepth: 16 } as const;

/** OpenID Connect Discovery 1.0, section 4. Throws platform_unavailable, unavailable. */
export async function endpointsOf(issuer: string, { outbound, ca }: IssuerDeps): Promise<Endpoints> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const { status, body } = await outbound.request({ url, maxBytes: MAX_BYTES, ...(ca && { ca }) });
  ensure(status === 200, 'unavailable', `${url} answered ${status}, expected 200`);
  const document = objectIn(body, url);
  ensure(document['issuer'] === issuer, 'unavailable', `${url} is for another issuer than ${issuer}`);
  const at = (name: string): string | undefined => {
    const value = document[name];
    if (value === undefined) return undefined;
    ensure(
      typeof value === 'string' && isCallable(value),
      'unavailable',
      `${url}: ${name} is no https address`,
    );
    return value;
  };
  const [authorization, token] = [at('authorization_endpoint'), at('token_endpoint')];
  ensure(authorization !== undefined && token !== undefined, 'unavailable', `${url} names no endpoints`);
  return { issuer, authorization, token, device: at('device_authorization_endpoint') };
}

/** Posts a form, and returns what came back, refused or not. Throws platform_unavailable, unavailable. */
export async function post(
  url: string,
  form: Readonly<Record<string, string>>,
  deps: IssuerDeps,
): Promise<Answered> {
  return answeredBy(url, await send(url, form, deps));
}

/** As it came from an endpoint, and what is in it. */
export interface Answered {
  readonly status: number;
  readonly answer: JsonObject;
}

/** Posts a form. Throws platform_unavailable if no whole reply came. */
export function send(
  url: string,
  form: Readonly<Record<string, string>>,
  { outbound, ca }: IssuerDeps,
): Promise<OutboundReply> {
  return outbound.request({
    url,
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    body: utf8(new URLSearchParams(form).toString()),
    maxBytes: MAX_BYTES,
    ...(ca && { ca }),
  });
}

/** Throws unavailable for a body that is not a JSON object. */
export const answeredBy = (url: string, { status, body }: OutboundReply): Answered => ({
  status,
  answer: objectIn(body, url),
});

/** The ID token of an answer of the token endpoint. Throws unavailable with the issuer's reason. */
export function idTokenIn({ status, answer }: Answered): string {
  const { error, error_description: why, id_token: token } = answer;
  const says = [error, why].filter((each) => typeof each === 'string').join(': ');
  ensure(status === 200, 'unavailable', `the issuer refused (${status}): ${says.slice(0, 300)}`);
  ensure(
    typeof token === 'string',
    'unavailable',
    'the issuer sent no ID token: the client needs the scope openid',
  );
  return token;
}

function objectIn(body: Uint8Array, url: string): JsonObject {
  const value = parseJson(body, LIMITS);
  ensure(isJsonObject(value), 'unavailable', `${url} did not answer with a JSON object`);
  return value;
}
