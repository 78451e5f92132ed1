/**
 * Real processes beside a cluster: a CA that asks its API server, and two agents in its pods, one with the token that
 * the kubelet projects, one that requests a token for each exchange.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { tlsTarget } from '@chancery/agent/svid/channel.ts';
import { join } from '@chancery/agent/svid/obtain.ts';
import { bootstrapBundle } from '@chancery/agent/trust/bootstrap.ts';
import { AttestationClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type ApiServer, startApiServer } from '../kit/kubernetes/api-server.ts';
import { type Account, DEFAULT_TOKEN_SECONDS, type Pod } from '../kit/kubernetes/cluster.ts';
import { kubeconfigOf } from '../kit/kubernetes/kubeconfig.ts';
import { usernameOf } from '../kit/kubernetes/tokens.ts';
import { RECORD_MODULES } from '../kit/observe/record-modules.ts';
import { failedRenewal, nextCertificate } from '../kit/observe/renewals.ts';
import { readStatus } from '../kit/observe/status.ts';
import { textsIn } from '../kit/observe/texts.ts';
import {
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

const TRUST_DOMAIN = 'pods.example';
const OURS = `chancery://${TRUST_DOMAIN}`;
const PATIENCE = { timeout: 100_000, interval: 50 };
const identity = (name: string) => ({
  kind: 'Identity',
  name,
  platform: 'kubernetes/eu-1',
  when: `kubernetes.namespace in ['agents'] && serviceAccount == '${name}'`,
  id: `spiffe://${TRUST_DOMAIN}/ns/{namespace}/sa/{serviceAccount}/pod/{podUid}`,
  x509: { ttl: '20s' },
});

let dir: string;
let server: ApiServer;
let ca: CaFolder;
let serving: Running;
/** Each with its pod, its folder and its process. */
interface Place {
  readonly pod: Pod;
  readonly agent: AgentFolder;
  readonly running: Running;
}
let projected: Place;
let requested: Place;
/** Every token that the kubelet or the API server gave out. */
const tokens = new Set<string>();

beforeAll(async () => {
  dir = makeFolder();
  server = await startApiServer({ clock: systemClock });
  const { cluster } = server;
  const node = cluster.addNode('node-1');
  const ownPod = cluster.addPod(cluster.addAccount('chancery', 'ca'), 'ca-0', node);
  const reviewer = given(cluster.tokenFor(ownPod, cluster.apiAudiences, DEFAULT_TOKEN_SECONDS));
  server.allow(usernameOf('chancery', 'ca'), 'create tokenreviews', 'get pods');
  writeFileSync(joinPath(dir, 'kubeconfig'), kubeconfigOf(server, reviewer));
  const review = { kubeconfig: 'kubeconfig', timeout: '2s' };
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { kubernetes: { 'eu-1': { review } } } });
  serving = await ca.serve();
  await ca.saveBundle();
  await ca.apply([identity('billing'), identity('search')]);
  server.allow(usernameOf('agents', 'search'), 'create serviceaccounts/token agents/search');
  projected = await startProjected(cluster.addAccount('agents', 'billing'));
  requested = await startRequested(cluster.addAccount('agents', 'search'));
});
afterAll(async () => {
  await projected.running.stop();
  await requested.running.stop();
  await serving.stop();
  await server.close();
  removeFolder(dir);
});

function given(token: string): string {
  tokens.add(token);
  return token;
}

/** The kubelet's part: a token in a file, exchanged long before it ends; here, before each renewal. */
function project(pod: Pod): string {
  const file = joinPath(dir, `${pod.name}-token`);
  writeFileSync(file, given(server.cluster.tokenFor(pod, [OURS])));
  return file;
}

async function startProjected(account: Account): Promise<Place> {
  const pod = server.cluster.addPod(account, 'billing-0', server.cluster.nodes.get('node-1'));
  const evidence = { kubernetes: { cluster: 'eu-1', token: project(pod) } };
  const agent = makeAgent(ca, 'billing', { evidence });
  return { pod, agent, running: await agent.run() };
}

async function startRequested(account: Account): Promise<Place> {
  const pod = server.cluster.addPod(account, 'search-0', server.cluster.nodes.get('node-1'));
  const credentials = joinPath(dir, 'search-credentials');
  mkdirSync(credentials);
  const { apiAudiences } = server.cluster;
  const own = given(server.cluster.tokenFor(pod, apiAudiences, DEFAULT_TOKEN_SECONDS));
  writeFileSync(joinPath(credentials, 'token'), own);
  writeFileSync(joinPath(credentials, 'ca.crt'), server.caPem);
  // The CA has one cluster: its name need not be said.
  const evidence = { kubernetes: { mode: 'requested', credentials, server: server.url } };
  const agent = makeAgent(ca, 'search', { evidence });
  return { pod, agent, running: await agent.run() };
}

const reviews = () => server.seen.filter(({ path }) => path.endsWith('/tokenreviews'));
const reviewedTokens = (): string[] => reviews().map(({ body }) => JSON.parse(body).spec.token);
const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());

const serialOf = async ({ agent }: Place): Promise<string> => (await readStatus(agent.socket)).serial;

test('both join, each as its own pod', async () => {
  for (const [name, place] of Object.entries({ billing: projected, search: requested }))
    expect(await readStatus(place.agent.socket)).toMatchObject({
      spiffeId: `spiffe://${TRUST_DOMAIN}/ns/agents/sa/${name}/pod/${place.pod.uid}`,
    });
  const [first = '', second = ''] = reviewedTokens();
  expect(claimsOf(first).aud).toEqual([OURS]);
  expect(claimsOf(second).aud).toEqual([expect.stringMatching(/^chancery:\/\/pods\.example\/[\w-]{43}$/)]);
});

test('both renew, with evidence that was not used before', async () => {
  const before = { billing: await serialOf(projected), search: await serialOf(requested) };
  project(projected.pod);
  await nextCertificate(projected.agent.socket, before.billing);
  await nextCertificate(requested.agent.socket, before.search);
  const used = reviewedTokens().map((token) => claimsOf(token).jti);
  expect(used.length).toBeGreaterThanOrEqual(4);
  expect(new Set(used).size).toBe(used.length);
});

test('without its rule, the next renewal is refused, and the CA’s log says why', async () => {
  await ca.apply([identity('search')]);
  project(projected.pod);
  const { socket } = projected.agent;
  const { serial: before } = await failedRenewal(socket, /no identity is given for this evidence/);
  await vi.waitFor(() => {
    expect(serving.log()).toMatch(/"code":"no(t_entitled|_identity)","detail":"[^"]*serviceAccount/);
    expect(projected.running.log()).toMatch(/no identity is given for this evidence/);
  }, PATIENCE);
  expect(await serialOf(projected)).toBe(before);
  // With its rule, the same token will do: the key that it came with was never certified, and is tried again.
  await ca.apply([identity('billing'), identity('search')]);
  await nextCertificate(projected.agent.socket, before);
});

test('an API server that is away stops nobody’s service, and when it is back they renew', async () => {
  server.spoil(/tokenreviews/, { kind: 'status', status: 503 });
  const { socket } = requested.agent;
  const { serial: before } = await failedRenewal(socket, /the platform could not be asked/);
  expect(serving.log()).toMatch(/"platform_unavailable","detail":"TokenReview: the API server answered 503"/);
  server.spoil(/tokenreviews/, undefined);
  await nextCertificate(requested.agent.socket, before);
});

test('C42 all that was ever shown cannot be used with another key', async () => {
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  const address = `127.0.0.1:${ca.port}`;
  const bundle = await bootstrapBundle({ trustDomain, address, bundleFile: ca.bundle, pin: undefined });
  const { credentials, options } = tlsTarget(address, bundle, undefined, systemClock);
  const client = new AttestationClient(address, credentials, options);
  const captured = reviewedTokens();
  const before = serving.log().length;
  for (const token of captured) {
    const exchange = {
      opening: new Uint8Array(),
      answer: async () => Buffer.from(token),
      end: async () => {},
    };
    const evidence = { platform: 'kubernetes/eu-1', begin: async () => exchange, close: async () => {} };
    const signal = AbortSignal.timeout(60_000);
    const request = {
      evidence,
      bundle,
      id: undefined,
      instance: randomBytes(16),
      clock: systemClock,
      signal,
    };
    await expect(join(client, request)).rejects.toMatchObject({
      code: 'refused_by_ca',
      message: expect.stringMatching(/evidence did not verify \(reference \w{8}\)$/),
    });
  }
  client.close();
  const codes = () =>
    [
      ...serving
        .log()
        .slice(before)
        .matchAll(/"rpc":"Attest".*?"code":"(\w+)"/g),
    ].map(([, code]) => code);
  await vi.waitFor(() => expect(codes().length).toBe(captured.length), PATIENCE);
  expect(new Set(codes())).toEqual(new Set(['jti_replay', 'k8s_audience']));
});

test('a pod that is deleted renews no more, with a token from before', async () => {
  project(projected.pod);
  server.cluster.deletePod(projected.pod);
  await vi.waitFor(
    () => expect(serving.log()).toMatch(/"code":"k8s_cluster","detail":".*has been invalidated/),
    PATIENCE,
  );
});

test('C44 no token is in a log, the audit log, the database or the agents’ files', async () => {
  for (const token of reviewedTokens()) tokens.add(token);
  const folders = [
    joinPath(dir, 'data'),
    ...[projected, requested].map(({ agent }) => joinPath(agent.dir, 'data')),
  ];
  const texts = textsIn(folders);
  const logs = [serving, projected.running, requested.running].map((each) => each.log());
  expect(logs.join('')).not.toBe('');
  const everything = [...texts, ...logs].join('\n');
  // Header and key name are the same for all; claims and signatures are a token's own.
  const secrets = [...tokens].flatMap((token) => token.split('.').slice(1));
  expect(secrets.length).toBeGreaterThan(10);
  expect(secrets.filter((part) => everything.includes(part))).toEqual([]);
});

/** The official client is 85 MB on disk, and most of a CA's memory where it is loaded. */
test('the client is loaded by a CA that asks a cluster, and by no other', async () => {
  const loadedBy = async (folder: CaFolder): Promise<string> => {
    const file = joinPath(folder.dir, 'modules');
    const env = { ...process.env, NODE_OPTIONS: `--import=${RECORD_MODULES}`, RECORD_MODULES_TO: file };
    await (await startProgram(CA_MAIN, ['serve', '--config', folder.config], env)).stop();
    return readFileSync(file, 'utf8');
  };
  const jwks = { issuer: 'https://issuer.example' };
  const attestors = { unix: {}, kubernetes: { offline: { jwks } } };
  const offline = await makeCa(joinPath(dir, 'offline'), TRUST_DOMAIN, { attestors });
  const loaded = await loadedBy(offline);
  expect(loaded).toMatch(/ca\/src\/attestors\/kubernetes\.ts/);
  expect(loaded).not.toMatch(/client-node|undici/);
  await serving.stop();
  expect(await loadedBy(ca)).toMatch(/client-node/);
  serving = await ca.serve();
});
