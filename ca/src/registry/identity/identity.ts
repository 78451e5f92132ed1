/** `kind: Identity`: the rule by which one platform's facts earn a SPIFFE ID. */
import { parseDuration } from '@chancery/shared/config/duration.ts';
import { attributePrefix, isPlatformName } from '@chancery/shared/evidence/platform.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { type Condition, compileCondition } from '@chancery/shared/policy/condition/condition.ts';
import { Owner, ResourceName } from '@chancery/shared/policy/resources/fields.ts';
import { endOf, ReviewBy, Until } from '@chancery/shared/policy/resources/until.ts';
import {
  isAttributeName,
  isAttributeValue,
  MAX_ATTRIBUTES,
  MAX_VALUE_BYTES,
} from '@chancery/shared/spiffe/attested.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { isReserved } from '@chancery/shared/spiffe/reserved.ts';
import { z } from 'zod';
import { type Facts, provenBy, type Scope, scopeOf } from './facts.ts';
import { compileTemplate, ensureNamesKind, type Template } from './template.ts';

/** A label of RFC 1123 or several joined by dots. A wildcard has no place in an issued name. */
const DNS_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const DEFAULT_TTL = '1h';
const MIN_TTL_SECONDS = 5;
/** Half of an issuing authority's default life, so that no certificate is cut short by its issuer's end. */
const MAX_TTL_SECONDS = 86_400;

export const IdentityResource = z.strictObject({
  kind: z.literal('Identity'),
  name: ResourceName.describe(
    'Unique among identities; if several are earned, the first by name is the default.',
  ),
  platform: z
    .string()
    .min(1)
    .optional()
    .describe("The attestor's name in the CA's config; this or platforms."),
  platforms: z
    .array(z.string().min(1))
    .min(2)
    .max(4)
    .optional()
    .describe('Attestors that must all pass in one exchange.'),
  id: z.string().describe('The SPIFFE ID; {attribute}, or {kind.attribute}, is replaced by a proven value.'),
  when: z
    .string()
    .optional()
    .describe(
      'A CEL condition over attribute and kind.attribute; an error or a non-boolean counts as false.',
    ),
  x509: z
    .strictObject({
      ttl: z.string().default(DEFAULT_TTL).describe('Lifetime of the certificate.'),
      dnsNames: z.array(z.string()).max(16).default([]).describe('DNS names; {attribute} as in id.'),
      keyReuse: z
        .boolean()
        .default(false)
        .describe('Whether a renewal may keep its key, as one that lives in a TPM does.'),
      // Without a default: resources that an older release has stored are not changed by their next apply.
      crl: z
        .boolean()
        .optional()
        .describe('Whether it names the list (CRL) of its issuer, where the CA has crl.url (default: true).'),
      attributes: z
        .array(z.string())
        .min(1)
        .max(MAX_ATTRIBUTES)
        .optional()
        .describe('Attested attributes, or kind.attribute, that it says; `when` of rules may read them.'),
    })
    .prefault({})
    .describe('The certificate.'),
  owner: Owner,
  until: Until,
  reviewBy: ReviewBy,
});
export type IdentityResource = z.infer<typeof IdentityResource>;

/** What facts earned. */
export interface Earned {
  readonly identity: string;
  readonly id: SpiffeId;
  readonly ttlSeconds: number;
  readonly dnsNames: readonly string[];
  readonly keyReuse: boolean;
  /** Whether the certificate names the list of its issuer, where the CA says where lists are. */
  readonly crl: boolean;
  /** What the certificate says, by `kind.name`; of what it is to say, what is attested. */
  readonly attributes: ReadonlyMap<string, string>;
  /** The end of the identity: no certificate outlives it. */
  readonly notBeyond?: Date;
}

export interface Identity {
  readonly name: string;
  /** The attestors that it demands. */
  readonly platforms: readonly string[];
  /** Throws no_identity with the first term that failed. */
  earn(facts: Facts): Earned;
  /** Whether some attributes would earn this SPIFFE ID. */
  canGive(id: string): boolean;
  /** How many terms hold, so that the nearest miss can be told. */
  nearness(facts: Facts): number;
  /** Whether platforms and condition hold; the template may still lack an attribute. */
  fits(facts: Facts): boolean;
}

/** Throws resource, config or spiffe_id with what was expected. */
export function compileIdentity(resource: IdentityResource, trustDomain: TrustDomain): Identity {
  const platforms = demandedBy(resource);
  const id = compileId(resource.id, { trustDomain, platforms });
  const ttlSeconds = parseDuration(resource.x509.ttl);
  ensure(
    ttlSeconds >= MIN_TTL_SECONDS && ttlSeconds <= MAX_TTL_SECONDS,
    'resource',
    `x509.ttl must be between ${MIN_TTL_SECONDS}s and ${MAX_TTL_SECONDS / 86_400}d; found ${resource.x509.ttl}`,
  );
  const names = resource.x509.dnsNames.map((text) => compileDnsName(text, platforms));
  const travelling = travellingOf(resource.x509.attributes ?? [], platforms);
  const when = resource.when === undefined ? undefined : compileCondition(resource.when);
  const { name } = resource;
  const end = endOf(resource);
  const fits = (facts: Facts): boolean => {
    const proven = provenBy(facts);
    if (!platforms.every((platform) => proven.includes(platform))) return false;
    return when === undefined || when.holds(scopeOf(facts, platforms).variables) === true;
  };
  return {
    name,
    platforms,
    canGive: id.canGive,
    earn: (facts) => {
      const proven = provenBy(facts);
      const all = platforms.every((platform) => proven.includes(platform));
      const needs = `${name} is for platform ${platforms.join(' and ')}`;
      ensure(all, 'no_identity', `${needs}, not ${proven.join(' and ')}`);
      const scope = scopeOf(facts, platforms);
      ensureHolds(name, when, scope);
      const earned = parseSpiffeId(filled(`${name}: id`, id, scope));
      // Others than the operator may name machines and groups, and so choose attributes.
      ensure(
        !isReserved(earned),
        'no_identity',
        `${name}: ${earned} is reserved for the trust domain itself`,
      );
      const dnsNames = names.map((each) => dnsName(name, each, scope));
      const { keyReuse, crl = true } = resource.x509;
      const attributes = attributesOf(name, travelling, scope);
      const given = { identity: name, id: earned, ttlSeconds, dnsNames, keyReuse, crl, attributes };
      return { ...given, ...(end && { notBeyond: end }) };
    },
    fits,
    nearness: (facts) => {
      const proven = provenBy(facts);
      const held = platforms.filter((platform) => proven.includes(platform)).length;
      if (held < platforms.length) return held / platforms.length;
      return fits(facts) ? 2 : 1;
    },
  };
}

/** Throws resource. */
function demandedBy({ platform, platforms = [] }: IdentityResource): readonly string[] {
  const both = platform !== undefined && platforms.length > 0;
  ensure(!both, 'resource', 'write platform for one attestor or platforms for several, not both');
  const demanded = platform === undefined ? platforms : [platform];
  ensure(demanded.length > 0, 'resource', 'platform is missing: the name of an attestor in the CA’s config');
  for (const name of demanded)
    ensure(isPlatformName(name), 'resource', `"${name}" is not the name of a platform`);
  const kinds = new Set(demanded.map(attributePrefix));
  ensure(
    kinds.size === demanded.length,
    'resource',
    `platforms: two of ${demanded.join(', ')} are of one kind`,
  );
  return demanded;
}

/** A template that no attributes could fill to a SPIFFE ID of this trust domain is refused now, not at each join. */
function compileId(
  text: string,
  { trustDomain, platforms }: { trustDomain: TrustDomain; platforms: readonly string[] },
): Template {
  const template = compileTemplate(text, platforms);
  const start = `spiffe://${trustDomain}/`;
  ensure(
    text.startsWith(start),
    'resource',
    `id must start with ${start}, the trust domain of this CA; found ${text}`,
  );
  parseSpiffeId(template.sample);
  return template;
}

function compileDnsName(text: string, platforms: readonly string[]): Template {
  const template = compileTemplate(text, platforms);
  ensure(DNS_NAME.test(template.sample), 'resource', `x509.dnsNames: "${text}" is no DNS name`);
  return template;
}

function ensureHolds(name: string, when: Condition | undefined, scope: Scope): void {
  if (when === undefined) return;
  const answer = when.holds(scope.variables);
  const why = typeof answer === 'string' ? answer : `is ${answer}`;
  ensure(answer === true, 'no_identity', `${name}: when (${when.source}) ${why}`);
}

function dnsName(name: string, template: Template, scope: Scope): string {
  const text = filled(`${name}: dnsNames`, template, scope);
  ensure(DNS_NAME.test(text), 'no_identity', `${name}: "${text}" is not a DNS name`);
  return text;
}

function filled(what: string, template: Template, scope: Scope): string {
  const missing = template.missing(scope);
  ensure(
    missing === undefined,
    'no_identity',
    `${what} needs {${missing}}, which is not attested or not letters, digits, ".", "_" and "-"`,
  );
  return template.fill(scope);
}

/** By their full names. Throws resource. */
function travellingOf(names: readonly string[], platforms: readonly string[]): readonly string[] {
  const full = names.map((name) => {
    ensureNamesKind(name, platforms);
    return name.includes('.') ? name : `${attributePrefix(platforms[0] ?? '')}.${name}`;
  });
  const odd = full.find((name) => !isAttributeName(name));
  ensure(odd === undefined, 'resource', `x509.attributes: "${odd}" is not the name of an attribute`);
  ensure(new Set(full).size === full.length, 'resource', 'x509.attributes names an attribute twice');
  return full;
}

/** What is not attested is left out. Throws no_identity for a value that a certificate cannot have. */
function attributesOf(name: string, names: readonly string[], scope: Scope): ReadonlyMap<string, string> {
  const given = new Map<string, string>();
  for (const each of names) {
    const value = scope.valueOf(each);
    if (value === undefined) continue;
    const says = `${name}: x509.attributes: ${each} is empty, longer than ${MAX_VALUE_BYTES} bytes or not text`;
    ensure(isAttributeValue(value), 'no_identity', says);
    given.set(each, value);
  }
  return given;
}
