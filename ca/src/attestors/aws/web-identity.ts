/**
 * AWS, by a token that STS signs (sts:GetWebIdentityToken). Proves that an IAM principal of a configured account asked
 * AWS within the last minutes for a token for this exchange. The CA verifies it with the account's keys, without asking
 * AWS. It does not prove on which machine, except for what AWS itself says of the session.
 */
import { PARTITION_NAMES } from '@chancery/shared/aws/hosts.ts';
import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { address } from '@chancery/shared/outbound/address.ts';
import { z } from 'zod';
import type { Claims } from '../../tokens/claims.ts';
import { type KeySet, keySetFrom } from '../../tokens/jwks.ts';
import { peekClaims, verifyToken } from '../../tokens/jwt.ts';
import { type Attestor, type AttestorDeps, type AttestorKind, type Facts, inFileOf } from '../attestor.ts';
import { matchesSegments } from '../segments.ts';
import { type PrincipalArn, parsePrincipalArn } from './arn.ts';
import { account, arnPatterns, organizationalUnit, organizationId, patternsOutside } from './config.ts';

/** The principals whose ARN can be a token's `sub`. */
const KINDS = ['role', 'user', 'root', 'federated-user'] as const;

/** Attributes that this attestor proves itself. No tag may have such a name. */
const OWN_ATTRIBUTES = ['partition', 'account', 'principal', 'arn', 'role', 'user', 'organization'];
const MORE_ATTRIBUTES = ['organizationPath', 'instanceArn', 'functionArn'];

export const AwsWebIdentityConfig = z
  .strictObject({
    issuers: z
      .array(
        z.strictObject({
          url: address.describe('`iss` of the tokens, exactly: https://...tokens.sts.global.api.aws.'),
          account: account.describe('The account of this issuer, in quotes.'),
          partition: z
            .enum(PARTITION_NAMES)
            .default('aws')
            .describe(
              "The account's partition: `aws` but in China, GovCloud and the European Sovereign Cloud.",
            ),
          jwks: z
            .string()
            .min(1)
            .optional()
            .describe("File with the issuer's keys, instead of discovery. Relative to this file."),
        }),
      )
      .min(1)
      .describe('The accounts whose principals may join; each has its own issuer.'),
    principals: z
      .array(z.enum(KINDS))
      .min(1)
      .default(['role'])
      .describe('Which kinds of principals may join.'),
    arns: arnPatterns(KINDS),
    tags: z
      .record(
        z
          .string()
          .regex(/^[a-z][a-zA-Z0-9]{0,63}$/, 'an attribute is written like costCenter')
          .refine((name) => ![...OWN_ATTRIBUTES, ...MORE_ATTRIBUTES].includes(name), {
            error: ({ input }) => `"${input}" is an attribute that AWS proves itself: write another name`,
          }),
        z.string().min(1).max(128),
      )
      .default({})
      .describe(
        'Attributes from principal tags: `costCenter: cost-center`. Session tags pass for principal tags.',
      ),
    organization: z
      .strictObject({
        id: organizationId.describe('The organisation that the account must be in.'),
        units: z
          .array(organizationalUnit)
          .min(1)
          .optional()
          .describe('The account must be below one of these.'),
      })
      .optional()
      .describe('What the token must say about the account.'),
  })
  .superRefine(({ issuers, arns }, context) => {
    const accounts = issuers.map((issuer) => issuer.account);
    for (const pattern of patternsOutside(arns, accounts))
      context.addIssue({
        code: 'custom',
        path: ['arns'],
        message: `${pattern} is of an account that is not listed`,
      });
    const urls = issuers.map(({ url }) => url);
    for (const twice of urls.filter((url, at) => urls.indexOf(url) !== at))
      context.addIssue({ code: 'custom', path: ['issuers'], message: `${twice} is listed twice` });
  });
export type AwsWebIdentityConfig = z.infer<typeof AwsWebIdentityConfig>;

export const awsWebIdentityKind: AttestorKind<AwsWebIdentityConfig> = {
  type: 'aws-web-identity',
  says: 'AWS principals by signed web identity tokens: checked by the keys of the account, without asking AWS.',
  schema: AwsWebIdentityConfig,
  create: awsWebIdentityAttestor,
};

interface Issuer {
  readonly url: string;
  readonly account: string;
  readonly partition: string;
  readonly keys: KeySet;
}

const ALGORITHMS = ['ES384', 'RS256'] as const;
/** Agents ask for 60 seconds. */
const MAX_LIFETIME_SECONDS = 300;
/** The claim with what AWS itself says. `request_tags` beside it is what the caller says: it is not read. */
const AWS = 'https://sts.amazonaws.com/';

/** Throws config if a file of keys cannot be used. */
export function awsWebIdentityAttestor(config: AwsWebIdentityConfig, deps: AttestorDeps): Attestor {
  const issuers = new Map(
    config.issuers.map(({ url, account, partition, jwks }): [string, Issuer] => {
      const keys =
        jwks === undefined
          ? keySetFrom({ discover: url }, deps)
          : inFileOf({ ...deps, type: 'aws-web-identity' }, jwks, (read) => keySetFrom({ jwks: read }, deps));
      return [url, { url, account, partition, keys }];
    }),
  );
  return {
    type: 'aws-web-identity',
    async attest(opening, turn) {
      ensure(opening.length === 0, 'evidence_parse', 'the first message of aws-web-identity must be empty');
      const token = await turn.challenge(new Uint8Array());
      const { iss } = peekClaims(token);
      const issuer = typeof iss === 'string' ? issuers.get(iss) : undefined;
      ensure(issuer !== undefined, 'issuer_unknown', 'the token is of an issuer that is not listed');
      const rules = {
        issuer: issuer.url,
        audience: audienceOf(deps.trustDomain, turn.binding),
        algorithms: ALGORITHMS,
        keys: issuer.keys,
        maxLifetimeSeconds: MAX_LIFETIME_SECONDS,
      };
      const claims = await verifyToken(token, rules, turn.now());
      const principal = principalOf(claims, issuer);
      ensureAllowed(principal, claims, config);
      return factsOf(principal, claims, config);
    },
  };
}

/** An issuer may speak for its own account only, whatever its tokens say. */
function principalOf(claims: Claims, { account, partition }: Issuer): PrincipalArn {
  const said = claims.string(AWS, 'aws_account');
  ensure(
    said === account,
    'issuer_account',
    `the token is of account ${said.slice(0, 20)}, its issuer of ${account}`,
  );
  const principal = parsePrincipalArn(claims.subject, 'claim_rule');
  ensure(
    principal.account === account,
    'issuer_account',
    `sub is of account ${principal.account}, its issuer of ${account}`,
  );
  ensure(
    principal.partition === partition,
    'issuer_account',
    `sub is of partition ${principal.partition}, its issuer of ${partition}`,
  );
  return principal;
}

function ensureAllowed({ kind, arn }: PrincipalArn, claims: Claims, config: AwsWebIdentityConfig): void {
  const kinds: readonly string[] = config.principals;
  ensure(kinds.includes(kind), 'principal_kind', `the caller is of the kind ${kind}`);
  const matches = config.arns?.some((pattern) => matchesSegments(pattern, arn)) ?? true;
  ensure(matches, 'arn_policy', `${arn} matches none of the patterns`);
  const { organization } = config;
  if (organization === undefined) return;
  const { id, units } = organization;
  ensure(
    claims.find(AWS, 'org_id') === id,
    'aws_organization',
    `AWS does not say that the account is in ${id}`,
  );
  const path = claims.find(AWS, 'ou_path');
  const above = typeof path === 'string' ? path.split('/') : [];
  const below = units?.some((unit) => above.includes(unit)) ?? true;
  ensure(below, 'aws_organization', 'AWS does not say that the account is below one of the units');
}

function factsOf(
  { partition, account, kind, name, arn }: PrincipalArn,
  claims: Claims,
  config: AwsWebIdentityConfig,
): Facts {
  const aws = (claim: string): string | undefined => textOf(claims, AWS, claim);
  const tags = Object.entries(config.tags).map(([attribute, tag]) => [
    attribute,
    textOf(claims, AWS, 'principal_tags', tag),
  ]);
  const said = {
    role: kind === 'role' ? name : undefined,
    user: kind === 'user' ? name : undefined,
    organization: aws('org_id'),
    organizationPath: aws('ou_path'),
    instanceArn: aws('ec2_source_instance_arn'),
    functionArn: aws('lambda_source_function_arn'),
    ...Object.fromEntries(tags),
  };
  const present = Object.entries(said).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return {
    node: `${account}/${arn.split(':').slice(5).join(':')}`,
    attributes: { partition, account, principal: kind, arn, ...Object.fromEntries(present) },
    exclusive: false,
  };
}

/** A claim of another type counts as missing. */
function textOf(claims: Claims, ...path: readonly string[]): string | undefined {
  const value = claims.find(...path);
  return typeof value === 'string' && value !== '' ? value : undefined;
}
