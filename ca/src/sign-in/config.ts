/** Where operators sign in, and which claims give which role. */
import { address } from '@chancery/shared/outbound/address.ts';
import { ResourceName } from '@chancery/shared/policy/resources/fields.ts';
import { z } from 'zod';
import { ALGORITHMS } from '../tokens/jwt.ts';

/** Issuers with one name for many organisations: anybody may have an account there. */
const MANY_TENANTS = /\/(common|organizations|consumers)(\/|$)/;
/** Claims with a name that is given to somebody else later, or that the person has chosen. */
const REASSIGNED = new Set(['email', 'upn', 'preferred_username', 'unique_name', 'name', 'nickname']);

const RoleRule = z
  .strictObject({
    claim: z
      .array(z.string().min(1).max(128))
      .min(1)
      .max(8)
      .refine((path) => !REASSIGNED.has(path.at(-1) ?? ''), {
        error: 'a role is given by groups or by sub, never by an address or a name: others may get it later',
      })
      .describe(
        'Path of a claim with a string or a list of strings, for instance [groups] or [realm_access, roles].',
      ),
    values: z.array(z.string().min(1)).min(1).describe('One of these gives the role; compared exactly.'),
    role: z.enum(['reader', 'operator', 'owner']).describe('operator includes reader.'),
    servers: z
      .array(ResourceName)
      .min(1)
      .optional()
      .describe('Of an owner: the McpServers that it is an owner of.'),
  })
  .refine(({ role, servers }) => (role === 'owner') === (servers !== undefined), {
    path: ['servers'],
    error: 'servers belong to the role owner, and to no other',
  });

export const OperatorsConfig = z.strictObject({
  issuer: address
    .refine(
      (text) => !MANY_TENANTS.test(text),
      'an issuer of one organisation is needed: its own tenant, by its ID',
    )
    .describe("The iss of operators' ID tokens, exactly."),
  clientId: z
    .string()
    .min(1)
    .max(256)
    .describe('The public client that is registered there; the aud of its tokens.'),
  roles: z.array(RoleRule).min(1).describe('Who has which role; nobody else is an operator.'),
  algorithms: z.array(z.enum(ALGORITHMS)).min(1).default(['RS256']).describe('How ID tokens may be signed.'),
  twoPeople: z
    .boolean()
    .default(false)
    .describe('Whether what needs a fresh sign-in needs a second operator, too: chancery-ca countersign.'),
  ca: z.string().min(1).optional().describe("PEM file of the issuer's own roots. Relative to this file."),
});
export type OperatorsConfig = z.infer<typeof OperatorsConfig>;
