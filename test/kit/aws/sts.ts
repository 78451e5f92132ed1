/** A stand-in for one region's STS. docs/attestors/stand-ins.md says which of the service's rules it keeps. */

import { type Form, faultOf } from '../http/form.ts';
import { type Answer, type Received, type Served, type ServeOptions, serve } from '../http/served.ts';
import { AwsError, answerQuery, refuseQuery } from './aws-error.ts';
import type { Directory, Principal } from './directory.ts';
import { type Algorithm, answerAsIssuer, mintToken } from './issuer.ts';
import { authenticate } from './sigv4.ts';

export interface Sts extends Served {
  readonly region: string;
}

export interface StsOptions {
  readonly directory: Directory;
  readonly region?: string;
  /** The names it answers to, besides its address; a request for another host never reaches a real one. */
  readonly hosts?: readonly string[];
  /** sts.amazonaws.com: signs in us-east-1 and has no web identity tokens. */
  readonly global?: boolean;
  readonly now?: () => Date;
  readonly port?: number;
  readonly tls?: ServeOptions['tls'];
}

const VERSION = '2011-06-15';

export async function startSts(options: StsOptions): Promise<Sts> {
  const { directory, now = () => new Date(), global = false, port = 0, tls } = options;
  const region = options.region ?? (global ? 'us-east-1' : 'eu-west-1');
  const hosts = [...(options.hosts ?? [global ? 'sts.amazonaws.com' : `sts.${region}.amazonaws.com`])];
  const served = await serve(
    (received) => {
      const asJson = wantsJson(received);
      try {
        const fault = faultOf(received, formOf(received));
        if (fault?.status === 405) return { status: 405 };
        if (fault !== undefined) throw invalid(fault.says);
        const [host = ''] = received.headers.get('host') ?? [];
        if (!hosts.includes(host)) return { status: 421, body: 'there is no such host here' };
        const { key, principal } = authenticate(received, directory, { service: 'sts', region }, now());
        const query = parametersOf(received);
        const act = { query, principal, now: now(), expiration: key.expiration, region, global };
        return answerQuery(query.get('Action') ?? '', run(act), asJson);
      } catch (error) {
        if (error instanceof AwsError) return refuseQuery(error, asJson);
        throw error;
      }
    },
    { now, port, tls },
  );
  hosts.push(served.host, new URL(served.url).host);
  return { ...served, region };
}

const FORM_TYPE = 'application/x-www-form-urlencoded';
/** What the operations have; a list's members are numbered. */
const PARAMETERS =
  /^(Action|Version|SigningAlgorithm|DurationSeconds|Audience\.member\.\d+|Tags\.member\.\d+\.(Key|Value))$/;

const formOf = ({ method, target }: Received): Form => ({
  methods: ['GET', 'POST'],
  parameters: [...new URL(target, 'http://sts').searchParams.keys()],
  ...(method === 'POST' ? { consumes: FORM_TYPE } : {}),
});

/** Issuers live under other hosts than STS does; this serves all that a directory's accounts have. */
export const serveIssuers = (
  accounts: () => readonly { readonly issuer: Parameters<typeof answerAsIssuer>[0] | undefined }[],
) =>
  serve((received): Answer => {
    const answers = accounts().flatMap(({ issuer }) =>
      issuer === undefined ? [] : [answerAsIssuer(issuer, received)],
    );
    return answers.find(({ status }) => status === 200) ?? { status: 404 };
  });

/** JSON only where it is what the client wants most; STS's default is XML. */
function wantsJson({ headers }: Received): boolean {
  const [accept = ''] = headers.get('accept') ?? [];
  return accept.trim().toLowerCase() === 'application/json';
}

function parametersOf({ method, target, headers, body }: Received): URLSearchParams {
  const query = new URLSearchParams(target.split('?', 2)[1] ?? '');
  if (method !== 'POST') return query;
  const [type = ''] = headers.get('content-type') ?? [];
  if (/^application\/x-www-form-urlencoded\b/i.test(type))
    for (const [name, value] of new URLSearchParams(body.toString())) query.append(name, value);
  return query;
}

interface Act {
  readonly query: URLSearchParams;
  readonly principal: Principal;
  readonly now: Date;
  readonly expiration: Date | undefined;
  readonly region: string;
  readonly global: boolean;
}

function run(act: Act): Record<string, string | Date> {
  const [action, version] = [act.query.getAll('Action'), act.query.getAll('Version')];
  if (action.length !== 1 || version.length !== 1) throw invalid('Action and Version are needed, once');
  const strange = [...act.query.keys()].find((name) => !PARAMETERS.test(name));
  if (strange !== undefined) throw invalid(`${strange} is no parameter of ${action}`);
  if (version[0] !== VERSION)
    throw unknownAction(`Could not find operation ${action} for version ${version}`);
  if (action[0] === 'GetCallerIdentity') return callerIdentity(act);
  if (action[0] === 'GetWebIdentityToken' && !act.global) return webIdentityToken(act);
  throw unknownAction(`Could not find operation ${action} for version ${version}`);
}

const unknownAction = (message: string): AwsError => new AwsError(400, 'InvalidAction', message);
const invalid = (message: string): AwsError => new AwsError(400, 'ValidationError', message);

/** Nobody needs a permission for this one, and none can be taken away. */
function callerIdentity({ principal }: Act): Record<string, string> {
  return { UserId: principal.userId, Account: principal.account.id, Arn: principal.arn };
}

function webIdentityToken({ query, principal, now, expiration, region }: Act): Record<string, string | Date> {
  const audience = listOf(query, 'Audience.member', 10, 1000);
  const algorithm = query.get('SigningAlgorithm');
  if (algorithm !== 'RS256' && algorithm !== 'ES384')
    throw invalid('SigningAlgorithm must be RS256 or ES384');
  const seconds = Number(query.get('DurationSeconds') ?? '300');
  if (!Number.isInteger(seconds) || seconds < 60 || seconds > 3600)
    throw invalid('DurationSeconds must be from 60 to 3600');
  const tags = tagsOf(query);
  mustBeAllowed(principal, 'sts:GetWebIdentityToken');
  if (tags !== undefined) mustBeAllowed(principal, 'sts:TagGetWebIdentityToken');
  const { issuer } = principal.account;
  if (issuer === undefined)
    throw new AwsError(403, 'OutboundWebIdentityFederationDisabledException', 'The feature is not enabled');
  const until = new Date(now.getTime() + seconds * 1000);
  if (expiration !== undefined && until > expiration)
    throw new AwsError(403, 'SessionDurationEscalationException', 'The token would outlive the session');
  const aws = { ...awsClaims(principal, region), ...(tags && { request_tags: tags }) };
  const request = {
    audience,
    subject: principal.subject,
    algorithm: algorithm as Algorithm,
    issuedAt: now,
    seconds,
    aws,
  };
  return { WebIdentityToken: mintToken(issuer, request), Expiration: until };
}

function mustBeAllowed({ denied, arn }: Principal, action: string): void {
  if (denied.includes(action))
    throw new AwsError(
      403,
      'AccessDenied',
      `User: ${arn} is not authorized to perform: ${action} on resource: *`,
    );
}

export function awsClaims({ account, tags, session }: Principal, region: string): object {
  const { organization } = account;
  return {
    aws_account: account.id,
    source_region: region,
    ...(organization && {
      org_id: organization.id,
      ou_path: `${[organization.id, ...organization.path].join('/')}/`,
    }),
    ...(Object.keys(tags).length > 0 && { principal_tags: tags }),
    ...session,
  };
}

function listOf(query: URLSearchParams, name: string, max: number, maxLength: number): readonly string[] {
  const values: string[] = [];
  for (let at = 1; query.has(`${name}.${at}`); at++) values.push(query.get(`${name}.${at}`) ?? '');
  if (values.length < 1 || values.length > max) throw invalid(`${name} has from 1 to ${max} values`);
  if (values.some((value) => value === '' || value.length > maxLength))
    throw invalid(`a ${name} is too long or empty`);
  return values;
}

function tagsOf(query: URLSearchParams): Record<string, string> | undefined {
  const tags: Record<string, string> = {};
  let count = 0;
  for (; query.has(`Tags.member.${count + 1}.Key`); count++)
    tags[query.get(`Tags.member.${count + 1}.Key`) ?? ''] = query.get(`Tags.member.${count + 1}.Value`) ?? '';
  if (count > 50) throw invalid('at most 50 tags');
  return count === 0 ? undefined : tags;
}
