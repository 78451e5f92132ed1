/** AWS's own code as the judge of what we write ourselves: signatures, hosts, and what Organizations is asked. */
import { createHash, createHmac } from 'node:crypto';
import {
  DescribeAccountCommand,
  ListParentsCommand,
  OrganizationsClient,
} from '@aws-sdk/client-organizations';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { callerIdentityRequest } from '@chancery/shared/aws/caller-identity.ts';
import { ENDPOINTS, partitionOf, stsHost } from '@chancery/shared/aws/hosts.ts';
import { amzDate, authorization, credentialScope, signPost } from '@chancery/shared/aws/sign.ts';
import { SignatureV4 } from '@smithy/signature-v4';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AccessKey, Directory } from '../kit/aws/directory.ts';
import { startOrganizations } from '../kit/aws/organizations.ts';
import type { Served } from '../kit/aws/served.ts';

/** As the signer wants a hash. */
class Sha256 {
  readonly #hash;
  constructor(key?: Parameters<typeof createHmac>[1]) {
    this.#hash = key === undefined ? createHash('sha256') : createHmac('sha256', key);
  }
  update(data: Parameters<ReturnType<typeof createHash>['update']>[0]): void {
    this.#hash.update(data);
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {}
}

test.each([
  { name: 'temporary', sessionToken: 'IQoJb3JpZ2lu+/=' },
  { name: 'permanent', sessionToken: undefined },
])("our signature with $name credentials is AWS's", async ({ sessionToken }) => {
  const key = { accessKeyId: 'ASIAABCDEFGHIJKLMNOP', secretAccessKey: 'secret/+' };
  const credentials = sessionToken === undefined ? key : { ...key, sessionToken };
  const now = new Date('2026-11-20T10:11:12.345Z');
  const [region, host] = ['eu-west-1', 'sts.eu-west-1.amazonaws.com'];
  const scope = { service: 'sts', region, date: amzDate(now) };
  const binding = new Uint8Array(32).fill(7);
  const { headers, body } = callerIdentityRequest({ host, date: scope.date, sessionToken, binding });
  const { 'x-amz-date': _date, 'x-amz-security-token': _token, ...given } = headers;
  const signer = new SignatureV4({
    credentials,
    region,
    service: 'sts',
    sha256: Sha256 as never,
    applyChecksum: false,
  });
  const request = {
    method: 'POST',
    protocol: 'https:',
    hostname: host,
    path: '/',
    query: {},
    headers: given,
    body,
  };
  const signed = await signer.sign(request, { signingDate: now });
  const signature = signPost({ headers, body }, scope, key.secretAccessKey);
  const ours = authorization(`${key.accessKeyId}/${credentialScope(scope)}`, headers, signature);
  expect(signed.headers).toEqual({ ...headers, authorization: ours });
});

describe("our hosts are AWS's", () => {
  const regions = [
    'us-east-1',
    'eu-west-1',
    'ap-southeast-2',
    'il-central-1',
    'us-gov-west-1',
    'us-gov-east-1',
  ];
  const cases = [...regions, 'cn-north-1', 'cn-northwest-1', 'eusc-de-east-1'].flatMap((region) =>
    ENDPOINTS.map((endpoints) => ({ region, endpoints })),
  );
  test.each(cases)('$region $endpoints', async ({ region, endpoints }) => {
    const client = new STSClient({
      region,
      useFipsEndpoint: endpoints.startsWith('fips'),
      useDualstackEndpoint: endpoints.endsWith('dual-stack'),
      credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
    });
    let asked = '';
    const keep = () => async (args: { request: { hostname: string } }) => {
      asked = args.request.hostname;
      return { response: {}, output: { $metadata: {} } };
    };
    client.middlewareStack.add(keep as never, { step: 'finalizeRequest', priority: 'low', name: 'keep' });
    await client.send(new GetCallerIdentityCommand({}));
    expect(stsHost(region, endpoints)).toBe(asked);
  });

  test.each(['', 'us', 'us-east', 'us-east-1a', 'us-east-1.evil.com', 'US-EAST-1', 'us_east-1', 'xx-east-1'])(
    '%j is no region',
    (region) => {
      expect(partitionOf(region)).toBeUndefined();
      expect(stsHost(region, 'standard')).toBeUndefined();
    },
  );
});

describe('Organizations', () => {
  const [MANAGEMENT, MEMBER] = ['111122223333', '123456789012'];
  const directory = new Directory();
  let served: Served;
  let key: AccessKey;
  beforeAll(async () => {
    const organization = { id: 'o-abc1234567', path: ['r-ab12', 'ou-ab12-11111111'] };
    directory.account(MEMBER, { organization });
    key = directory.assumeRole(directory.account(MANAGEMENT), 'ca', 'x');
    served = await startOrganizations({ directory, management: MANAGEMENT });
  });
  afterAll(() => served.close());
  const client = (credentials = key) =>
    new OrganizationsClient({ region: 'us-east-1', endpoint: served.url, credentials, maxAttempts: 1 });

  test("AWS's client describes an account and climbs to its root", async () => {
    const { Account } = await client().send(new DescribeAccountCommand({ AccountId: MEMBER }));
    expect(Account).toMatchObject({
      Arn: `arn:aws:organizations::${MANAGEMENT}:account/o-abc1234567/${MEMBER}`,
      State: 'ACTIVE',
    });
    const parents = async (ChildId: string) =>
      (await client().send(new ListParentsCommand({ ChildId }))).Parents;
    expect(await parents(MEMBER)).toEqual([{ Id: 'ou-ab12-11111111', Type: 'ORGANIZATIONAL_UNIT' }]);
    expect(await parents('ou-ab12-11111111')).toEqual([{ Id: 'r-ab12', Type: 'ROOT' }]);
  });

  test.each([
    {
      name: 'an account of no organisation',
      account: MANAGEMENT,
      credentials: () => key,
      code: 'AccountNotFoundException',
    },
    {
      name: 'another account asks',
      account: MEMBER,
      credentials: () => directory.assumeRole(directory.find(MEMBER) ?? directory.account(MEMBER), 'ca'),
      code: 'AccessDeniedException',
    },
    {
      name: 'without the permission',
      account: MEMBER,
      credentials: () =>
        directory.assumeRole(directory.account(MANAGEMENT), 'ca', 'x', {
          denied: ['organizations:DescribeAccount'],
        }),
      code: 'AccessDeniedException',
    },
    {
      name: 'another secret',
      account: MEMBER,
      credentials: () => ({ ...key, secretAccessKey: 'x' }),
      code: 'InvalidSignatureException',
    },
    {
      name: 'an access key that nobody has',
      account: MEMBER,
      credentials: () => ({ ...key, accessKeyId: 'ASIAAAAAAAAAAAAAAAAA' }),
      code: 'UnrecognizedClientException',
    },
  ])('refused: $name', async ({ account, credentials, code }) => {
    const command = new DescribeAccountCommand({ AccountId: account });
    await expect(client(credentials()).send(command)).rejects.toMatchObject({ name: code });
  });
});
