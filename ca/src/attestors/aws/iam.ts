/**
 * AWS, by asking STS. Proves that the caller had the credentials of an IAM principal of a configured account within the
 * last minutes, and signed for this key in this exchange. The agent sends values and not a request: the CA writes the
 * request itself, so only the CA chooses what is asked, and where. It does not prove on which machine the credentials
 * were used.
 */
import { ENDPOINTS, partitionOf, stsHost } from '@chancery/shared/aws/hosts.ts';
import { credentialScope } from '@chancery/shared/aws/sign.ts';
import { packStsQuestion, type StsAnswer, unpackStsAnswer } from '@chancery/shared/evidence/aws-iam.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { address } from '@chancery/shared/outbound/address.ts';
import { z } from 'zod';
import type { Attestor, AttestorDeps, AttestorKind, Facts, Turn } from '../attestor.ts';
import { matchesSegments } from '../segments.ts';
import { account, arnPatterns, patternsOutside } from './config.ts';
import { OrganizationConfig, organizationsOf } from './organizations.ts';
import { askSts, type CallerIdentity, type SignedCall } from './sts.ts';

/** The principals that GetCallerIdentity can return. */
const KINDS = ['assumed-role', 'user', 'federated-user', 'root'] as const;

export const AwsIamConfig = z
  .strictObject({
    accounts: z.array(account).min(1).describe('The accounts whose principals may join, in quotes.'),
    regions: z
      .array(
        z.string().refine((region) => partitionOf(region) !== undefined, {
          error: ({ input }) =>
            `"${input}" is not a region: write those whose STS agents may use, such as eu-west-1`,
        }),
      )
      .min(1)
      .describe('The regions whose STS the CA may ask; the agent names one of them.'),
    endpoints: z.enum(ENDPOINTS).default('standard').describe("Which endpoint of a region's STS is called."),
    principals: z
      .array(z.enum(KINDS))
      .min(1)
      .default(['assumed-role'])
      .describe(
        'Which kinds of principals may join. Machines have roles; all others have keys that somebody keeps.',
      ),
    arns: arnPatterns(KINDS),
    organization: OrganizationConfig.optional(),
    endpoint: address
      .optional()
      .describe(
        "Where to connect instead of the region's host, such as a VPC endpoint: with that host's certificate.",
      ),
  })
  .superRefine(({ accounts, arns }, context) => {
    for (const pattern of patternsOutside(arns, accounts))
      context.addIssue({
        code: 'custom',
        path: ['arns'],
        message: `${pattern} is of an account that is not listed`,
      });
  });
export type AwsIamConfig = z.infer<typeof AwsIamConfig>;

export const awsIamKind: AttestorKind<AwsIamConfig> = {
  type: 'aws-iam',
  says: 'AWS principals by a signed GetCallerIdentity request that the CA sends to STS.',
  schema: AwsIamConfig,
  create: awsIamAttestor,
};

/** STS allows 15 minutes. The nonce in the binding is the real bound; this one catches wrong clocks. */
const MAX_SKEW_SECONDS = 300;

/** Asks STS once for each attestation, and AWS Organizations if it is configured. */
export function awsIamAttestor(config: AwsIamConfig, deps: AttestorDeps): Attestor {
  const organizations = config.organization && organizationsOf(config.organization, deps);
  return {
    type: 'aws-iam',
    async attest(opening, turn) {
      ensure(opening.length === 0, 'evidence_parse', 'the first message of aws-iam must be empty');
      const answer = unpackStsAnswer(await turn.challenge(packStsQuestion(config.endpoints)));
      const call = signedCall(answer, config, turn);
      const caller = await askSts(call, config.endpoint ?? `https://${call.host}`, deps.outbound);
      ensureAllowed(caller, answer.region, config);
      return factsOf(caller, await organizations?.pathOf(caller.account, turn.now()));
    },
  };
}

/**
 * Checks every value of the agent before it goes into a request: it must be one of a fixed list, or of one exact form.
 */
function signedCall(answer: StsAnswer, config: AwsIamConfig, turn: Turn): SignedCall {
  const { region, date, credential, sessionToken, signature } = answer;
  const host = config.regions.includes(region) ? stsHost(region, config.endpoints) : undefined;
  ensure(host !== undefined, 'sts_host', 'the region is not configured');
  ensureRecent(date, turn.now());
  const [accessKeyId = '', ...scope] = credential.split('/');
  ensure(/^[A-Z0-9]{16,128}$/.test(accessKeyId), 'sts_scope', 'the access key id has another form');
  const expected = credentialScope({ service: 'sts', region, date });
  ensure(scope.join('/') === expected, 'sts_scope', `the credential is not scoped to ${expected}`);
  ensure(
    /^[!-~]*$/.test(sessionToken),
    'sts_header',
    'the session token has characters that a header value must not have',
  );
  ensure(signature.length === 32, 'evidence_parse', `a signature has 32 bytes, not ${signature.length}`);
  const token = sessionToken === '' ? undefined : sessionToken;
  return { host, date, credential, sessionToken: token, binding: turn.binding, signature };
}

function ensureRecent(date: string, now: Date): void {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date) ?? [];
  const seconds = (now.getTime() - Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`)) / 1000;
  ensure(!Number.isNaN(seconds), 'sts_date', 'X-Amz-Date is not a time');
  const most = `at most ${MAX_SKEW_SECONDS} s are accepted`;
  ensure(seconds <= MAX_SKEW_SECONDS, 'sts_date', `signed ${Math.round(seconds)} s ago, ${most}`);
  ensure(seconds >= -MAX_SKEW_SECONDS, 'sts_date', `signed ${Math.round(-seconds)} s from now, ${most}`);
}

function ensureAllowed(caller: CallerIdentity, region: string, config: AwsIamConfig): void {
  const { kind, account, arn } = caller;
  ensure(
    caller.partition === partitionOf(region),
    'sts_response',
    `an ARN of another partition than ${region}`,
  );
  ensure(config.accounts.includes(account), 'arn_policy', `account ${account} is not listed`);
  const kinds: readonly string[] = config.principals;
  ensure(kinds.includes(kind), 'principal_kind', `the caller is of the kind ${kind}`);
  const matches = config.arns?.some((pattern) => matchesSegments(pattern, arn)) ?? true;
  ensure(matches, 'arn_policy', `${arn} matches none of the patterns`);
}

/** The session's name is no attribute: the caller that assumes a role chooses it. */
function factsOf(caller: CallerIdentity, organization: readonly string[] | undefined): Facts {
  const { partition, account, kind, name, uniqueId, arn } = caller;
  const own: Readonly<Record<string, string>> =
    kind === 'assumed-role'
      ? { role: name, roleId: uniqueId }
      : kind === 'user'
        ? { user: name, userId: uniqueId }
        : {};
  return {
    node: kind === 'federated-user' ? `${account}/federated-user/${name}` : `${account}/${uniqueId}`,
    attributes: {
      partition,
      account,
      principal: kind,
      arn,
      ...own,
      ...organizationOf(organization),
    },
    exclusive: false,
  };
}

/** As AWS writes such a path: "o-abc1234567/r-ab12/ou-ab12-11111111/". */
function organizationOf(path: readonly string[] | undefined): Readonly<Record<string, string>> {
  const [organization, ...more] = path ?? [];
  if (organization === undefined) return {};
  return more.length === 0 ? { organization } : { organization, organizationPath: `${path?.join('/')}/` };
}
