/** A cluster with a pod that may join, a CA's attestor that asks the cluster, and an exchange between the two. */

import type { EvidenceDeps } from '@chancery/agent/evidence/evidence.ts';
import {
  type KubernetesEvidenceConfig as AgentConfig,
  kubernetesEvidence,
} from '@chancery/agent/evidence/kubernetes.ts';
import type { Attestor, Facts, NodeMemory } from '@chancery/ca/attestors/attestor.ts';
import { KubernetesConfig } from '@chancery/ca/attestors/kubernetes/config.ts';
import { kubernetesAttestor } from '@chancery/ca/attestors/kubernetes.ts';
import { nodeMemory } from '@chancery/ca/store/node-memory.ts';
import type { Store } from '@chancery/ca/store/store.ts';
import { attestationBinding, audienceOf } from '@chancery/shared/evidence/binding.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { type Outbound, openOutbound } from '@chancery/shared/outbound/http.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { ProvenKey } from '@chancery/shared/x509/csr.ts';
import { proven } from '../ca/authority.ts';
import { MovableClock } from '../clock.ts';
import { memoryStore } from '../store/memory-store.ts';
import { type ApiServer, startApiServer } from './api-server.ts';
import { type Account, DEFAULT_TOKEN_SECONDS, type Pod } from './cluster.ts';
import { kubeconfigOf } from './kubeconfig.ts';
import { usernameOf } from './tokens.ts';

const TRUST_DOMAIN = parseTrustDomain('test.example');
export const OURS = `chancery://${TRUST_DOMAIN}`;

export interface KubernetesWorld {
  readonly clock: MovableClock;
  readonly server: ApiServer;
  readonly account: Account;
  readonly pod: Pod;
  readonly store: Store;
  /** What the CA's file readers find; a test may add to it. */
  readonly files: Map<string, string>;
  readonly outbound: Outbound;
  /** The bearer token by which the CA speaks to the API server. */
  readonly reviewer: string;
  /** `config` overrides `{ review: {...} }`; the attestor is kubernetes/eu-1 unless it is told otherwise. */
  attestor(config?: object, type?: string, memory?: NodeMemory): Promise<Attestor>;
  close(): Promise<void>;
}

export async function startKubernetesWorld(publicIssuer = false): Promise<KubernetesWorld> {
  const clock = new MovableClock();
  const server = await startApiServer({ clock, publicIssuer });
  const { cluster } = server;
  const node = cluster.addNode('node-1');
  const account = cluster.addAccount('agents', 'billing');
  const pod = cluster.addPod(account, 'billing-0', node);
  const caPod = cluster.addPod(cluster.addAccount('chancery', 'ca'), 'ca-0', node);
  const reviewer = cluster.tokenFor(caPod, cluster.apiAudiences, DEFAULT_TOKEN_SECONDS);
  server.allow(usernameOf('chancery', 'ca'), 'create tokenreviews', 'get pods');
  server.allow(usernameOf('agents', 'billing'), 'create serviceaccounts/token agents/billing');
  const files = new Map([['kubeconfig', kubeconfigOf(server, reviewer)]]);
  const store = await memoryStore(clock);
  const outbound = openOutbound();
  const deps = { clock, log: silentLog, outbound, trustDomain: TRUST_DOMAIN };
  const readFile = (path: string): Uint8Array => {
    const text = files.get(path);
    if (text === undefined) throw new Error(`ENOENT: ${path}`);
    return utf8(text);
  };
  return {
    clock,
    server,
    account,
    pod,
    store,
    files,
    outbound,
    reviewer,
    attestor: async (config = {}, type = 'kubernetes/eu-1', memory = nodeMemory(store)) => {
      const parsed = KubernetesConfig.parse({
        review: { kubeconfig: 'kubeconfig', timeout: '1s' },
        ...config,
      });
      return kubernetesAttestor(parsed, { ...deps, memory, readFile, type });
    },
    close: async () => {
      outbound.close();
      await store.close();
      await server.close();
    },
  };
}

export interface PodExchange {
  readonly key?: ProvenKey;
  /** What the agent answers; a genuine plain token of the pod by default. */
  readonly token?: string | ((audience: string) => string);
  readonly opening?: string;
  readonly nonce?: Uint8Array;
}

/** One exchange, with the agent's side played by the test. */
export async function attestPod(
  world: KubernetesWorld,
  attestor: Attestor,
  { key, token, opening = '', nonce = new Uint8Array(32).fill(7) }: PodExchange = {},
): Promise<Facts> {
  const certified = key ?? (await proven());
  const binding = attestationBinding(TRUST_DOMAIN, nonce, certified.spki);
  const said = typeof token === 'function' ? token(audienceOf(TRUST_DOMAIN, binding)) : token;
  return attestor.attest(utf8(opening), {
    now: () => world.clock.now(),
    key: certified,
    binding,
    peer: undefined,
    challenge: async () => utf8(said ?? world.server.cluster.tokenFor(world.pod, [OURS])),
  });
}

/** The agent's side as it is, in the world's pod, with the kubelet's files. */
export function podEvidence(world: KubernetesWorld, config: Partial<AgentConfig> = {}) {
  const { server, pod, clock, outbound } = world;
  const { cluster } = server;
  const files: Readonly<Record<string, () => string>> = {
    '/var/run/secrets/tokens/chancery': () => cluster.tokenFor(pod, [OURS]),
    '/var/run/secrets/kubernetes.io/serviceaccount/token': () =>
      cluster.tokenFor(pod, cluster.apiAudiences, DEFAULT_TOKEN_SECONDS),
    '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt': () => server.caPem,
  };
  const deps: EvidenceDeps = {
    trustDomain: TRUST_DOMAIN,
    env: {},
    outbound,
    clock,
    readFile: async (path) => utf8(files[path]?.() ?? ''),
  };
  const whole = {
    cluster: undefined,
    mode: 'requested' as const,
    token: '/var/run/secrets/tokens/chancery',
    credentials: '/var/run/secrets/kubernetes.io/serviceaccount',
    server: server.url,
    ...config,
  };
  return { deps, source: kubernetesEvidence(whole, deps) };
}

/** The answer of a source, for this key and binding. */
export async function answerOf(
  source: ReturnType<typeof podEvidence>['source'],
  binding: Uint8Array,
): Promise<string> {
  const exchange = await source.begin(new Uint8Array(), AbortSignal.timeout(5_000));
  return Buffer.from(await exchange.answer(new Uint8Array(), binding)).toString();
}
