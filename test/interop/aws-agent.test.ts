/** The agent's side of AWS, with AWS's own SDK in it, in places that are as they should be and in others. */
import { awsCaller } from '@chancery/agent/evidence/aws/caller.ts';
import { awsIamEvidence, awsIamEvidenceKind } from '@chancery/agent/evidence/aws/iam.ts';
import { detectAws } from '@chancery/agent/evidence/aws/metadata.ts';
import {
  awsWebIdentityEvidence,
  awsWebIdentityEvidenceKind,
} from '@chancery/agent/evidence/aws/web-identity.ts';
import type { EvidenceDeps } from '@chancery/agent/evidence/evidence.ts';
import { packStsQuestion } from '@chancery/shared/evidence/aws-iam.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type AccessKey, type Account, Directory } from '../kit/aws/directory.ts';
import { startImds } from '../kit/aws/imds.ts';
import { type Sts, startSts } from '../kit/aws/sts.ts';
import { AWS_TRUST_DOMAIN, callerWith } from '../kit/aws/world.ts';
import type { Served, Spoilt } from '../kit/http/served.ts';
import { refusal } from '../kit/refusal.ts';

const directory = new Directory();
const outbound = openOutbound();
let account: Account;
let key: AccessKey;
let imds: Served;
let sts: Sts;
beforeAll(async () => {
  account = directory.account('123456789012');
  key = directory.assumeRole(account, 'web');
  imds = await startImds({ role: 'web', region: 'eu-central-1', credentials: () => key });
  sts = await startSts({ directory });
});
beforeEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) vi.stubEnv(name, undefined);
  for (const name of ['AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE']) vi.stubEnv(name, '/dev/null');
  vi.stubEnv('AWS_EC2_METADATA_SERVICE_ENDPOINT', imds.url);
});
afterEach(() => {
  imds.spoil(undefined);
  sts.spoil(undefined);
  vi.unstubAllEnvs();
});
afterAll(async () => {
  outbound.close();
  await imds.close();
  await sts.close();
});

const deps = (env: EvidenceDeps['env'] = process.env): EvidenceDeps => ({
  trustDomain: AWS_TRUST_DOMAIN,
  env,
  outbound,
  clock: systemClock,
  readFile: () => Promise.reject(new Error('no file is read')),
});
const soon = (ms = 120_000) => AbortSignal.timeout(ms);

describe('credentials and region', () => {
  test('of the instance', async () => {
    const caller = awsCaller(undefined, deps());
    expect(await caller.credentials(soon())).toMatchObject({
      accessKeyId: key.accessKeyId,
      sessionToken: key.sessionToken,
    });
    expect(await caller.region(soon())).toBe('eu-central-1');
  });

  test.each([
    { name: 'the config', region: 'us-east-1', env: { AWS_REGION: 'us-east-2' }, expected: 'us-east-1' },
    {
      name: 'AWS_REGION',
      region: undefined,
      env: { AWS_REGION: 'us-east-2', AWS_DEFAULT_REGION: 'us-west-1' },
      expected: 'us-east-2',
    },
    {
      name: 'AWS_DEFAULT_REGION',
      region: undefined,
      env: { AWS_DEFAULT_REGION: 'us-west-1' },
      expected: 'us-west-1',
    },
  ])('$name comes before the instance', async ({ region, env, expected }) => {
    const before = imds.received.length;
    expect(await awsCaller(region, deps(env)).region(soon())).toBe(expected);
    expect(imds.received.length).toBe(before);
  });

  const spoilt: { name: string; spoil: Spoilt }[] = [
    { name: '401', spoil: () => ({ status: 401 }) },
    { name: '403', spoil: () => ({ status: 403 }) },
    { name: '500', spoil: () => ({ status: 500 }) },
    { name: 'a redirect', spoil: () => ({ status: 302, headers: { location: 'http://127.0.0.1:1/' } }) },
    {
      name: 'another shape',
      spoil: (answer, { method }) => (method === 'PUT' ? answer : { status: 200, body: '{}' }),
    },
    { name: 'no answer', spoil: 'hang' },
    { name: '10 MB', spoil: (answer) => ({ ...answer, body: Buffer.alloc(10 << 20, 'x') }) },
    { name: 'half an answer', spoil: 'cut' },
  ];
  test.each(spoilt)('metadata that gives $name gives neither, until it is back', async ({ spoil }) => {
    imds.spoil(spoil);
    const caller = awsCaller(undefined, deps());
    const unavailable = expect.objectContaining({ code: 'platform_unavailable' });
    await expect(caller.region(soon())).rejects.toThrow(unavailable);
    await expect(caller.credentials(soon())).rejects.toThrow(
      refusal('platform_unavailable', /no AWS credentials: /),
    );
    imds.spoil(undefined);
    expect(await caller.credentials(soon()), 'once it is back').toMatchObject({
      accessKeyId: key.accessKeyId,
    });
  });

  test('empty ones are none', async () => {
    const emptied = (text: unknown) => String(text).replace(/"AccessKeyId": ".*?"/, '"AccessKeyId": ""');
    imds.spoil((answer) => ({ ...answer, body: emptied(answer.body) }));
    await expect(awsCaller(undefined, deps()).credentials(soon())).rejects.toThrow(
      refusal('platform_unavailable', /no AWS credentials: they are empty/),
    );
  });

  test('a wait is over when the agent is', async () => {
    imds.spoil('hang');
    const stop = new AbortController();
    const waiting = awsCaller(undefined, deps()).credentials(stop.signal);
    stop.abort(new Error('stopping'));
    await expect(waiting).rejects.toThrow('stopping');
  });

  test('no version 1, whatever answers without a token', async () => {
    imds.spoil((answer, { method }) => (method === 'PUT' ? { status: 404 } : { ...answer, status: 200 }));
    const before = imds.received.length;
    await expect(awsCaller(undefined, deps()).credentials(soon())).rejects.toThrow(/no AWS credentials/);
    expect(imds.received.slice(before).map(({ method }) => method)).toEqual(['PUT']);
  });
});

describe('whether this is AWS', () => {
  test.each([
    { env: { AWS_WEB_IDENTITY_TOKEN_FILE: '/f' }, usable: true, says: /AWS_WEB_IDENTITY_TOKEN_FILE is set/ },
    { env: { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2' }, usable: true, says: /RELATIVE_URI is set/ },
    { env: { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://x' }, usable: true, says: /FULL_URI is set/ },
    { env: { AWS_ACCESS_KEY_ID: 'AKIA' }, usable: true, says: /AWS_ACCESS_KEY_ID is set/ },
    {
      env: { AWS_ACCESS_KEY_ID: '', AWS_EC2_METADATA_DISABLED: 'true' },
      usable: false,
      says: /AWS_EC2_METADATA_DISABLED is true/,
    },
  ])('by the environment: $env', async ({ env, usable, says }) => {
    const before = imds.received.length;
    expect(await detectAws(deps(env), soon())).toEqual({ usable, says: expect.stringMatching(says) });
    expect(imds.received.length).toBe(before);
  });

  test('by the instance metadata, of which it takes a token and nothing more', async () => {
    const before = imds.received.length;
    for (const kind of [awsIamEvidenceKind, awsWebIdentityEvidenceKind])
      expect(await kind.detect(deps(), soon())).toMatchObject({ usable: true });
    expect(imds.received.slice(before).map(({ method }) => method)).toEqual(['PUT', 'PUT']);
  });

  test.each([
    { name: 'something else that answers', spoil: () => ({ status: 200, body: '<html> not found' }) },
    { name: '404', spoil: () => ({ status: 404 }) },
    { name: 'nobody', spoil: 'hang' as const },
  ])('not by $name', async ({ spoil }) => {
    imds.spoil(spoil);
    expect(await detectAws(deps(), soon())).toMatchObject({
      usable: false,
      says: expect.stringMatching(/no EC2 instance metadata/),
    });
  });
});

describe('evidence', () => {
  const begin = (source: ReturnType<typeof awsIamEvidence>) => source.begin(new Uint8Array(), soon());

  test('aws-iam signs for hosts of the table only', async () => {
    const nowhere = await begin(awsIamEvidence(callerWith(key, 'evil.com/'), { clock: systemClock }));
    await expect(nowhere.answer(packStsQuestion('standard'), new Uint8Array(32))).rejects.toThrow(
      refusal('platform_unavailable', /"evil.com\/" is not an AWS region/),
    );
    const exchange = await begin(awsIamEvidence(callerWith(key), { clock: systemClock }));
    await expect(exchange.answer(packStsQuestion('evil.com'), new Uint8Array(32))).rejects.toThrow(
      refusal('evidence_parse', /a kind of endpoint that is not known/),
    );
  });

  const token = async (credentials: AccessKey, signal = soon()) => {
    const source = awsWebIdentityEvidence(
      callerWith(credentials),
      { trustDomain: AWS_TRUST_DOMAIN },
      sts.url,
    );
    return (await source.begin(new Uint8Array(), signal)).answer(new Uint8Array(), new Uint8Array(32));
  };

  test.each([
    {
      name: 'an account that has not enabled it',
      credentials: () => key,
      says: /OutboundWebIdentityFederationDisabled/,
    },
    {
      name: 'a role that may not',
      credentials: () => directory.assumeRole(account, 'x', 'yy', { denied: ['sts:GetWebIdentityToken'] }),
      says: /AccessDenied: .*not authorized to perform: sts:GetWebIdentityToken/,
    },
    {
      name: 'credentials that have ended',
      credentials: () => directory.assumeRole(account, 'x', 'yy', { until: new Date(0) }),
      says: /ExpiredToken/,
    },
  ])('aws-web-identity tells why: $name', async ({ credentials, says }) => {
    await expect(token(credentials())).rejects.toThrow(refusal('platform_unavailable', says));
  });

  test('aws-web-identity does without no token', async () => {
    sts.spoil((answer) => ({
      ...answer,
      status: 200,
      body: String(answer.body).replace(/<Error>.*<\/Error>/s, ''),
    }));
    await expect(token(key)).rejects.toThrow(refusal('platform_unavailable', /without a token/));
  });

  test('aws-web-identity waits no longer than the exchange', async () => {
    sts.spoil('hang');
    await expect(token(key, soon(200))).rejects.toThrow(
      refusal('platform_unavailable', /GetWebIdentityToken/),
    );
  });

  test.each([
    { endpoint: 'http://sts.example' },
    { endpoint: 'https://user@sts.example' },
    { region: '' },
    { issuer: 'x' },
  ])('a config with %j is refused', (config) => {
    expect(awsWebIdentityEvidenceKind.schema.safeParse(config).success).toBe(false);
  });
});
