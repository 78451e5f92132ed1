/**
 * A Compute Engine instance's identity token. Proves that Google's metadata server gave this token, for this key and
 * exchange, to a process on that instance. It does not tell processes of one instance apart, nor say what they run.
 */

import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '@chancery/shared/ground/json.ts';
import { address } from '@chancery/shared/outbound/address.ts';
import { z } from 'zod';
import { type KeySource, keySetFrom } from '../tokens/jwks.ts';
import { verifyToken } from '../tokens/jwt.ts';
import type { Attestor, AttestorDeps, AttestorKind, Facts } from './attestor.ts';

export const GcpConfig = z.strictObject({
  projects: z
    .array(
      z
        .string()
        .regex(
          /^([a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]{6,20})$/,
          'a project is its ID or its number, without wildcards',
        ),
    )
    .min(1)
    .describe('Project IDs or numbers whose instances may join.'),
  zones: z
    .array(z.string().regex(/^[a-z]+-[a-z]+[0-9]+-[a-z]$/, 'a zone is for instance europe-west1-b'))
    .min(1)
    .optional()
    .describe('Zones whose instances may join (default: all).'),
  serviceAccounts: z
    .array(z.email('a service account is its e-mail address'))
    .min(1)
    .optional()
    .describe('Service accounts whose instances may join (default: all).'),
  issuer: address.default('https://accounts.google.com').describe("The tokens' iss."),
  jwksUri: address.default('https://www.googleapis.com/oauth2/v3/certs').describe("Where Google's keys are."),
});
export type GcpConfig = z.infer<typeof GcpConfig>;

export const gcpKind: AttestorKind<GcpConfig> = {
  type: 'gcp',
  says: 'Google Compute Engine instances.',
  schema: GcpConfig,
  create: gcpAttestor,
};

/** The lifetime that Google gives. */
const MAX_LIFETIME_SECONDS = 3600;

/** Verifies tokens by the keys at `jwksUri`, which it fetches when it needs them. */
export function gcpAttestor(config: GcpConfig, deps: AttestorDeps): Attestor {
  const { issuer, jwksUri } = config;
  const source: KeySource = { jwksUri };
  const keys = keySetFrom(source, deps);
  return {
    type: 'gcp',
    async attest(opening, turn) {
      ensure(opening.length === 0, 'evidence_parse', 'a token is sent when it is asked for');
      const token = await turn.challenge(new Uint8Array());
      const audience = audienceOf(deps.trustDomain, turn.binding);
      const rules = {
        issuer,
        audience,
        algorithms: ['RS256'],
        keys,
        maxLifetimeSeconds: MAX_LIFETIME_SECONDS,
      } as const;
      const claims = await verifyToken(token, rules, turn.now());
      // A service account can have a token signed for any audience; only the metadata server adds this.
      const instance = claims.find('google', 'compute_engine');
      ensure(
        isJsonObject(instance),
        'claim_rule',
        'google.compute_engine is missing: not an instance’s token',
      );
      const email = claims.find('email');
      const verified = email === undefined || claims.find('email_verified') === true;
      ensure(verified, 'claim_rule', 'email_verified is not true');
      const facts = factsOf(instance, email);
      ensureAllowed(facts.attributes, config);
      return facts;
    },
  };
}

/** The name of an instance may be reused; its ID is not. */
function factsOf(instance: JsonObject, email: Json | undefined): Facts {
  const projectNumber = idOf(instance, 'project_number');
  const instanceId = idOf(instance, 'instance_id');
  const known = typeof email === 'string' ? { serviceAccount: email } : {};
  return {
    node: `${projectNumber}/${instanceId}`,
    attributes: {
      projectId: idOf(instance, 'project_id'),
      projectNumber,
      zone: idOf(instance, 'zone'),
      instanceId,
      instanceName: idOf(instance, 'instance_name'),
      ...known,
    },
    exclusive: false,
  };
}

/** Google writes numbers of projects as numbers and of instances as strings. */
function idOf(instance: JsonObject, name: string): string {
  const value = instance[name];
  const text = Number.isSafeInteger(value) ? String(value) : value;
  ensure(typeof text === 'string' && text !== '', 'claim_rule', `google.compute_engine.${name} is missing`);
  return text;
}

function ensureAllowed(
  attributes: Facts['attributes'],
  { projects, zones, serviceAccounts }: GcpConfig,
): void {
  const { projectId = '', projectNumber = '', zone = '', serviceAccount = '' } = attributes;
  const known = projects.includes(projectId) || projects.includes(projectNumber);
  ensure(
    known,
    'claim_rule',
    `project ${projectId} (${projectNumber}) is not allowed, only ${projects.join(', ')}`,
  );
  ensure(
    zones?.includes(zone) ?? true,
    'claim_rule',
    `zone ${zone} is not allowed, only ${zones?.join(', ')}`,
  );
  const account = serviceAccounts?.includes(serviceAccount) ?? true;
  ensure(account, 'claim_rule', `service account "${serviceAccount}" is not allowed`);
}
