/**
 * A pod of a Kubernetes cluster, by its service-account token. Proves that the cluster minted this token for this pod
 * and for the CA within the last half hour; with `review`, that the pod exists and runs now; with a bound audience,
 * that the token was minted for this exchange and this key. It does not prove which container of the pod asks, and does
 * not protect from the cluster's administrators, or from others who may create pods for the account.
 */

import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { keySetFrom } from '../tokens/jwks.ts';
import { ALGORITHMS, verifyToken } from '../tokens/jwt.ts';
import {
  type Attestor,
  type AttestorDeps,
  type AttestorKind,
  type Facts,
  inFileOf,
  readTlsRoots,
  type Turn,
} from './attestor.ts';
import { openClusterApi } from './kubernetes/api.ts';
import { type PodClaims, readPodClaims } from './kubernetes/claims.ts';
import { type JwksConfig, KubernetesConfig, type ReviewConfig } from './kubernetes/config.ts';
import { ensureLivePod, ensureReviewed } from './kubernetes/review.ts';

export const kubernetesKind: AttestorKind<KubernetesConfig> = {
  type: 'kubernetes',
  says: 'Pods of Kubernetes clusters, by their service-account tokens.',
  schema: KubernetesConfig,
  create: kubernetesAttestor,
};

type Deps = AttestorDeps & { readonly type: string };

/** How the CA verifies that a token comes from one cluster. */
interface Cluster {
  /** Proves what the claims say. Throws IdentityError. */
  authenticate(token: Uint8Array, claims: PodClaims, now: Date): Promise<void>;
}

/** Loads what the mode needs. Throws config. */
export async function kubernetesAttestor(config: KubernetesConfig, deps: Deps): Promise<Attestor> {
  const cluster = await clusterOf(config, deps);
  return {
    type: deps.type,
    async attest(opening, turn) {
      ensure(opening.length === 0, 'evidence_parse', 'the first message of a pod must be empty');
      const token = await turn.challenge(new Uint8Array());
      const claims = readPodClaims(token);
      const carriesBinding = ensureForUs(claims, config, { deps, turn });
      ensureShortLived(claims, config, turn.now());
      ensureAllowed(claims, config);
      await cluster.authenticate(token, claims, turn.now());
      if (!carriesBinding) await bindToKey(claims, deps, turn);
      return factsOf(claims, deps.type);
    },
  };
}

async function clusterOf({ review, jwks, maxTokenLifetime }: KubernetesConfig, deps: Deps): Promise<Cluster> {
  if (review !== undefined) return asked(review, deps);
  if (jwks !== undefined) return byJwks(jwks, maxTokenLifetime, deps);
  throw new IdentityError('config', `${deps.type}: neither review nor jwks`);
}

/** Asks the API server, which is authoritative: the token's account and pod must still exist. */
async function asked(config: ReviewConfig, deps: Deps): Promise<Cluster> {
  const api = await openClusterApi(config, deps);
  return {
    authenticate: async (token, claims) => {
      const text = asBuffer(token).toString('latin1');
      ensureReviewed(await api.review(text, claims.audience), claims, text);
      if (config.podCheck) ensureLivePod(await api.pod(claims.namespace, claims.pod.name), claims);
    },
  };
}

/** Uses the keys of the configured cluster, whatever `iss` says: most clusters have the same `iss`. */
function byJwks({ issuer, file, ca }: JwksConfig, maxLifetimeSeconds: number, deps: Deps): Cluster {
  const roots = ca === undefined ? undefined : readTlsRoots(deps, ca);
  const withRoots = { ...deps, ca: roots };
  const keys =
    file === undefined
      ? keySetFrom({ discover: issuer }, withRoots)
      : inFileOf(deps, file, (jwks) => keySetFrom({ jwks }, withRoots));
  const rules = { issuer, algorithms: ALGORITHMS, keys, maxLifetimeSeconds };
  return {
    authenticate: async (token, { audience }, now) => {
      await verifyToken(token, { ...rules, audience }, now);
    },
  };
}

/** True if the audience carries the binding, false for a plain token. Throws k8s_audience. */
function ensureForUs(
  { audience }: PodClaims,
  config: KubernetesConfig,
  { deps: { trustDomain }, turn }: { deps: Deps; turn: Turn },
): boolean {
  if (audience === audienceOf(trustDomain, turn.binding)) return true;
  const plain = config.audience ?? `chancery://${trustDomain}`;
  ensure(
    audience === plain,
    'k8s_audience',
    `the token is for "${audience}", not for this exchange nor "${plain}"`,
  );
  ensure(
    config.binding === 'accepted',
    'k8s_audience',
    'the token is not for this exchange, which is required here',
  );
  return false;
}

/** The allowed difference of clocks. */
const SKEW_SECONDS = 30;

function ensureShortLived(claims: PodClaims, { maxTokenLifetime }: KubernetesConfig, now: Date): void {
  const { issuedAt, expiresAt } = claims;
  const seconds = (expiresAt.getTime() - issuedAt.getTime()) / 1000;
  ensure(seconds > 0, 'jwt_time', 'the token ends before it was issued');
  ensure(
    seconds <= maxTokenLifetime,
    'jwt_time',
    `a life of ${seconds} s, at most ${maxTokenLifetime} s are accepted`,
  );
  const when = `${issuedAt.toISOString()} to ${expiresAt.toISOString()}`;
  ensure(addSeconds(expiresAt, SKEW_SECONDS) > now, 'jwt_time', `the token has expired: ${when}`);
  ensure(addSeconds(now, SKEW_SECONDS) >= issuedAt, 'jwt_time', `the token is from the future: ${when}`);
}

function ensureAllowed({ namespace, serviceAccount }: PodClaims, config: KubernetesConfig): void {
  const { namespaces, serviceAccounts } = config;
  const account = `${namespace}/${serviceAccount.name}`;
  ensure(namespaces?.includes(namespace) ?? true, 'claim_rule', `namespace ${namespace} may not join`);
  ensure(serviceAccounts?.includes(account) ?? true, 'claim_rule', `service account ${account} may not join`);
}

/** A plain token is good for one key only, so a stolen copy that comes later is refused. */
async function bindToKey({ id, expiresAt }: PodClaims, { memory, type }: Deps, { key }: Turn): Promise<void> {
  // Forgotten only when no clock would accept the token any more.
  await memory.bind({ platform: type, id }, key.sha256, addSeconds(expiresAt, 2 * SKEW_SECONDS));
}

function factsOf(claims: PodClaims, type: string): Facts {
  const { namespace, serviceAccount, pod, node } = claims;
  return {
    node: pod.uid,
    attributes: {
      cluster: type.slice(type.indexOf('/') + 1),
      namespace,
      serviceAccount: serviceAccount.name,
      serviceAccountUid: serviceAccount.uid,
      pod: pod.name,
      podUid: pod.uid,
      ...(node === undefined ? {} : { nodeName: node.name, nodeUid: node.uid }),
    },
    exclusive: true,
  };
}
