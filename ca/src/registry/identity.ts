/** `kind: Identity`: the rule by which one platform's facts earn a SPIFFE ID. */
import { parseDuration } from '@chancery/shared/duration.ts';
import { ensure } from '@chancery/shared/errors.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { z } from 'zod';
import { type Condition, compileCondition } from './condition.ts';
import { compileTemplate, type Template } from './template.ts';

/** A label of RFC 1123 or several joined by dots. A wildcard has no place in an issued name. */
const DNS_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const DEFAULT_TTL = '1h';
const MIN_TTL_SECONDS = 5;
/** Half of an issuing authority's default life, so that no certificate is cut short by its issuer's end. */
const MAX_TTL_SECONDS = 86_400;

export const IdentityResource = z.strictObject({
  kind: z.literal('Identity'),
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'lower-case letters, digits and dashes, at most 63')
    .describe('Unique among identities; where several are earned, the first by name is the default.'),
  platform: z.string().min(1).describe("The attestor's name in the CA's config."),
  id: z.string().describe('The SPIFFE ID; {attribute} stands for an attested attribute of the platform.'),
  when: z
    .string()
    .optional()
    .describe('A CEL condition over the attributes; an error or a non-boolean is a no.'),
  x509: z
    .strictObject({
      ttl: z.string().default(DEFAULT_TTL).describe('Lifetime of the certificate.'),
      dnsNames: z.array(z.string()).max(16).default([]).describe('DNS names; {attribute} as in id.'),
      keyReuse: z
        .boolean()
        .default(false)
        .describe('Whether a renewal may keep its key, as one that lives in a TPM does.'),
    })
    .prefault({})
    .describe('The certificate.'),
});
export type IdentityResource = z.infer<typeof IdentityResource>;

/** What an attestor proved, with the platform's name on it. */
export interface PlatformFacts {
  readonly platform: string;
  readonly node: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** What facts earned. */
export interface Earned {
  readonly identity: string;
  readonly id: SpiffeId;
  readonly ttlSeconds: number;
  readonly dnsNames: readonly string[];
  readonly keyReuse: boolean;
}

export interface Identity {
  readonly name: string;
  readonly platform: string;
  /** Throws no_identity with the first term that failed. */
  earn(facts: PlatformFacts): Earned;
  /** How many terms hold, so that the nearest miss can be told. */
  nearness(facts: PlatformFacts): number;
}

/** Throws resource, config or spiffe_id with what was expected. */
export function compileIdentity(resource: IdentityResource, trustDomain: TrustDomain): Identity {
  const id = compileId(resource.id, trustDomain);
  const ttlSeconds = parseDuration(resource.x509.ttl);
  ensure(
    ttlSeconds >= MIN_TTL_SECONDS && ttlSeconds <= MAX_TTL_SECONDS,
    'resource',
    `x509.ttl must be between ${MIN_TTL_SECONDS}s and ${MAX_TTL_SECONDS / 86_400}d; found ${resource.x509.ttl}`,
  );
  const names = resource.x509.dnsNames.map(compileDnsName);
  const when = resource.when === undefined ? undefined : compileCondition(resource.when);
  const { name, platform } = resource;
  return {
    name,
    platform,
    earn: (facts) => {
      ensure(
        facts.platform === platform,
        'no_identity',
        `${name} is for platform ${platform}, not ${facts.platform}`,
      );
      ensureHolds(name, when, facts);
      const earned = parseSpiffeId(filled(`${name}: id`, id, facts));
      const dnsNames = names.map((each) => dnsName(name, each, facts));
      return { identity: name, id: earned, ttlSeconds, dnsNames, keyReuse: resource.x509.keyReuse };
    },
    nearness: (facts) => {
      if (facts.platform !== platform) return 0;
      return when === undefined || when.holds(facts.attributes) === true ? 2 : 1;
    },
  };
}

/** A template that no attributes could fill to a SPIFFE ID of this trust domain is refused now, not at each join. */
function compileId(text: string, trustDomain: TrustDomain): Template {
  const template = compileTemplate(text);
  const start = `spiffe://${trustDomain}/`;
  ensure(
    text.startsWith(start),
    'resource',
    `id must start with ${start}, the trust domain of this CA; found ${text}`,
  );
  parseSpiffeId(template.sample);
  return template;
}

function compileDnsName(text: string): Template {
  const template = compileTemplate(text);
  ensure(DNS_NAME.test(template.sample), 'resource', `x509.dnsNames: "${text}" is no DNS name`);
  return template;
}

function ensureHolds(name: string, when: Condition | undefined, facts: PlatformFacts): void {
  if (when === undefined) return;
  const answer = when.holds(facts.attributes);
  const why = typeof answer === 'string' ? answer : `is ${answer}`;
  ensure(answer === true, 'no_identity', `${name}: when (${when.source}) ${why}`);
}

function dnsName(name: string, template: Template, facts: PlatformFacts): string {
  const text = filled(`${name}: dnsNames`, template, facts);
  ensure(DNS_NAME.test(text), 'no_identity', `${name}: "${text}" is not a DNS name`);
  return text;
}

function filled(what: string, template: Template, { attributes }: PlatformFacts): string {
  const missing = template.missing(attributes);
  ensure(
    missing === undefined,
    'no_identity',
    `${what} needs {${missing}}, which is not attested or not letters, digits, ".", "_" and "-"`,
  );
  return template.fill(attributes);
}
