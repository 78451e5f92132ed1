/**
 * The unverified claims of a service-account token, in the shape of a pod's token. A token of another shape is refused
 * before the API server is asked.
 */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '@chancery/shared/ground/json.ts';
import { peekClaims } from '../../tokens/jwt.ts';
import { LABEL, SUBDOMAIN } from './config.ts';

export interface Ref {
  readonly name: string;
  readonly uid: string;
}

export interface PodClaims {
  /** `system:serviceaccount:NAMESPACE:NAME`. */
  readonly username: string;
  readonly namespace: string;
  readonly serviceAccount: Ref;
  readonly pod: Ref;
  /** Since Kubernetes 1.30. */
  readonly node: Ref | undefined;
  /** The one audience. */
  readonly audience: string;
  /** `jti`. */
  readonly id: string;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
}

/** Kubernetes makes UUIDs; the API only says that a uid is not used again. */
const UID = /^[A-Za-z0-9-]{1,128}$/;

/** Throws jwt_parse, jwt_duplicate, k8s_unbound, k8s_subject, k8s_audience, jwt_time. */
export function readPodClaims(token: Uint8Array): PodClaims {
  const claims = peekClaims(token);
  const own = claims['kubernetes.io'];
  ensure(
    isJsonObject(own),
    'k8s_unbound',
    'the token has no claim kubernetes.io: a legacy token, or no pod’s',
  );
  const pod = readRef(own, 'pod');
  ensure(pod !== undefined, 'k8s_unbound', 'the token is bound to no pod');
  const { jti, exp, iat } = claims;
  ensure(
    typeof jti === 'string' && UID.test(jti),
    'k8s_unbound',
    'the token has no jti, so a copy looks the same',
  );
  ensure(isSeconds(exp) && isSeconds(iat), 'jwt_time', 'exp and iat must both be numbers of seconds');
  return {
    ...readSubject(claims, own),
    pod,
    node: readRef(own, 'node'),
    audience: readAudience(claims['aud']),
    id: jti,
    issuedAt: new Date(iat * 1000),
    expiresAt: new Date(exp * 1000),
  };
}

function readSubject(claims: JsonObject, own: JsonObject) {
  const { sub } = claims;
  const { namespace } = own;
  const serviceAccount = readRef(own, 'serviceaccount');
  const named = typeof namespace === 'string' && LABEL.test(namespace) && serviceAccount !== undefined;
  ensure(named, 'k8s_subject', 'the token names no namespace and service account');
  const username = `system:serviceaccount:${namespace}:${serviceAccount.name}`;
  ensure(sub === username, 'k8s_subject', `sub is not ${username}, which kubernetes.io names`);
  return { username, namespace, serviceAccount };
}

function readRef(own: JsonObject, what: string): Ref | undefined {
  const ref = own[what];
  if (ref === undefined) return undefined;
  const { name, uid } = isJsonObject(ref) ? ref : {};
  ensure(
    typeof name === 'string' && SUBDOMAIN.test(name),
    'k8s_subject',
    `${what}: its name does not follow RFC 1123`,
  );
  ensure(typeof uid === 'string' && UID.test(uid), 'k8s_subject', `${what} has no uid`);
  return { name, uid };
}

function readAudience(aud: Json | undefined): string {
  const [only, ...more] = Array.isArray(aud) ? aud : [aud];
  ensure(
    typeof only === 'string' && more.length === 0,
    'k8s_audience',
    'the token has not exactly one audience',
  );
  return only;
}

/** Year 9999 at the latest, so that it is a Date. */
const isSeconds = (value: Json | undefined): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 253_402_300_800;
