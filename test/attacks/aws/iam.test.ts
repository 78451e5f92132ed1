/** Rows C1 to C6, C10, C11, C18 and C19: a signed sts:GetCallerIdentity, spoiled one way at a time, before an STS that checks. */
import { randomBytes } from 'node:crypto';
import { attestorNamed } from '@chancery/ca/attestors/index.ts';
import { callerIdentityRequest } from '@chancery/shared/aws/caller-identity.ts';
import { stsHost } from '@chancery/shared/aws/hosts.ts';
import { amzDate, type PostRequest, signPost } from '@chancery/shared/aws/sign.ts';
import { packStsAnswer, type StsAnswer, unpackStsAnswer } from '@chancery/shared/evidence/aws-iam.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { u8, utf8 } from '@chancery/shared/ground/bytes.ts';
import type { ProvenKey } from '@chancery/shared/x509/csr.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AccessKey } from '../../kit/aws/directory.ts';
import {
  ACCOUNT,
  AWS_TRUST_DOMAIN,
  type AwsExchange,
  type AwsWorld,
  attestAws,
  iamEvidence,
  startAwsWorld,
} from '../../kit/aws/world.ts';
import { proven } from '../../kit/ca/authority.ts';
import { refusal } from '../../kit/refusal.ts';

let world: AwsWorld;
let web: AccessKey;
beforeAll(async () => {
  world = await startAwsWorld();
  web = world.role();
});
afterEach(() => world.sts.spoil(undefined));
afterAll(() => world.close());

const attest = (
  exchange: AwsExchange = {},
  { key = web, config = {} }: { key?: AccessKey; config?: object } = {},
) => attestAws(world, world.iam(config), iamEvidence(world, key), exchange);

/** Changes fields of the genuine answer. */
const changed = (change: Partial<StsAnswer> | ((genuine: StsAnswer) => Partial<StsAnswer>)) => ({
  answer: (bytes: Uint8Array) => {
    const genuine = unpackStsAnswer(bytes);
    return packStsAnswer({ ...genuine, ...(typeof change === 'function' ? change(genuine) : change) });
  },
});

/** Nothing of the refused evidence has left the CA. */
async function asksNobody(attempt: () => Promise<unknown>): Promise<void> {
  const before = world.sts.received.length;
  await attempt();
  expect(world.sts.received.length).toBe(before);
}

test('a genuine answer gives the role, without its session', async () => {
  const { node, attributes, exclusive } = await attest();
  const roleId = node.split('/')[1] ?? '';
  expect(roleId).toMatch(/^AROA[A-Z2-7]{17}$/);
  const arn = `arn:aws:sts::${ACCOUNT}:assumed-role/web`;
  const principal = { partition: 'aws', account: ACCOUNT, principal: 'assumed-role' };
  expect(attributes).toStrictEqual({ ...principal, role: 'web', roleId, arn });
  expect(exclusive).toBe(false);
});

test('the CA asks STS once, with a request of its own, for at most ten seconds', async () => {
  const before = world.outbound.requests.length;
  await attest();
  const sent = world.outbound.requests.slice(before);
  expect(sent).toMatchObject([{ url: world.sts.url, method: 'POST', timeoutMs: 10_000, maxBytes: 16_384 }]);
  const { method, target, headers, body } = world.sts.received.at(-1) ?? {};
  expect({ method, target, body: String(body) }).toEqual({
    method: 'POST',
    target: '/',
    body: 'Action=GetCallerIdentity&Version=2011-06-15',
  });
  expect(headers?.get('host')).toEqual(['sts.eu-west-1.amazonaws.com']);
  expect([...(headers?.keys() ?? [])].toSorted()).toEqual([
    'accept',
    'authorization',
    'connection',
    'content-length',
    'content-type',
    'host',
    'x-amz-date',
    'x-amz-security-token',
    'x-chancery-binding',
  ]);
});

describe('C1 and C2 the host is from a table, the region from the config', () => {
  test.each([
    'evil.com/',
    'eu-west-1.evil.com/',
    'eu-west-1.amazonaws.com.evil.com#',
    'x@evil.com',
    'eu-west-1:8443',
    'EU-WEST-1',
    'eu-west-1.',
    'eu-west-1\u0000',
    'eu-wesт-1',
    '169.254.169.254',
    '../eu-west-1',
    'us-east-1',
    'cn-north-1',
    '',
  ])('region %j', async (region) => {
    await asksNobody(() =>
      expect(attest(changed({ region }))).rejects.toThrow(
        refusal('sts_host', /region is not configured|region is \d\d bytes/),
      ),
    );
  });

  test.each([
    { region: 'eu-west-1', endpoints: 'standard', host: 'sts.eu-west-1.amazonaws.com' },
    { region: 'eu-west-1', endpoints: 'dual-stack', host: 'sts.eu-west-1.api.aws' },
    { region: 'us-east-1', endpoints: 'fips', host: 'sts-fips.us-east-1.amazonaws.com' },
    { region: 'us-gov-west-1', endpoints: 'standard', host: 'sts.us-gov-west-1.amazonaws.com' },
    { region: 'us-gov-west-1', endpoints: 'fips', host: 'sts.us-gov-west-1.amazonaws.com' },
    { region: 'cn-north-1', endpoints: 'standard', host: 'sts.cn-north-1.amazonaws.com.cn' },
    { region: 'eusc-de-east-1', endpoints: 'standard', host: 'sts.eusc-de-east-1.amazonaws.eu' },
    { region: 'amazonaws.com.cn', endpoints: 'standard', host: undefined },
    { region: 'us-east-1.amazonaws.com', endpoints: 'standard', host: undefined },
  ] as const)('$region, $endpoints: $host', ({ region, endpoints, host }) => {
    expect(stsHost(region, endpoints)).toBe(host);
  });
});

/** Signs another request than the one the CA will write, with the genuine key. */
function signing(change: (request: PostRequest) => PostRequest): AwsExchange & { key: Promise<ProvenKey> } {
  const key = proven();
  return {
    key,
    answer: async (bytes: Uint8Array) => {
      const genuine = unpackStsAnswer(bytes);
      const { date, region } = genuine;
      const binding = attestationBinding(AWS_TRUST_DOMAIN, new Uint8Array(32).fill(7), (await key).spki);
      const host = stsHost(region, 'standard') ?? '';
      const request = callerIdentityRequest({ host, date, sessionToken: genuine.sessionToken, binding });
      const signature = signPost(change(request), { service: 'sts', region, date }, web.secretAccessKey);
      return packStsAnswer({ ...genuine, signature });
    },
  } as AwsExchange & { key: Promise<ProvenKey> };
}

const header = (name: string, value: string | undefined) => (request: PostRequest) => {
  const { [name]: _, ...others } = request.headers;
  return { ...request, headers: value === undefined ? others : { ...others, [name]: value } };
};

describe('C3 to C7 a signature over any other request', () => {
  const rows: { name: string; change: (request: PostRequest) => PostRequest }[] = [
    { name: 'C1 another host', change: header('host', 'sts.amazonaws.com.evil.com') },
    { name: 'C2 the host of another partition', change: header('host', 'sts.us-east-1.amazonaws.com.cn') },
    {
      name: 'C3 AssumeRole',
      change: (request) => ({ ...request, body: 'Action=AssumeRole&Version=2011-06-15' }),
    },
    {
      name: 'C3 a parameter more',
      change: (request) => ({ ...request, body: `${request.body}&Action=AssumeRole` }),
    },
    {
      name: 'C3 another version',
      change: (request) => ({ ...request, body: request.body.replace('2011', '2012') }),
    },
    { name: 'C5 no binding', change: header('x-chancery-binding', undefined) },
    { name: "C5 EKS's cluster instead of a binding", change: header('x-k8s-aws-id', 'cluster') },
    { name: 'C6 another binding', change: header('x-chancery-binding', '00'.repeat(32)) },
    {
      name: 'C6 two bindings, joined',
      change: header('x-chancery-binding', `${'00'.repeat(32)},${'11'.repeat(32)}`),
    },
    { name: 'C7 XML', change: header('accept', 'text/xml') },
    { name: 'C7 JSON, wanted not at all', change: header('accept', 'application/json;q=0') },
  ];
  test.each(rows)('$name is refused by STS', async ({ change }) => {
    const { key, answer } = signing(change);
    const exchange = { key: await key, ...(answer && { answer }) };
    await expect(attest(exchange)).rejects.toThrow(refusal('sts_refused', /SignatureDoesNotMatch/));
  });

  test('the same signer over the CA’s own request is accepted', async () => {
    const { key, answer } = signing((request) => request);
    await attest({ key: await key, ...(answer && { answer }) });
  });
});

describe('evidence of another form', () => {
  const later = (date: string, seconds: number) =>
    amzDate(
      new Date(
        Date.parse(date.replace(/(....)(..)(..)T(..)(..)(..)Z/, '$1-$2-$3T$4:$5:$6Z')) + seconds * 1000,
      ),
    );
  const dated = (seconds: number) =>
    changed(({ date, credential }) => {
      const other = later(date, seconds);
      return { date: other, credential: credential.replace(/\/\d{8}\//, `/${other.slice(0, 8)}/`) };
    });
  const rows: { name: string; exchange: AwsExchange; code: Parameters<typeof refusal>[0]; says: RegExp }[] = [
    {
      name: 'C10 signed 301 s ago',
      exchange: dated(-301),
      code: 'sts_date',
      says: /signed 30\d s ago, at most 300/,
    },
    { name: 'C10 signed 16 minutes ago', exchange: dated(-960), code: 'sts_date', says: /signed 96\d s ago/ },
    {
      name: 'C10 signed in the future',
      exchange: dated(310),
      code: 'sts_date',
      says: /signed 3\d\d s from now/,
    },
    { name: 'C10 no date', exchange: changed({ date: '' }), code: 'sts_date', says: /is not a time/ },
    {
      name: 'C10 a date that is none',
      exchange: changed({ date: '20261331T000000Z' }),
      code: 'sts_date',
      says: /is not a time/,
    },
    {
      name: 'C10 a date with a newline',
      exchange: changed({ date: '20261120T1011\r\n' }),
      code: 'sts_date',
      says: /is not a time/,
    },
    {
      name: 'C10 a long date',
      exchange: changed({ date: '20261120T101112ZZ' }),
      code: 'sts_date',
      says: /date is 17 bytes/,
    },
    {
      name: 'C10 a scope of another region',
      exchange: changed(({ credential }) => ({ credential: credential.replace('eu-west-1', 'us-east-1') })),
      code: 'sts_scope',
      says: /not scoped to \d{8}\/eu-west-1\/sts/,
    },
    {
      name: 'C10 a scope of another service',
      exchange: changed(({ credential }) => ({ credential: credential.replace('/sts/', '/iam/') })),
      code: 'sts_scope',
      says: /not scoped to/,
    },
    {
      name: 'C10 a scope of another day',
      exchange: changed(({ credential }) => ({ credential: credential.replace(/\/\d{8}\//, '/20200101/') })),
      code: 'sts_scope',
      says: /not scoped to/,
    },
    {
      name: 'C10 more than a scope',
      exchange: changed(({ credential }) => ({ credential: `${credential}, SignedHeaders=host` })),
      code: 'sts_scope',
      says: /not scoped to/,
    },
    {
      name: 'C6 an access key id with a header in it',
      exchange: changed(({ credential }) => ({ credential: `A\r\nX: ${credential}` })),
      code: 'sts_scope',
      says: /access key id/,
    },
    {
      name: 'C6 a session token with a header in it',
      exchange: changed({ sessionToken: 'token\r\naccept: text/xml' }),
      code: 'sts_header',
      says: /characters that a header value must not have/,
    },
    {
      name: 'C6 a session token with a space',
      exchange: changed({ sessionToken: 'to ken' }),
      code: 'sts_header',
      says: /characters that a header value must not have/,
    },
    {
      name: 'a session token of 9 KiB',
      exchange: changed({ sessionToken: 'x'.repeat(9216) }),
      code: 'evidence_parse',
      says: /session token is 9216 bytes/,
    },
    {
      name: 'half a signature',
      exchange: changed(({ signature }) => ({ signature: signature.subarray(16) })),
      code: 'evidence_parse',
      says: /32 bytes, not 16/,
    },
    {
      name: 'C4 a field for a method',
      exchange: { answer: (bytes) => Buffer.concat([bytes, utf8('\0\0\0\x03GET')]) },
      code: 'evidence_parse',
      says: /trailing bytes/,
    },
    {
      name: 'nothing',
      exchange: { answer: () => new Uint8Array() },
      code: 'evidence_parse',
      says: /ends early/,
    },
    {
      name: 'an opening',
      exchange: { opening: u8(0) },
      code: 'evidence_parse',
      says: /the first message of aws-.* must be empty/,
    },
  ];
  test.each(rows)('$name, and nobody is asked', async ({ exchange, code, says }) => {
    await asksNobody(() => expect(attest(exchange)).rejects.toThrow(refusal(code, says)));
  });

  test('five minutes either way are accepted', async () => {
    for (const seconds of [-290, 290]) {
      world.clock.move(seconds);
      const early = await iamEvidence(world, web).begin(new Uint8Array(), AbortSignal.timeout(5000));
      world.clock.move(-seconds);
      const key = await proven();
      const binding = attestationBinding(AWS_TRUST_DOMAIN, new Uint8Array(32).fill(7), key.spki);
      const answer = async (): Promise<Uint8Array> => {
        world.clock.move(seconds);
        const { packStsQuestion } = await import('@chancery/shared/evidence/aws-iam.ts');
        const made = await early.answer(packStsQuestion('standard'), binding);
        world.clock.move(-seconds);
        return made;
      };
      await attest({ key, answer });
    }
  });
});

describe('credentials that are not what they seem', () => {
  const rows: { name: string; key: () => AccessKey; says: RegExp }[] = [
    { name: 'another secret', key: () => ({ ...web, secretAccessKey: 'x' }), says: /SignatureDoesNotMatch/ },
    {
      name: "another session's token",
      key: () => ({ ...web, sessionToken: world.role('x').sessionToken ?? '' }),
      says: /InvalidClientTokenId/,
    },
    {
      name: 'an access key that nobody has',
      key: () => ({ ...web, accessKeyId: 'ASIAAAAAAAAAAAAAAAAA' }),
      says: /InvalidClientTokenId/,
    },
    {
      name: 'credentials that have ended',
      key: () => world.directory.assumeRole(world.account, 'web', 'x', { until: new Date(0) }),
      says: /ExpiredToken/,
    },
  ];
  test.each(rows)('$name', async ({ key, says }) => {
    await expect(attest({}, { key: key() })).rejects.toThrow(refusal('sts_refused', says));
  });
});

describe('C11 everything that an eavesdropper at the CA could keep', () => {
  test.each([
    { name: 'another key', replay: async () => ({ key: await proven() }) },
    { name: 'another exchange', replay: async () => ({ nonce: randomBytes(32) }) },
  ])('is refused for $name', async ({ replay }) => {
    const key = await proven();
    let captured: Uint8Array = new Uint8Array();
    await attest({ key, answer: (genuine) => (captured = genuine) });
    const again = { key, ...(await replay()), answer: () => captured };
    await expect(attest(again)).rejects.toThrow(refusal('sts_refused', /SignatureDoesNotMatch/));
  });

  test('a whole request taken from the wire to STS says the same to STS, and nothing to the CA', async () => {
    await attest();
    const { headers } = world.sts.received.at(-1) ?? {};
    const one = (name: string): string => headers?.get(name)?.[0] ?? '';
    const [, credential = '', signature = ''] =
      /Credential=(\S+), SignedHeaders=\S+, Signature=(\w+)/.exec(one('authorization')) ?? [];
    const date = one('x-amz-date');
    const sessionToken = one('x-amz-security-token');
    const captured = {
      region: 'eu-west-1',
      date,
      credential,
      sessionToken,
      signature: Buffer.from(signature, 'hex'),
    };
    const answer = () => packStsAnswer(captured);
    await expect(attest({ answer })).rejects.toThrow(refusal('sts_refused', /SignatureDoesNotMatch/));
  });
});

test('C18 and C19 there is no platform for instance identity documents', () => {
  const attestors = new Map([['aws-iam', world.iam()]]);
  expect(() => attestorNamed(attestors, 'aws-iid')).toThrow(
    refusal('platform_unknown', /"aws-iid" is not configured/),
  );
});
