/** A stand-in for AWS Organizations: two operations of its JSON 1.1 protocol, for the management account. */

import { faultOf } from '../http/form.ts';
import { type Answer, type Received, type Served, serve } from '../http/served.ts';
import { AwsError, jsonName } from './aws-error.ts';
import type { Account, Directory, Principal } from './directory.ts';
import { authenticate } from './sigv4.ts';

export interface OrganizationsOptions {
  readonly directory: Directory;
  /** Whose principals may ask. */
  readonly management: string;
  /** Accounts that are not ACTIVE, by their state. */
  readonly states?: Readonly<Record<string, string>>;
  readonly now?: () => Date;
}

const FORM = { methods: ['POST'], consumes: 'application/x-amz-json-1.1' };
/** By operation; a member of another name is a misspelt one. */
const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  DescribeAccount: ['AccountId'],
  ListParents: ['ChildId', 'MaxResults', 'NextToken'],
};

export function startOrganizations(options: OrganizationsOptions): Promise<Served> {
  const { directory, management, now = () => new Date() } = options;
  return serve(
    (received) => {
      try {
        if (faultOf(received, FORM) !== undefined) throw new AwsError(400, 'UnknownOperationException', '');
        const scope = { service: 'organizations', region: 'us-east-1' };
        const { principal } = authenticate(received, directory, scope, now());
        return answer(200, run(received, principal, options));
      } catch (error) {
        if (!(error instanceof AwsError)) throw error;
        return answer(400, { __type: jsonName(error.code), Message: error.message });
      }
    },
    { now },
  );

  function run(received: Received, principal: Principal, { states = {} }: OrganizationsOptions): object {
    const [target = ''] = received.headers.get('x-amz-target') ?? [];
    const [service, operation = ''] = target.split('.');
    const input = JSON.parse(received.body.toString()) as Readonly<Record<string, string>>;
    const strange = Object.keys(input).find((name) => MEMBERS[operation]?.includes(name) === false);
    if (strange !== undefined) throw new AwsError(400, 'InvalidInputException', strange);
    const allowed =
      principal.account.id === management && !principal.denied.includes(`organizations:${operation}`);
    if (!allowed)
      throw new AwsError(400, 'AccessDenied', `not authorized to perform organizations:${operation}`);
    if (service === 'AWSOrganizationsV20161128' && operation === 'DescribeAccount')
      return describe(directory.find(input['AccountId'] ?? ''), { management, states });
    if (service === 'AWSOrganizationsV20161128' && operation === 'ListParents')
      return { Parents: [parentOf(input['ChildId'] ?? '', directory)] };
    throw new AwsError(400, 'UnknownOperationException', target);
  }
}

function describe(
  account: Account | undefined,
  { management, states }: { management: string; states: Readonly<Record<string, string>> },
): object {
  if (account?.organization === undefined)
    throw new AwsError(400, 'AccountNotFoundException', "You specified an account that doesn't exist.");
  const { id, organization, partition } = account;
  return {
    Account: {
      Id: id,
      Arn: `arn:${partition}:organizations::${management}:account/${organization.id}/${id}`,
      Email: `${id}@example.com`,
      Name: id,
      State: states[id] ?? 'ACTIVE',
      JoinedMethod: 'CREATED',
      JoinedTimestamp: 1700000000,
    },
  };
}

/** An account's, or a unit's: one, since it stands in one place. */
function parentOf(child: string, directory: Directory): object {
  const path = directory.accounts().flatMap(({ id, organization }): readonly string[] => {
    const whole = organization === undefined ? [] : [...organization.path, id];
    return whole.includes(child) ? whole.slice(0, whole.indexOf(child)) : [];
  });
  const parent = path.at(-1);
  if (parent === undefined) throw new AwsError(400, 'ChildNotFoundException', "We can't find it.");
  return { Id: parent, Type: parent.startsWith('r-') ? 'ROOT' : 'ORGANIZATIONAL_UNIT' };
}

const answer = (status: number, body: object): Answer => ({
  status,
  headers: { 'content-type': 'application/x-amz-json-1.1' },
  body: JSON.stringify(body),
});
