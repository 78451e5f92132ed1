/**
 * Real processes on two instances of an AWS that is not there: a CA that asks its STS and reads its tokens, and agents
 * whose credentials and region come from the instance metadata by AWS's own SDK.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type AccessKey, type Account, Directory } from '../kit/aws/directory.ts';
import { startImds } from '../kit/aws/imds.ts';
import { type Sts, serveIssuers, startSts } from '../kit/aws/sts.ts';
import type { Served } from '../kit/http/served.ts';
import { RECORD_MODULES } from '../kit/observe/record-modules.ts';
import { failedRenewal, nextCertificate } from '../kit/observe/renewals.ts';
import { readStatus } from '../kit/observe/status.ts';
import { textsIn } from '../kit/observe/texts.ts';
import {
  AGENT_MAIN,
  type AgentFolder,
  CA_MAIN,
  type CaFolder,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
  startProgram,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'aws.example';
const ACCOUNT = '123456789012';
const PATIENCE = { timeout: 100_000, interval: 50 };
const x509 = { ttl: '20s' };
const web = { kind: 'Identity', name: 'web', platform: 'aws-iam', when: "role == 'web'", x509 };
const jobs = {
  kind: 'Identity',
  name: 'jobs',
  platform: 'aws-web-identity',
  when: "arn.endsWith(':role/team/jobs')",
  x509,
};
const identities = {
  web: { ...web, id: `spiffe://${TRUST_DOMAIN}/{account}/{role}` },
  jobs: { ...jobs, id: `spiffe://${TRUST_DOMAIN}/{account}/{role}` },
};

/** One agent and the instance that it is on. */
interface Place {
  readonly imds: Served;
  readonly key: AccessKey;
  readonly agent: AgentFolder;
  readonly running: Running;
}

const directory = new Directory();
let dir: string;
let account: Account;
let issuers: Served;
let sts: Sts;
let ca: CaFolder;
let serving: Running;
let places: Record<'web' | 'jobs', Place>;

beforeAll(async () => {
  dir = makeFolder();
  issuers = await serveIssuers(() => directory.accounts());
  account = directory.account(ACCOUNT, { issuerUrl: `${issuers.url}/one` });
  sts = await startSts({ directory });
  const attestors = {
    'aws-iam': { accounts: [ACCOUNT], regions: [sts.region], endpoint: sts.url },
    'aws-web-identity': { issuers: [{ url: `${issuers.url}/one`, account: ACCOUNT }] },
  };
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors });
  serving = await ca.serve();
  await ca.saveBundle();
  await ca.apply(Object.values(identities));
  places = {
    web: await startPlace('web', 'team/web', { 'aws-iam': {} }),
    jobs: await startPlace('jobs', 'team/jobs', { 'aws-web-identity': { endpoint: sts.url } }),
  };
});
afterAll(async () => {
  for (const { running, imds } of Object.values(places)) {
    await running.stop();
    await imds.close();
  }
  await serving.stop();
  await sts.close();
  await issuers.close();
  removeFolder(dir);
});

/** Nothing of AWS but the instance metadata. */
function environment(imds: Served): NodeJS.ProcessEnv {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('AWS_')));
  const files = { AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null' };
  return { ...env, ...files, AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url };
}

async function startPlace(name: string, role: string, evidence: object): Promise<Place> {
  const key = directory.assumeRole(account, role, `i-${name}`);
  const imds = await startImds({ role: name, credentials: () => key });
  const agent = makeAgent(ca, name, { evidence });
  const running = await startProgram(AGENT_MAIN, ['run', '--config', agent.config], environment(imds));
  return { imds, key, agent, running };
}

const serialOf = async ({ agent }: Place): Promise<string> => (await readStatus(agent.socket)).serial;

/** What STS was told it was for: the binding of each exchange. */
const bindings = (): string[] =>
  sts.received.flatMap(({ headers }) => headers.get('x-chancery-binding') ?? []);
const audiences = (): string[] =>
  sts.received.flatMap(({ body }) => new URLSearchParams(body.toString()).get('Audience.member.1') ?? []);

test('both join, each as its role', async () => {
  const idOf = async ({ agent }: Place) => (await readStatus(agent.socket)).spiffeId;
  expect(await idOf(places.web)).toBe(`spiffe://${TRUST_DOMAIN}/${ACCOUNT}/web`);
  expect(await idOf(places.jobs)).toBe(`spiffe://${TRUST_DOMAIN}/${ACCOUNT}/jobs`);
  for (const { imds } of Object.values(places)) {
    const targets = imds.received.map(({ method, target }) => `${method} ${target}`);
    expect(targets).toContain('GET /latest/meta-data/placement/region');
    expect(
      imds.received.filter(
        ({ method, headers }) => method === 'GET' && !headers.has('x-aws-ec2-metadata-token'),
      ),
    ).toEqual([]);
  }
});

test('both renew, with evidence that was not used before', async () => {
  const before = { web: await serialOf(places.web), jobs: await serialOf(places.jobs) };
  await nextCertificate(places.web.agent.socket, before.web);
  await nextCertificate(places.jobs.agent.socket, before.jobs);
  for (const used of [bindings(), audiences()]) {
    expect(used.length).toBeGreaterThanOrEqual(2);
    expect(new Set(used).size).toBe(used.length);
  }
  expect(issuers.received.length, 'keys are kept').toBe(2);
});

test.each(['web', 'jobs'] as const)(
  'without its rule, %s is refused at the next renewal, and the log says why',
  async (name) => {
    const place = places[name];
    const { [name]: _, ...others } = identities;
    const refusals = (serving.log().match(/"code":"no(t_entitled|_identity)"/g) ?? []).length;
    await ca.apply(Object.values(others));
    const before = (await failedRenewal(place.agent.socket, /no identity is given for this evidence/)).serial;
    await vi.waitFor(() => {
      expect((serving.log().match(/"code":"no(t_entitled|_identity)"/g) ?? []).length).toBeGreaterThan(
        refusals,
      );
      expect(place.running.log()).toMatch(/no identity is given for this evidence/);
    }, PATIENCE);
    expect(await serialOf(place)).toBe(before);
    await ca.apply(Object.values(identities));
    await nextCertificate(place.agent.socket, before);
  },
);

test('an STS that is away stops nobody’s service, and when it is back they renew', async () => {
  sts.spoil(() => ({ status: 503 }));
  // Each at its own moment: the other may renew later than this one expires.
  const [web, jobs] = await Promise.all([
    failedRenewal(places.web.agent.socket, /the platform could not be asked/),
    failedRenewal(places.jobs.agent.socket, /sts:GetWebIdentityToken/),
  ]);
  expect(serving.log()).toMatch(/"platform_unavailable","detail":"STS answered 503"/);
  sts.spoil(undefined);
  await nextCertificate(places.web.agent.socket, web.serial);
  await nextCertificate(places.jobs.agent.socket, jobs.serial);
});

test('an agent that is told nothing finds that it is on AWS', async () => {
  const key = directory.assumeRole(account, 'web', 'i-found');
  const imds = await startImds({ role: 'web', credentials: () => key });
  const agent = makeAgent(ca, 'found', { platform: 'auto' });
  const running = await startProgram(AGENT_MAIN, ['run', '--config', agent.config], environment(imds));
  expect(await readStatus(agent.socket)).toMatchObject({
    spiffeId: `spiffe://${TRUST_DOMAIN}/${ACCOUNT}/web`,
  });
  expect(running.log()).toMatch(
    /"platform":"aws-iam","because":"the EC2 instance metadata service gives tokens"/,
  );
  await running.stop();
  await imds.close();
});

test('C44 no secret, session token, signature or web identity token is in a log or a file, the audit log’s among them', async () => {
  const folders = [join(dir, 'data'), ...Object.values(places).map(({ agent }) => join(agent.dir, 'data'))];
  const texts = textsIn(folders);
  const logs = [serving, ...Object.values(places).map(({ running }) => running)].map((each) => each.log());
  expect(texts.join(''), 'the audit log is in the database').toMatch(/node\.attested/);
  const everything = [...texts, ...logs].join('\n');
  const keys = Object.values(places).flatMap(({ key }) => [key.secretAccessKey, key.sessionToken ?? '']);
  const sent = sts.received.flatMap(({ headers }) => headers.get('authorization') ?? []);
  const signatures = sent.map((header) => header.replace(/.*Signature=/, ''));
  expect(signatures.length).toBeGreaterThan(5);
  expect([...keys, ...signatures, ...bindings()].filter((secret) => everything.includes(secret))).toEqual([]);
  expect(everything).not.toMatch(/eyJ[\w-]{20,}\.eyJ[\w-]{20,}/);
});

test('AWS’s SDK is loaded by an agent that needs it, and by no CA that does not ask Organizations', async () => {
  const env = { ...environment(places.web.imds), NODE_OPTIONS: `--import=${RECORD_MODULES}` };
  const loadedBy = async (main: string, args: readonly string[]): Promise<string> => {
    const file = join(dir, `modules-${args.length}-${main.length}`);
    await (await startProgram(main, args, { ...env, RECORD_MODULES_TO: file })).stop();
    return readFileSync(file, 'utf8');
  };
  expect(
    await loadedBy(AGENT_MAIN, [
      'run',
      '--config',
      makeAgent(ca, 'loads', { evidence: { 'aws-iam': {} } }).config,
    ]),
  ).toMatch(/@aws-sdk/);
  await serving.stop();
  expect(await loadedBy(CA_MAIN, ['serve', '--config', ca.config])).not.toMatch(/@aws-sdk|@smithy/);
  serving = await ca.serve();
});
