/**
 * Service-account tokens as a cluster mints them (kubernetes/pkg/serviceaccount/claims.go, jwt.go, legacy.go): RS256,
 * a header of alg and kid only, the private claims under `kubernetes.io`, `aud` always an array.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import type { JsonObject } from '@chancery/shared/ground/json.ts';

/** A named object of the cluster; the uid is never used again. */
export interface Ref {
  readonly name: string;
  readonly uid: string;
}

export interface TokenSubject {
  readonly namespace: string;
  readonly serviceaccount: Ref;
  readonly pod?: Ref;
  readonly node?: Ref;
}

export interface TokenLife {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly now: Date;
  readonly seconds: number;
  /** Of a token for the API server itself, whose life is stretched to a year. */
  readonly warnAfterSeconds?: number;
}

export type Claims = Readonly<Record<string, unknown>>;

export const usernameOf = (namespace: string, name: string): string =>
  `system:serviceaccount:${namespace}:${name}`;

/** Of TokenRequest, and of the kubelet's projected volumes, which are filled by it. */
export function boundClaims(subject: TokenSubject, life: TokenLife): Claims {
  const now = Math.floor(life.now.getTime() / 1000);
  const warn = life.warnAfterSeconds;
  return {
    aud: life.audiences,
    exp: now + life.seconds,
    iat: now,
    iss: life.issuer,
    jti: randomUUID(),
    'kubernetes.io': { ...subject, ...(warn === undefined ? {} : { warnafter: now + warn }) },
    nbf: now,
    sub: usernameOf(subject.namespace, subject.serviceaccount.name),
  };
}

/** Of a Secret of type kubernetes.io/service-account-token: for ever, for the API server, for no pod. */
export function legacyClaims(namespace: string, account: Ref, secret: string): Claims {
  return {
    iss: LEGACY_ISSUER,
    'kubernetes.io/serviceaccount/namespace': namespace,
    'kubernetes.io/serviceaccount/secret.name': secret,
    'kubernetes.io/serviceaccount/service-account.name': account.name,
    'kubernetes.io/serviceaccount/service-account.uid': account.uid,
    sub: usernameOf(namespace, account.name),
  };
}

export const LEGACY_ISSUER = 'kubernetes/serviceaccount';

/** One cluster's signing key, named as keyIDFromPublicKey does: SHA-256 of the SubjectPublicKeyInfo. */
export class TokenSigner {
  readonly #private: KeyObject;
  readonly #public: KeyObject;
  readonly kid: string;

  constructor() {
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.#private = pair.privateKey;
    this.#public = pair.publicKey;
    const spki = this.#public.export({ type: 'spki', format: 'der' });
    this.kid = createHash('sha256').update(spki).digest('base64url');
  }

  sign(claims: Claims, header: Claims = { alg: 'RS256', kid: this.kid }): string {
    const content = `${encode(header)}.${encode(claims)}`;
    return `${content}.${sign('sha256', Buffer.from(content), this.#private).toString('base64url')}`;
  }

  /** The claims of a token that this key signed; undefined for any other text. */
  verify(token: string): JsonObject | undefined {
    const [header = '', claims = '', signature = '', ...more] = token.split('.');
    if (more.length > 0) return undefined;
    const content = Buffer.from(`${header}.${claims}`);
    const good = verify('sha256', content, this.#public, Buffer.from(signature, 'base64url'));
    return good ? JSON.parse(Buffer.from(claims, 'base64url').toString()) : undefined;
  }

  jwks(): object {
    const key = this.#public.export({ format: 'jwk' });
    return { keys: [{ use: 'sig', kty: 'RSA', kid: this.kid, alg: 'RS256', n: key.n, e: key.e }] };
  }
}

const encode = (value: Claims): string => Buffer.from(JSON.stringify(value)).toString('base64url');
