/**
 * ID tokens of an OpenID Connect issuer, such as a CI system. Proves that the issuer signed these claims for a job;
 * and, if the job may choose the audience, for this key and exchange. If it may not, the token is good for the first
 * key that it comes with, so a thief who uses it before the job can use it. It does not prove on which machine the job
 * runs, nor what else it runs.
 */

import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Claims } from '../tokens/claims.ts';
import { type KeySet, keySetFrom } from '../tokens/jwks.ts';
import { verifyToken } from '../tokens/jwt.ts';
import {
  type Attestor,
  type AttestorDeps,
  type AttestorKind,
  type Facts,
  inFileOf,
  readTlsRoots,
  type Turn,
} from './attestor.ts';
import { OidcConfig, type OidcPolicy, oidcPolicy } from './oidc/config.ts';
import { textOf } from './oidc/rules.ts';

export const oidcKind: AttestorKind<OidcConfig> = {
  type: 'oidc',
  says: 'ID tokens of CI systems and other OpenID Connect issuers.',
  schema: OidcConfig,
  create: oidcAttestor,
};

/** How long after its end a token is remembered, because of the allowed skew. */
const AFTER_SECONDS = 60;

/** Throws config. */
export function oidcAttestor(config: OidcConfig, deps: AttestorDeps & { readonly type: string }): Attestor {
  const { type, trustDomain, memory } = deps;
  const policy = oidcPolicy(config, trustDomain, `attestors.${type.replace('/', '.')}`);
  const keys = keysOf(config, policy, deps);
  return {
    type,
    async attest(opening, turn) {
      ensure(opening.length === 0, 'evidence_parse', 'a token is sent when it is asked for');
      const token = await turn.challenge(new Uint8Array());
      const audience = policy.audience ?? audienceOf(trustDomain, turn.binding);
      const { issuer, maxLifetimeSeconds } = policy;
      const rules = { issuer, audience, algorithms: config.algorithms, keys, maxLifetimeSeconds };
      const claims = await verifyToken(token, rules, turn.now());
      policy.check(claims);
      if (policy.audience !== undefined) await bindToKey(claims, turn, { type, memory });
      return factsOf(claims, policy);
    },
  };
}

function keysOf(
  { ca, jwks, jwksUri }: OidcConfig,
  { issuer }: OidcPolicy,
  deps: AttestorDeps & { readonly type: string },
): KeySet {
  const withRoots = { ...deps, ca: ca === undefined ? undefined : readTlsRoots(deps, ca) };
  if (jwks !== undefined) return inFileOf(deps, jwks, (read) => keySetFrom({ jwks: read }, withRoots));
  return keySetFrom(jwksUri === undefined ? { discover: issuer } : { jwksUri }, withRoots);
}

/** A token that is not bound to a key is good for one key: the first that it comes with. */
function bindToKey(
  claims: Claims,
  { key }: Turn,
  { type, memory }: Pick<AttestorDeps, 'memory'> & { type: string },
): Promise<void> {
  const id = claims.string('jti');
  return memory.bind({ platform: type, id }, key.sha256, addSeconds(claims.expiresAt, AFTER_SECONDS));
}

function factsOf(claims: Claims, { attributes, node }: OidcPolicy): Facts {
  const known = Object.entries(attributes).flatMap(([name, claim]) => {
    const value = textOf(claims.find(claim));
    return value === undefined || value === '' ? [] : [[name, value] as const];
  });
  const parts = node.map((claim) => {
    const value = textOf(claims.find(claim));
    ensure(value !== undefined && value !== '', 'claim_rule', `${claim}, which names the job, is missing`);
    return value;
  });
  return { node: parts.join('/'), attributes: Object.fromEntries(known), exclusive: false };
}
