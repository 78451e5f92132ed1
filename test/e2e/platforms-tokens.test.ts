/** Real processes where tokens speak: a CA, and agents in a job of GitHub and on an instance of Google. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { INSTANCE, startMetadata } from '../kit/gcp/metadata.ts';
import type { Served } from '../kit/http/served.ts';
import { failedRenewal, nextCertificate } from '../kit/observe/renewals.ts';
import { readStatus } from '../kit/observe/status.ts';
import { textsIn } from '../kit/observe/texts.ts';
import { startIssuer, type TestIssuer } from '../kit/oidc/issuer.ts';
import {
  AGENT_MAIN,
  type AgentFolder,
  type CaFolder,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
  startProgram,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'tokens.example';
const PATIENCE = { timeout: 100_000, interval: 50 };
const now = () => new Date();
const workflow = {
  repository: 'octo-org/octo-repo',
  repository_id: '74',
  repository_owner_id: '65',
  ref: 'refs/heads/main',
  job_workflow_ref: 'octo-org/octo-repo/.github/workflows/ci.yml@refs/heads/main',
  event_name: 'push',
  run_id: '1',
  run_attempt: '1',
};
const identities = {
  github: { platform: 'oidc/github', id: `spiffe://${TRUST_DOMAIN}/repo/{repositoryId}` },
  gcp: {
    platform: 'gcp',
    id: `spiffe://${TRUST_DOMAIN}/vm/{gcp.instanceName}`,
    when: "zone == 'us-west1-b'",
  },
} as const;
type Name = keyof typeof identities;
const resource = (name: Name) => ({ kind: 'Identity', name, ...identities[name], x509: { ttl: '20s' } });

let dir: string;
let google: TestIssuer;
let metadata: Served;
let hub: TestIssuer;
let ca: CaFolder;
let serving: Running;
const agents = new Map<Name, { folder: AgentFolder; running: Running }>();

beforeAll(async () => {
  dir = makeFolder();
  google = await startIssuer({ now });
  hub = await startIssuer({ now, claims: workflow });
  const token = (claims: object): string => google.token(claims);
  metadata = await startMetadata({ instance: INSTANCE, email: 'a@my-project.example', token, now });
  const gcp = { projects: ['my-project'], issuer: google.url, jwksUri: `${google.url}/jwks` };
  const github = { preset: 'github', issuer: hub.url, claims: { repository_id: ['74'] } };
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { gcp, oidc: { github } } });
  serving = await ca.serve();
  await ca.saveBundle();
  await ca.apply([resource('github'), resource('gcp')]);
  await start('gcp', { evidence: { gcp: { endpoint: metadata.url } } }, {});
  // As a job has it: found by its environment.
  await start('github', { platform: 'auto' }, { GITHUB_ACTIONS: 'true', ...hub.env });
});
afterAll(async () => {
  for (const { running } of agents.values()) await running.stop();
  await serving.stop();
  await Promise.all([google.close(), hub.close(), metadata.close()]);
  removeFolder(dir);
});

async function start(name: Name, config: object, env: Readonly<Record<string, string>>): Promise<void> {
  const folder = makeAgent(ca, name, config);
  const running = await startProgram(AGENT_MAIN, ['run', '--config', folder.config], {
    ...process.env,
    ...env,
  });
  agents.set(name, { folder, running });
}

const agentOf = (name: Name) => {
  const agent = agents.get(name);
  if (agent === undefined) throw new Error(name);
  return agent;
};
const socketOf = (name: Name): string => agentOf(name).folder.socket;
const statusOf = (name: Name) => readStatus(socketOf(name));

describe.each<[Name, string]>([
  ['github', 'repo/74'],
  ['gcp', 'vm/vm-1'],
])('%s', (name, path) => {
  test('joins, and renews with a fresh token', async () => {
    const { spiffeId, serial } = await statusOf(name);
    expect(spiffeId).toBe(`spiffe://${TRUST_DOMAIN}/${path}`);
    await nextCertificate(socketOf(name), serial);
  });

  test('without its rule is refused at the next renewal, and the CA’s log says why', async () => {
    const others = (Object.keys(identities) as Name[]).filter((each) => each !== name);
    await ca.apply(others.map(resource));
    const { serial } = await failedRenewal(socketOf(name), /no identity is given for this evidence/);
    await vi.waitFor(() => {
      const { platform } = identities[name];
      expect(serving.log()).toMatch(new RegExp(`"no_identity","detail":"[^"]* not ${platform}`));
      expect(agentOf(name).running.log()).toMatch(/no identity is given for this evidence/);
    }, PATIENCE);
    expect(await statusOf(name)).toMatchObject({ serial });
    await ca.apply([resource('github'), resource('gcp')]);
    await nextCertificate(socketOf(name), serial);
  });

  test('goes on serving where its platform is down, and recovers', async () => {
    const platform = name === 'gcp' ? metadata : hub.served;
    platform.spoil(() => ({ status: 503 }));
    const { serial } = await failedRenewal(socketOf(name), /answered 503/);
    platform.spoil(undefined);
    await nextCertificate(socketOf(name), serial);
  });
});

test('an issuer whose keys cannot be fetched stops no join while the known keys are used', async () => {
  const { serial } = await statusOf('gcp');
  google.served.spoil(() => ({ status: 500 }));
  await nextCertificate(socketOf('gcp'), serial);
  google.served.spoil(undefined);
});

test('C44 no token is in a log, the database or the agents’ files', async () => {
  const folders = [join(dir, 'data'), ...[...agents.values()].map(({ folder }) => join(folder.dir, 'data'))];
  const texts = textsIn(folders);
  const logs = [serving, ...[...agents.values()].map(({ running }) => running)].map((each) => each.log());
  const everything = [...texts, ...logs].join('\n');
  expect(everything).toContain('152986662232938449');
  const requestToken = hub.env['ACTIONS_ID_TOKEN_REQUEST_TOKEN'] ?? 'missing';
  const secrets = [
    requestToken,
    ...[...google.signed, ...hub.signed].flatMap((token) => token.split('.').slice(1)),
  ];
  expect(secrets.length).toBeGreaterThan(8);
  expect(secrets.filter((secret) => everything.includes(secret))).toEqual([]);
});
