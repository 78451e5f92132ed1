/** The `oidc` attestor's config, and the rules that it becomes. */

import { duration } from '@chancery/shared/config/schema.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { address } from '@chancery/shared/outbound/address.ts';
import { z } from 'zod';
import type { Claims } from '../../tokens/claims.ts';
import { ALGORITHMS } from '../../tokens/jwt.ts';
import { PRESETS } from './presets.ts';
import { compileRules, type Rule, textOf } from './rules.ts';

const claim = z.string().regex(/^[\w.:/-]{1,128}$/, 'a claim is letters, digits, "_", "-", ".", ":" and "/"');
const LONGEST_SECONDS = 86_400;

export const OidcConfig = z.strictObject({
  preset: z
    .enum(['github', 'gitlab'])
    .optional()
    .describe('An issuer whose tokens are known: its address, attributes and what it refuses by default.'),
  issuer: address
    .optional()
    .describe("The tokens' iss, exactly; needed without a preset, or for a self-managed GitHub or GitLab."),
  audience: z
    .string()
    .min(1, 'an empty audience would accept tokens for anybody: leave the key out, or write one of your own')
    .optional()
    .describe(
      'For issuers whose jobs cannot choose it: such a token is accepted with the first key that it comes with.',
    ),
  claims: z
    .record(claim, z.array(z.string().min(1)).min(1))
    .refine(
      (rules) => Object.keys(rules).length > 0,
      'say whose tokens are accepted, for instance repository_id: ["1"]',
    )
    .describe('Claims by name, each with the allowed values; "*" is part of a segment between "/" or ":".'),
  attributes: z
    .record(z.string().regex(/^[a-z][a-zA-Z0-9]{0,63}$/, 'an attribute is camelCase'), claim)
    .default({})
    .describe("Attributes by name, each with its claim; beside the preset's."),
  node: z
    .array(claim)
    .min(1)
    .optional()
    .describe('Claims that together name one job and no other (default: sub).'),
  algorithms: z.array(z.enum(ALGORITHMS)).min(1).default(['RS256']).describe('How tokens may be signed.'),
  maxLifetime: duration('1h')
    .refine((seconds) => seconds <= LONGEST_SECONDS, 'a token lives at most a day')
    .describe('A token that lives longer is refused.'),
  jwks: z
    .string()
    .min(1)
    .optional()
    .describe('File with the keys, instead of asking the issuer. Relative to this file.'),
  jwksUri: address.optional().describe('Where the keys are, instead of what discovery says.'),
  ca: z.string().min(1).optional().describe("PEM file of the issuer's own roots. Relative to this file."),
});
export type OidcConfig = z.infer<typeof OidcConfig>;

/** The rules for a verified token, and the facts that it gives. */
export interface OidcPolicy {
  readonly issuer: string;
  /** Undefined if the audience carries the binding. */
  readonly audience: string | undefined;
  readonly maxLifetimeSeconds: number;
  /** Throws claim_rule. */
  check(claims: Claims): void;
  readonly attributes: Readonly<Record<string, string>>;
  readonly node: readonly string[];
}

/** `where` is its place in the config. Throws config. */
export function oidcPolicy(config: OidcConfig, trustDomain: string, where: string): OidcPolicy {
  const preset = config.preset && PRESETS[config.preset];
  const issuer = config.issuer ?? preset?.issuer;
  ensure(
    issuer !== undefined,
    'config',
    `${where}: issuer is missing; write one, or preset: github or gitlab`,
  );
  ensure(
    config.jwks === undefined || config.jwksUri === undefined,
    'config',
    `${where}: write jwks for a file or jwksUri for an address, not both`,
  );
  const rules = compileRules(config.claims);
  for (const [name, instead] of Object.entries(preset?.unfit ?? {}))
    ensure(!Object.hasOwn(config.claims, name), 'config', `${where}: claims.${name}: ${instead}`);
  const owned = preset?.owners.some((owner) => isLiteral(rules, owner)) ?? true;
  const owners = preset?.owners.join(' or ');
  ensure(
    owned,
    'config',
    `${where}: claims: ${owners} needs a value without "*", or the jobs of every customer are accepted`,
  );
  const fixed = preset?.choosesAudience === false ? `chancery://${trustDomain}` : undefined;
  return {
    issuer,
    audience: config.audience ?? fixed,
    maxLifetimeSeconds: config.maxLifetime,
    check: (claims) => {
      for (const rule of rules) rule.check(claims);
      for (const [name, refuses] of Object.entries(preset?.defaults ?? {})) {
        if (Object.hasOwn(config.claims, name)) continue;
        const value = textOf(claims.find(name));
        const why = value === undefined ? 'it is missing' : refuses(value, claims);
        ensure(why === undefined, 'claim_rule', `${name} is "${value?.slice(0, 200)}": ${why}`);
      }
    },
    attributes: { subject: 'sub', ...preset?.attributes, ...config.attributes },
    node: config.node ?? preset?.node ?? ['sub'],
  };
}

const isLiteral = (rules: readonly Rule[], claimName: string): boolean =>
  rules.some((rule) => rule.claim === claimName && rule.literal);
