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
import { authenticate } from '../kit/aws/sigv4.ts';
import type { Received, Served } from '../kit/http/served.ts';

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

/** The example of "Create a signed AWS API request", and the case post-vanilla of AWS's test suite. */
describe("AWS's published examples", () => {
  const secretAccessKey = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY';
  const date = '20150830T123600Z';

  test('our signature of a POST is the published one', () => {
    const headers = { host: 'example.amazonaws.com', 'x-amz-date': date };
    const scope = { service: 'service', region: 'us-east-1', date };
    expect(Buffer.from(signPost({ headers, body: '' }, scope, secretAccessKey)).toString('hex')).toBe(
      '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
    );
  });

  const example = (signature: string): Received => {
    const credential = 'AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request';
    const signed = `Credential=${credential}, SignedHeaders=content-type;host;x-amz-date, Signature=${signature}`;
    return {
      method: 'GET',
      target: '/?Action=ListUsers&Version=2010-05-08',
      headers: new Map([
        ['content-type', ['application/x-www-form-urlencoded; charset=utf-8']],
        ['host', ['iam.amazonaws.com']],
        ['x-amz-date', [date]],
        ['authorization', [`AWS4-HMAC-SHA256 ${signed}`]],
      ]),
      body: Buffer.alloc(0),
    };
  };
  const key = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey };
  const aws = new Directory();
  const { principal } = aws.lookUp(aws.user(aws.account('111122223333'), 'x').accessKeyId) ?? {};
  const check = (signature: string) =>
    authenticate(
      example(signature),
      { lookUp: () => principal && { key, principal } },
      { service: 'iam', region: 'us-east-1' },
      new Date('2015-08-30T12:36:00Z'),
    );

  test('the stand-in takes the published signature of a GET with a query, and no other', () => {
    const published = '5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7';
    expect(check(published).principal).toBe(principal);
    expect(() => check(published.replace(/7$/, '8'))).toThrow(/does not match/);
  });
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
    '%j is not a region',
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
