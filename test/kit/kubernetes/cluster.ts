/**
 * What a cluster knows: its service accounts, pods and nodes, and which tokens it believes. The rules are those of the
 * real API server; docs/attestors/stand-ins.md lists them with their sources.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import {
  boundClaims,
  type Claims,
  LEGACY_ISSUER,
  legacyClaims,
  type Ref,
  TokenSigner,
  usernameOf,
} from './tokens.ts';

export interface Account extends Ref {
  readonly namespace: string;
}

export interface Pod extends Ref {
  readonly account: Account;
  /** Undefined until it is scheduled. */
  readonly node: Ref | undefined;
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed';
}

/** The string that most clusters call themselves by. */
export const COMMON_ISSUER = 'https://kubernetes.default.svc.cluster.local';
const YEAR = 365 * 86_400;
/** What the kubelet asks for a pod's own token; the API server then gives a year, and warns after this long. */
export const DEFAULT_TOKEN_SECONDS = 3607;

export class Cluster {
  readonly signer = new TokenSigner();
  /** `iss` of all its tokens. */
  issuer = COMMON_ISSUER;
  readonly accounts = new Map<string, Account>();
  readonly pods = new Map<string, Pod>();
  readonly nodes = new Map<string, Ref>();
  readonly secrets = new Map<string, string>();
  /** How far this cluster's clock is from everybody's. */
  skewSeconds = 0;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `--api-audiences` is the issuer where it is not set. */
  get apiAudiences(): readonly string[] {
    return [this.issuer];
  }

  now(): Date {
    return new Date(this.#clock.now().getTime() + this.skewSeconds * 1000);
  }

  addAccount(namespace: string, name: string): Account {
    const account = { namespace, name, uid: randomUUID() };
    this.accounts.set(`${namespace}/${name}`, account);
    return account;
  }

  addNode(name: string): Ref {
    const node = { name, uid: randomUUID() };
    this.nodes.set(name, node);
    return node;
  }

  /** Of a name that is there already, it replaces the pod: same name, another uid. */
  addPod(account: Account, name: string, node: Ref | undefined): Pod {
    const pod: Pod = { name, uid: randomUUID(), account, node, phase: 'Running' };
    this.changePod(pod);
    return pod;
  }

  changePod(pod: Pod): void {
    this.pods.set(`${pod.account.namespace}/${pod.name}`, pod);
  }

  deletePod(pod: Pod): void {
    this.pods.delete(`${pod.account.namespace}/${pod.name}`);
  }

  /** A token of TokenRequest, or of a projected volume. */
  tokenFor(pod: Pod, audiences: readonly string[], seconds = 600): string {
    return this.signer.sign(this.claimsFor(pod, audiences, seconds));
  }

  claimsFor(pod: Pod, audiences: readonly string[], seconds = 600): Claims {
    const stretched = seconds === DEFAULT_TOKEN_SECONDS && isSame(audiences, this.apiAudiences);
    const life = stretched ? { seconds: YEAR, warnAfterSeconds: seconds } : { seconds };
    return boundClaims(
      {
        namespace: pod.account.namespace,
        ...(pod.node === undefined ? {} : { node: refOf(pod.node) }),
        pod: refOf(pod),
        serviceaccount: refOf(pod.account),
      },
      { issuer: this.issuer, audiences, now: this.now(), ...life },
    );
  }

  /** Of `kubectl create token`, without --bound-object-name. */
  unboundToken(account: Account, audiences: readonly string[], seconds = 600): string {
    const subject = { namespace: account.namespace, serviceaccount: refOf(account) };
    return this.signer.sign(
      boundClaims(subject, { issuer: this.issuer, audiences, now: this.now(), seconds }),
    );
  }

  legacyToken(account: Account, secret = `${account.name}-token`): string {
    const token = this.signer.sign(legacyClaims(account.namespace, account, secret));
    this.secrets.set(`${account.namespace}/${secret}`, token);
    return token;
  }
}

export const refOf = ({ name, uid }: Ref): Ref => ({ name, uid });

const isSame = (a: readonly string[], b: readonly string[]): boolean => a.join('\n') === b.join('\n');

/** What the API server makes of a token; `audiences` are those that both sides named. */
export type Verdict =
  | { readonly user: User; readonly audiences: readonly string[] }
  | { readonly error: string };

export interface User {
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** jwtTokenAuthenticator.AuthenticateToken and the two validators behind it. */
export function authenticate(cluster: Cluster, token: string, asked: readonly string[]): Verdict {
  const claims = cluster.signer.verify(token);
  if (claims === undefined) return { error: 'invalid bearer token' };
  const legacy = claims['iss'] === LEGACY_ISSUER;
  if (!legacy && claims['iss'] !== cluster.issuer) return { error: 'invalid bearer token' };
  const own = Array.isArray(claims['aud']) ? claims['aud'].map(String) : cluster.apiAudiences;
  const wanted = asked.length > 0 ? asked : cluster.apiAudiences;
  const audiences = own.filter((each) => wanted.includes(each));
  if (audiences.length === 0)
    return { error: `token audiences ${quoted(own)} is invalid for the target audiences ${quoted(wanted)}` };
  const user = legacy ? legacyUser(cluster, claims, token) : boundUser(cluster, claims);
  return typeof user === 'string' ? { error: user } : { user, audiences };
}

const quoted = (names: readonly string[]): string => JSON.stringify(names).replaceAll(',', ' ');

/** What the API server allows clocks to differ by (go-jose's DefaultLeeway). */
const LEEWAY_SECONDS = 60;

function boundUser(cluster: Cluster, claims: Claims): User | string {
  const now = cluster.now().getTime() / 1000;
  if (Number(claims['exp']) + LEEWAY_SECONDS < now) return 'service account token has expired';
  if (Number(claims['nbf']) - LEEWAY_SECONDS > now) return 'service account token is not valid yet';
  const subject = claims['kubernetes.io'] as Readonly<Record<string, Ref>> & { readonly namespace: string };
  const account = cluster.accounts.get(`${subject.namespace}/${subject['serviceaccount']?.name}`);
  if (account === undefined || account.uid !== subject['serviceaccount']?.uid)
    return 'service account does not exist';
  const { pod, node } = subject;
  if (pod !== undefined && cluster.pods.get(`${subject.namespace}/${pod.name}`)?.uid !== pod.uid)
    return 'service account token has been invalidated';
  const extra: Record<string, readonly string[]> = { [`${EXTRA}credential-id`]: [`JTI=${claims['jti']}`] };
  if (pod !== undefined) Object.assign(extra, extraOf('pod', pod));
  if (node !== undefined) Object.assign(extra, extraOf('node', node));
  return userOf(account, extra);
}

const EXTRA = 'authentication.kubernetes.io/';
const extraOf = (what: string, { name, uid }: Ref) => ({
  [`${EXTRA}${what}-name`]: [name],
  [`${EXTRA}${what}-uid`]: [uid],
});

function legacyUser(cluster: Cluster, claims: Claims, token: string): User | string {
  const at = (name: string): string => String(claims[`kubernetes.io/serviceaccount/${name}`]);
  const namespace = at('namespace');
  if (cluster.secrets.get(`${namespace}/${at('secret.name')}`) !== token)
    return "Token does not match server's copy";
  const account = cluster.accounts.get(`${namespace}/${at('service-account.name')}`);
  return account === undefined ? 'service account does not exist' : userOf(account, {});
}

function userOf(account: Account, extra: User['extra']): User {
  const { namespace, name, uid } = account;
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
  return { username: usernameOf(namespace, name), uid, groups, extra };
}
