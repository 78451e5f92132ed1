/** AWS's own SDK, unmodified, against our stand-ins for STS and the instance metadata: it must not notice. */

import { createPublicKey, verify, type webcrypto } from 'node:crypto';
import https from 'node:https';
import {
  GetCallerIdentityCommand,
  GetWebIdentityTokenCommand,
  STSClient,
  type STSClientConfig,
} from '@aws-sdk/client-sts';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type AccessKey, type Account, Directory } from '../kit/aws/directory.ts';
import { startImds } from '../kit/aws/imds.ts';
import { type Sts, serveIssuers, startSts } from '../kit/aws/sts.ts';
import { localhostTls } from '../kit/aws/tls.ts';
import type { Served } from '../kit/http/served.ts';

const directory = new Directory();
let issuers: Served;
let sts: Sts;
let account: Account;
let key: AccessKey;
let skewMs = 0;
beforeAll(async () => {
  issuers = await serveIssuers(() => [account]);
  const organization = { id: 'o-abc1234567', path: ['r-ab12', 'ou-ab12-11111111'] };
  account = directory.account('123456789012', { organization, issuerUrl: `${issuers.url}/one` });
  sts = await startSts({ directory, now: () => new Date(Date.now() + skewMs) });
});
beforeEach(() => {
  skewMs = 0;
  key = directory.assumeRole(account, 'team/web', 'i-0abc', { tags: { team: 'data' } });
});
afterAll(() => Promise.all([sts.close(), issuers.close()]));

const clientFor = (credentials: AccessKey | undefined, changes: STSClientConfig = {}): STSClient =>
  new STSClient({
    region: sts.region,
    endpoint: sts.url,
    maxAttempts: 1,
    ...(credentials && { credentials }),
    ...changes,
  });

describe('GetCallerIdentity', () => {
  test('over TLS', async () => {
    const { ca, tls } = localhostTls();
    const secure = await startSts({ directory, tls });
    const client = (options: https.AgentOptions) =>
      clientFor(key, { endpoint: secure.url, requestHandler: { httpsAgent: new https.Agent(options) } });
    expect((await client({ ca }).send(new GetCallerIdentityCommand({}))).Account).toBe('123456789012');
    await expect(client({}).send(new GetCallerIdentityCommand({}))).rejects.toThrow(/certificate/);
    await secure.close();
  });

  test('of an assumed role', async () => {
    const answer = await clientFor(key).send(new GetCallerIdentityCommand({}));
    expect(answer).toMatchObject({
      Account: '123456789012',
      Arn: 'arn:aws:sts::123456789012:assumed-role/web/i-0abc',
      UserId: expect.stringMatching(/^AROA[A-Z2-7]{17}:i-0abc$/),
    });
  });

  test.each([
    {
      who: 'a user',
      made: () => directory.user(account, 'ci/deploy'),
      arn: 'iam::123456789012:user/ci/deploy',
    },
    { who: 'root', made: () => directory.root(account), arn: 'iam::123456789012:root' },
    {
      who: 'a federated user',
      made: () => directory.federatedUser(account, 'x'),
      arn: 'sts::123456789012:federated-user/x',
    },
  ])('of $who', async ({ made, arn }) => {
    const answer = await clientFor(made()).send(new GetCallerIdentityCommand({}));
    expect(answer.Arn).toBe(`arn:aws:${arn}`);
  });
});

type Sent = { headers: Record<string, string>; body?: string; hostname: string };

/** Changes what was signed, on its way. */
function spoilSent(client: STSClient, change: (request: Sent) => void): STSClient {
  const spoil = (next: (args: object) => Promise<never>) => (args: object) => {
    change((args as { request: Sent }).request);
    return next(args);
  };
  client.middlewareStack.add(spoil as never, { step: 'finalizeRequest', priority: 'low', name: 'spoil' });
  return client;
}

const replaceIn = (name: string, from: string | RegExp, to: string) => (request: Sent) => {
  request.headers[name] = (request.headers[name] ?? '').replace(from, to);
};

const spoilt: { name: string; client: () => STSClient; code: string; says: RegExp }[] = [
  {
    name: 'another secret',
    client: () => clientFor({ ...key, secretAccessKey: 'not-it' }),
    code: 'SignatureDoesNotMatch',
    says: /calculated does not match/,
  },
  {
    name: 'an access key that nobody has',
    client: () => clientFor({ ...key, accessKeyId: 'ASIAAAAAAAAAAAAAAAAA' }),
    code: 'InvalidClientTokenId',
    says: /security token .* is invalid/,
  },
  {
    name: 'the session token of another session',
    client: () =>
      clientFor({ ...key, sessionToken: directory.assumeRole(account, 'other').sessionToken ?? '' }),
    code: 'InvalidClientTokenId',
    says: /is invalid/,
  },
  {
    name: 'no session token',
    client: () => clientFor({ accessKeyId: key.accessKeyId, secretAccessKey: key.secretAccessKey }),
    code: 'InvalidClientTokenId',
    says: /is invalid/,
  },
  {
    name: 'credentials that have ended',
    client: () =>
      clientFor(directory.assumeRole(account, 'web', 'x', { until: new Date(Date.now() - 1000) })),
    code: 'ExpiredToken',
    says: /is expired/,
  },
  {
    name: "another region's scope",
    client: () => clientFor(key, { region: 'us-east-1' }),
    code: 'SignatureDoesNotMatch',
    says: /scoped to a valid region/,
  },
  {
    name: "another service's scope",
    client: () => spoilSent(clientFor(key), replaceIn('authorization', '/sts/', '/iam/')),
    code: 'SignatureDoesNotMatch',
    says: /correct service: 'sts'/,
  },
  {
    name: 'another terminator',
    client: () => spoilSent(clientFor(key), replaceIn('authorization', '/aws4_request', '/aws5_request')),
    code: 'SignatureDoesNotMatch',
    says: /valid terminator/,
  },
  {
    name: "another day's scope",
    client: () => spoilSent(clientFor(key), replaceIn('authorization', /\/\d{8}\//, '/20200101/')),
    code: 'SignatureDoesNotMatch',
    says: /Date in Credential scope/,
  },
  {
    name: 'another date',
    client: () => spoilSent(clientFor(key), replaceIn('x-amz-date', /\d\dZ$/, '60Z')),
    code: 'IncompleteSignature',
    says: /basic format/,
  },
  {
    name: 'another body',
    client: () =>
      spoilSent(
        clientFor(key),
        (request) => void Object.assign(request, { body: request.body?.replace(/.$/, '6') }),
      ),
    code: 'SignatureDoesNotMatch',
    says: /calculated does not match/,
  },
  {
    name: 'another signed header',
    client: () => spoilSent(clientFor(key), replaceIn('content-type', /$/, '; a=b')),
    code: 'SignatureDoesNotMatch',
    says: /calculated does not match/,
  },
  {
    name: 'a signed header that is not there',
    client: () => spoilSent(clientFor(key), replaceIn('authorization', 'host;', 'host;never;')),
    code: 'SignatureDoesNotMatch',
    says: /calculated does not match/,
  },
  {
    name: 'an x-amz header that is not signed',
    client: () =>
      spoilSent(clientFor(key), ({ headers }) => void Object.assign(headers, { 'x-amz-more': '1' })),
    code: 'AccessDenied',
    says: /not signed: x-amz-more/,
  },
  {
    name: 'no signature',
    client: () => spoilSent(clientFor(key), (request) => void delete request.headers['authorization']),
    code: 'MissingAuthenticationToken',
    says: /missing Authentication/,
  },
  {
    name: 'half a signature',
    client: () => spoilSent(clientFor(key), replaceIn('authorization', /, Signature=.*/, '')),
    code: 'IncompleteSignature',
    says: /requires Credential/,
  },
];

test.each(spoilt)('refused: $name', async ({ client, code, says }) => {
  await expect(client().send(new GetCallerIdentityCommand({}))).rejects.toMatchObject({
    name: code,
    message: expect.stringMatching(says),
  });
});

test.each([
  { name: 'late', minutes: 16, says: /Signature expired/ },
  { name: 'early', minutes: -16, says: /Signature not yet current/ },
])('a clock 16 minutes $name is refused, one of 14 is not', async ({ minutes, says }) => {
  skewMs = minutes * 60_000;
  await expect(clientFor(key).send(new GetCallerIdentityCommand({}))).rejects.toThrow(says);
  skewMs = minutes * 60_000 * (14 / 16);
  await clientFor(key).send(new GetCallerIdentityCommand({}));
});

describe('GetWebIdentityToken', () => {
  const ask = (changes: object = {}, client = clientFor(key)) =>
    client.send(
      new GetWebIdentityTokenCommand({
        Audience: ['a'],
        SigningAlgorithm: 'ES384',
        DurationSeconds: 60,
        ...changes,
      }),
    );

  test.each(['ES384', 'RS256'])('%s verifies with the key that discovery leads to', async (algorithm) => {
    const answer = await ask({ SigningAlgorithm: algorithm, Tags: [{ Key: 'job', Value: '7' }] });
    const { header, claims, signed, signature } = cut(answer.WebIdentityToken);
    expect(header).toMatchObject({ alg: algorithm, typ: 'JWT' });
    expect(claims).toMatchObject({
      iss: `${issuers.url}/one`,
      sub: 'arn:aws:iam::123456789012:role/team/web',
      aud: 'a',
      'https://sts.amazonaws.com/': {
        aws_account: '123456789012',
        org_id: 'o-abc1234567',
        ou_path: 'o-abc1234567/r-ab12/ou-ab12-11111111/',
        source_region: 'eu-west-1',
        principal_tags: { team: 'data' },
        request_tags: { job: '7' },
      },
    });
    expect(Number(claims['exp']) - Number(claims['iat'])).toBe(60);
    expect(answer.Expiration).toEqual(expect.any(Date));
    const found = (await (
      await fetch(`${claims['iss']}/.well-known/openid-configuration`)
    ).json()) as Discovery;
    expect(found.issuer).toBe(claims['iss']);
    const { keys } = (await (await fetch(found.jwks_uri)).json()) as {
      keys: (webcrypto.JsonWebKey & { kid: string })[];
    };
    const jwk = keys.find(({ kid }) => kid === header['kid']);
    const publicKey = {
      key: createPublicKey({ key: jwk ?? {}, format: 'jwk' }),
      dsaEncoding: 'ieee-p1363' as const,
    };
    expect(verify(algorithm === 'RS256' ? 'sha256' : 'sha384', signed, publicKey, signature)).toBe(true);
  });

  test('two audiences are a list', async () => {
    expect(cut((await ask({ Audience: ['a', 'b'] })).WebIdentityToken).claims['aud']).toEqual(['a', 'b']);
  });

  test.each([
    { name: 'no audience', changes: { Audience: [] }, code: 'ValidationError' },
    { name: 'eleven audiences', changes: { Audience: Array.from('abcdefghijk') }, code: 'ValidationError' },
    { name: 'another algorithm', changes: { SigningAlgorithm: 'HS256' }, code: 'ValidationError' },
    { name: '59 seconds', changes: { DurationSeconds: 59 }, code: 'ValidationError' },
    { name: '3601 seconds', changes: { DurationSeconds: 3601 }, code: 'ValidationError' },
  ])('$name is refused', async ({ changes, code }) => {
    await expect(ask(changes)).rejects.toMatchObject({ name: code });
  });

  test('a token may not outlive the session', async () => {
    const short = directory.assumeRole(account, 'web', 'x', { until: new Date(Date.now() + 100_000) });
    await ask({ DurationSeconds: 60 }, clientFor(short));
    await expect(ask({ DurationSeconds: 120 }, clientFor(short))).rejects.toMatchObject({
      name: 'SessionDurationEscalationException',
    });
  });

  test('needs the permission, and an account that has enabled it', async () => {
    const denied = directory.assumeRole(account, 'web', 'x', { denied: ['sts:GetWebIdentityToken'] });
    await expect(ask({}, clientFor(denied))).rejects.toMatchObject({ name: 'AccessDenied' });
    const disabled = directory.assumeRole(directory.account('999999999999'), 'web');
    await expect(ask({}, clientFor(disabled))).rejects.toMatchObject({
      name: 'OutboundWebIdentityFederationDisabledException',
    });
  });

  test('the global endpoint has none, and signs in us-east-1', async () => {
    const global = await startSts({ directory, global: true });
    const changes = { endpoint: global.url, region: 'us-east-1' };
    await clientFor(key, changes).send(new GetCallerIdentityCommand({}));
    await expect(ask({}, clientFor(key, changes))).rejects.toMatchObject({ name: 'InvalidAction' });
    await global.close();
  });
});

interface Discovery {
  readonly issuer: string;
  readonly jwks_uri: string;
}

function cut(token = '') {
  const [header = '', claims = '', signature = ''] = token.split('.');
  const read = (part: string) =>
    JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
  return {
    header: read(header),
    claims: read(claims),
    signed: Buffer.from(`${header}.${claims}`),
    signature: Buffer.from(signature, 'base64url'),
  };
}

describe('the instance metadata service', () => {
  const started: Served[] = [];
  async function metadata(changes: Partial<Parameters<typeof startImds>[0]> = {}): Promise<Served> {
    const imds = await startImds({ role: 'web', credentials: () => key, ...changes });
    started.push(imds);
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) vi.stubEnv(name, undefined);
    vi.stubEnv('AWS_EC2_METADATA_SERVICE_ENDPOINT', imds.url);
    vi.stubEnv('AWS_EC2_METADATA_V1_DISABLED', 'true');
    for (const name of ['AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE']) vi.stubEnv(name, '/dev/null');
    return imds;
  }
  afterAll(async () => {
    vi.unstubAllEnvs();
    for (const imds of started) await imds.close();
  });
  const whoAmI = () => clientFor(undefined).send(new GetCallerIdentityCommand({}));

  test('gives the SDK the credentials of its role, by version 2', async () => {
    const imds = await metadata();
    expect((await whoAmI()).Arn).toBe('arn:aws:sts::123456789012:assumed-role/web/i-0abc');
    expect(imds.received.map(({ method, target }) => `${method} ${target}`)).toEqual([
      'PUT /latest/api/token',
      'GET /latest/meta-data/iam/security-credentials/',
      'GET /latest/meta-data/iam/security-credentials/web',
    ]);
  });

  test('answers nothing without a token', async () => {
    const { url } = await metadata();
    const statusOf = async (path: string, init: RequestInit = {}) =>
      (await fetch(`${url}${path}`, init)).status;
    const token = '/latest/api/token';
    const ttl = (seconds: string) => ({ 'x-aws-ec2-metadata-token-ttl-seconds': seconds });
    expect(await statusOf('/latest/meta-data/placement/region')).toBe(401);
    expect(await statusOf(token, { method: 'PUT' })).toBe(400);
    expect(await statusOf(token, { method: 'PUT', headers: ttl('21601') })).toBe(400);
    expect(
      await statusOf(token, { method: 'PUT', headers: { ...ttl('60'), 'x-forwarded-for': '10.0.0.1' } }),
    ).toBe(403);
    expect(await statusOf(token, { method: 'PUT', headers: ttl('60') })).toBe(200);
  });

  test('a container one hop away gets no credentials while the hop limit is one', async () => {
    await metadata({ hops: 2 });
    await expect(whoAmI()).rejects.toThrow(/Could not load credentials/);
    await metadata({ hops: 2, hopLimit: 2 });
    expect((await whoAmI()).Account).toBe('123456789012');
  });

  test.each([
    { name: '403', spoil: () => ({ status: 403 }) },
    { name: '500', spoil: () => ({ status: 500 }) },
    { name: 'a redirect', spoil: () => ({ status: 302, headers: { location: 'http://127.0.0.1:1/' } }) },
    { name: 'another shape', spoil: () => ({ status: 200, body: '{}' }) },
    { name: 'no answer', spoil: 'hang' as const },
  ])('$name gives the SDK nothing', async ({ spoil }) => {
    (await metadata()).spoil(spoil);
    await expect(whoAmI()).rejects.toThrow();
  });
});
