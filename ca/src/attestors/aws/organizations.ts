/** The place of an account in its organization. Asks AWS Organizations with the CA's own credentials. */

import { boundedProvider } from '@chancery/shared/aws/bounded-provider.ts';
import {
  type AwsCredentials,
  amzDate,
  authorization,
  credentialScope,
  signPost,
} from '@chancery/shared/aws/sign.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import { address } from '@chancery/shared/outbound/address.ts';
import { z } from 'zod';
import type { AttestorDeps } from '../attestor.ts';
import { organizationalUnit, organizationId } from './config.ts';

export const OrganizationConfig = z
  .strictObject({
    id: organizationId.describe('The organisation that the account must be an active member of.'),
    units: z
      .array(organizationalUnit)
      .min(1)
      .optional()
      .describe('The account must be below one of these, at any depth.'),
    region: z
      .string()
      .regex(/^[a-z]{2,5}(-[a-z]+)+-\d$/, 'a region is, for instance, us-east-1')
      .default('us-east-1')
      .describe('Where Organizations is asked; cn-northwest-1 in China, us-gov-west-1 in GovCloud.'),
    endpoint: address.optional().describe("Where to ask instead of the service's own host."),
  })
  .describe("Asks AWS Organizations about each account, with the CA's own credentials; no answer means no.");
export type OrganizationConfig = z.infer<typeof OrganizationConfig>;

export interface Organizations {
  /** The organization and, if units are configured, the units between it and the account. Throws aws_organization. */
  pathOf(account: string, now: Date): Promise<readonly string[]>;
}

/** The service allows five levels of units below the root. */
const MAX_DEPTH = 6;
const TIMEOUT_MS = 5_000;
const LIMITS = { code: 'aws_organization', maxBytes: 64 * 1024, maxDepth: 6 } as const;

type Ask = (operation: string, input: object) => Promise<JsonObject>;

/** Asks the service every time, so that a moved account is checked by its new place. */
export function organizationsOf(config: OrganizationConfig, deps: AttestorDeps): Organizations {
  const credentials = ownCredentials();
  return {
    async pathOf(account, now) {
      const ask: Ask = async (operation, input) =>
        call({ operation, input, now }, await credentials(), { config, deps });
      try {
        await ensureMember(account, config, ask);
        if (config.units === undefined) return [config.id];
        const path = await unitsAbove(account, ask);
        const allowed = config.units.some((unit) => path.includes(unit));
        ensure(allowed, 'aws_organization', `account ${account} is below none of the units`);
        return [config.id, ...path];
      } catch (error) {
        // Fails closed: an account that cannot be looked up is in no organization.
        if (isRefusal(error, 'aws_organization')) throw error;
        const why = `Organizations could not be asked about account ${account}: ${messageOf(error)}`;
        throw new IdentityError('aws_organization', why, { cause: error });
      }
    },
  };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The SDK keeps credentials until shortly before their end. */
const ownCredentials = () =>
  boundedProvider(async () => {
    const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
    return defaultProvider({ ec2MetadataV1Disabled: true });
  });

/** arn:aws:organizations::MANAGEMENT-ACCOUNT:account/o-.../ACCOUNT. */
async function ensureMember(account: string, { id }: OrganizationConfig, ask: Ask): Promise<void> {
  const answer = objectIn(await ask('DescribeAccount', { AccountId: account }), 'Account');
  const [, organization, member] = text(answer, 'Arn').split(':').at(-1)?.split('/') ?? [];
  ensure(organization === id && member === account, 'aws_organization', `account ${account} is not in ${id}`);
  ensure(text(answer, 'State') === 'ACTIVE', 'aws_organization', `account ${account} is not active`);
}

/** From the root down. */
async function unitsAbove(account: string, ask: Ask): Promise<readonly string[]> {
  const path: string[] = [];
  for (let child = account; path.length < MAX_DEPTH; ) {
    const { Parents: parents } = await ask('ListParents', { ChildId: child });
    const [parent, ...more] = Array.isArray(parents) ? (parents as readonly Json[]) : [];
    ensure(
      isJsonObject(parent) && more.length === 0,
      'aws_organization',
      'an account or unit has one parent',
    );
    child = text(parent, 'Id');
    path.unshift(child);
    if (text(parent, 'Type') === 'ROOT') return path;
  }
  ensure(false, 'aws_organization', `more than ${MAX_DEPTH} levels above account ${account}`);
}

interface OrganizationsCall {
  readonly operation: string;
  readonly input: object;
  readonly now: Date;
}

async function call(
  { operation, input, now }: OrganizationsCall,
  credentials: AwsCredentials,
  { config, deps }: { config: OrganizationConfig; deps: AttestorDeps },
): Promise<JsonObject> {
  const suffix = config.region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
  const host = `organizations.${config.region}.${suffix}`;
  const date = amzDate(now);
  const headers = {
    'content-type': 'application/x-amz-json-1.1',
    host,
    'x-amz-date': date,
    ...(credentials.sessionToken === undefined ? {} : { 'x-amz-security-token': credentials.sessionToken }),
    'x-amz-target': `AWSOrganizationsV20161128.${operation}`,
  };
  const body = JSON.stringify(input);
  const scope = { service: 'organizations', region: config.region, date };
  const signature = signPost({ headers, body }, scope, credentials.secretAccessKey);
  const credential = `${credentials.accessKeyId}/${credentialScope(scope)}`;
  const reply = await deps.outbound.request({
    url: config.endpoint ?? `https://${host}`,
    method: 'POST',
    headers: { ...headers, authorization: authorization(credential, headers, signature) },
    body,
    timeoutMs: TIMEOUT_MS,
    maxBytes: LIMITS.maxBytes,
  });
  const answer = reply.status === 200 ? parseJson(reply.body, LIMITS) : undefined;
  ensure(
    answer !== undefined,
    'aws_organization',
    `Organizations answered ${operation} with ${reply.status}`,
  );
  return objectIn(answer);
}

function objectIn(value: Json, name?: string): JsonObject {
  const found = name === undefined || !isJsonObject(value) ? value : value[name];
  ensure(isJsonObject(found), 'aws_organization', `Organizations' answer has no ${name ?? 'object'}`);
  return found;
}

function text(object: JsonObject, name: string): string {
  const value = object[name];
  ensure(typeof value === 'string', 'aws_organization', `Organizations' answer has no ${name}`);
  return value;
}
