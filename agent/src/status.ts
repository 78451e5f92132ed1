/** The agent's status: facts for programs, and sentences about problems that an operator must fix. */
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { isObserved } from '@chancery/shared/policy/observe.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { describeRevocation, saysRevoked } from '@chancery/shared/revocation/revocation.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { nameTextOf } from '@chancery/shared/x509/name-text.ts';
import type { Agent } from './agent.ts';
import type { AgentSettings } from './config/schema.ts';
import type { WrittenChain } from './outputs/full-chain.ts';
import type { OutputState, Outputs } from './outputs/outputs.ts';
import { type CallSpool, notDelivered } from './spool/call-spool.ts';
import { isUnderTainted } from './svid/retirement.ts';
import { describeSkew, isSkewed } from './svid/skew.ts';
import type { KeptCrls } from './trust/crl/crls.ts';
import type { Trust } from './trust/stream/follow.ts';
import { heardRevocation } from './trust/stream/stream-state.ts';
import type { StatusReport } from './workload/local-messages.ts';

/** A restart of the CA takes less. */
const SILENCE_SECONDS = 60;

/** Of the gateway, once it listens. */
interface OpenGateway {
  readonly port: number;
  /** How many sessions of the legacy era are open now, of each server. */
  readonly sessions: () => readonly { readonly server: string; readonly sessions: number }[];
  /** What its callers are shown, where it is to show the full chain. */
  readonly shown: (() => WrittenChain) | undefined;
}

/** Filled in as the agent comes up. */
export interface Known {
  readonly settings: Pick<AgentSettings, 'gateway' | 'connect'>;
  readonly clock: Clock;
  readonly version: string;
  /** Undefined before it has joined. */
  agent?: Agent;
  /** Why the last attempt to join failed. */
  joinFailure?: string;
  gateway?: OpenGateway | undefined;
  outputs?: Outputs;
  /** Undefined if the gateway does not report its records. */
  spool?: Pick<CallSpool, 'refuses' | 'undelivered' | 'report'>;
  /** Undefined if no output asks for revocation lists. */
  lists?: Pick<KeptCrls, 'failure'> | undefined;
}

/** What svid.pem of an output has, once it was written. */
function chainOf({ dir, written }: OutputState): NonNullable<StatusReport['chains']> {
  if (written === undefined) return [];
  const certificates = written.chain.map((der) => {
    const { serial, notAfter } = parseCertificate(der);
    return { ...nameTextOf({ der }), serial: hex(serial), notAfter: notAfter.toISOString() };
  });
  return [{ dir, certificates, lacks: written.lacks ?? null }];
}

/** The report of this moment. Reads no file and asks nobody. */
export function statusOf(known: Known): StatusReport {
  const { settings, clock, version, agent, joinFailure, gateway: open, outputs, lists } = known;
  const { gateway, connect } = settings;
  const always = {
    version,
    gateway:
      gateway === undefined || open === undefined
        ? null
        : { server: gateway.servers[0].server, port: open.port },
    gatewayServers: gateway?.servers.map(({ server }) => server) ?? [],
    connect,
    outputs: (outputs?.states() ?? []).map(({ dir, failure }) => ({ dir, failure: failure ?? null })),
    chains: (outputs?.states() ?? []).flatMap(chainOf),
  };
  if (agent === undefined)
    return {
      ...NOT_JOINED,
      ...always,
      problems: [`not joined yet: ${joinFailure ?? 'the first attempt is under way'}`],
    };
  const svid = agent.svid.current();
  const policy = agent.trust && policyOf(agent.trust);
  const stream = agent.trust?.stream();
  const report = {
    ...always,
    spiffeId: svid.id,
    serial: hex(parseCertificate(svid.chain[0] ?? new Uint8Array()).serial),
    notAfter: svid.notAfter.toISOString(),
    renewAfter: svid.renewAfter.toISOString(),
    expired: clock.now() > svid.notAfter,
    renewalFailure: agent.renewalFailure() ?? null,
    trustStream: stream
      ? {
          up: stream.failure === undefined,
          since: stream.since.toISOString(),
          failure: stream.failure ?? null,
        }
      : null,
    skewSeconds: agent.skewSeconds() ?? null,
    policyVersion: policy === undefined ? null : Number(policy.version),
    servers: [...(policy?.servers.keys() ?? [])],
  };
  const revoked = revocationOf(report, agent, clock) ?? null;
  const problems = [
    ...problemsOf({ ...report, revoked }, clock.now()),
    ...taintProblem(agent),
    ...snapshotProblem(agent),
    ...listsProblem(lists?.failure()),
    ...gatewayProblems(gateway, svid.id, policy),
    ...shortProblem('the gateway shows', open?.shown?.().lacks),
    ...observingIn(known).map(saysObserving),
    ...callsProblems(known),
    ...spoolProblem(known.spool?.undelivered()),
  ];
  return { ...report, revoked, problems };
}

const NOT_JOINED = {
  spiffeId: null,
  serial: null,
  notAfter: null,
  renewAfter: null,
  expired: false,
  renewalFailure: null,
  revoked: null,
  trustStream: null,
  skewSeconds: null,
  policyVersion: null,
  servers: [],
};

/** It ends within seconds where the CA issues: a renewal that fails is what an operator has to look at. */
function taintProblem({ svid, trust, renewalFailure, ...agent }: Agent): readonly string[] {
  const [failure, revocations] = [renewalFailure(), trust && revocationsOf(trust)];
  const bundle = known(() => agent.bundle.current());
  if (failure === undefined || revocations === undefined || bundle === undefined) return [];
  if (!isUnderTainted(svid.current().chain, { revocations, bundle })) return [];
  const says = 'an authority above the certificate was taken away, so every peer refuses the certificate';
  return [`${says}, and renewal fails: ${failure}`];
}

/** What the CA sends next may be as unusable, and the policy before it may permit more. */
function snapshotProblem({ snapshotFailure }: Agent): readonly string[] {
  const failure = snapshotFailure();
  return failure === undefined ? [] : [`the agent could not take all that the CA sent: ${failure}`];
}

/** Until the gateway takes no new calls; 0 when it takes none, undefined if nothing bounds that. */
export function staleInSeconds({ settings, agent }: Pick<Known, 'settings' | 'agent'>): number | undefined {
  const max = settings.gateway?.maxStaleness;
  if (max === undefined || agent?.trust === undefined) return undefined;
  return Math.max(0, max - agent.trust.silentSeconds());
}

/** Why the gateway lets no new call in of any caller; undefined if it does, or there is no gateway. */
export function whyNoCalls(known: Refusing): string | undefined {
  const all = known.settings.gateway?.servers.map(({ server }) => whyNoCallsOf(server, known)) ?? [];
  return all.includes(undefined) ? undefined : all[0];
}

type Refusing = Pick<Known, 'settings' | 'agent' | 'spool'>;

/** The same for one of its servers. */
function whyNoCallsOf(server: string, known: Refusing): string | undefined {
  const { settings, agent, spool } = known;
  const { gateway } = settings;
  if (gateway === undefined || agent?.trust === undefined) return undefined;
  if (staleInSeconds(known) === 0) return 'the CA was not heard for maxStaleness';
  const isRequired = policyOf(agent.trust)?.servers.get(server)?.audit === 'required';
  return gateway.report === false && isRequired ? notDelivered(server) : spool?.refuses(server);
}

/** One sentence if it is the same for all. */
function callsProblems(known: Refusing): readonly string[] {
  const { servers = [] } = known.settings.gateway ?? {};
  const whys = servers.map(({ server }) => [server, whyNoCallsOf(server, known)] as const);
  const [[, first] = ['', undefined]] = whys;
  if (first !== undefined && whys.every(([, why]) => why === first))
    return [`gateway: new calls are refused, because ${first}`];
  return whys.flatMap(([server, why]) =>
    why === undefined ? [] : [`gateway: new calls of ${server} are refused, because ${why}`],
  );
}

/** The servers of the gateway that let pass what their rules deny. */
export const observingIn = ({ settings, agent, clock }: Pick<Known, 'settings' | 'agent' | 'clock'>) => {
  const policy = agent?.trust && policyOf(agent.trust);
  return (settings.gateway?.servers ?? []).flatMap(({ server }) => {
    const observes = policy !== undefined && isObserved(policy, { server, now: clock.now() });
    return observes ? [{ server, until: policy.servers.get(server)?.observe?.until }] : [];
  });
};

const saysObserving = ({ server, until }: ReturnType<typeof observingIn>[number]): string =>
  `gateway: McpServer ${server} observes until ${until}: what its rules deny passes`;

/** They are kept, and sent again. */
const spoolProblem = (failure: string | undefined): readonly string[] =>
  failure === undefined ? [] : [`gateway: its records do not reach the audit log: ${failure}`];

/** Peers that trust our roots take it all the same. */
const shortProblem = (where: string, lacks: string | undefined): readonly string[] =>
  lacks === undefined ? [] : [`${where} the short chain and not the full one: ${lacks}`];

/** The certificate files are up to date all the same. */
const listsProblem = (failure: string | undefined): readonly string[] =>
  failure === undefined ? [] : [`crl.pem is not up to date: ${failure}`];

/** Decided by the policy that the CA pushes to this identity: a gateway gets its own server, under any name. */
function gatewayProblems(
  gateway: AgentSettings['gateway'],
  id: SpiffeId,
  policy: Policy | undefined,
): readonly string[] {
  if (policy === undefined) return [];
  return (gateway?.servers ?? []).flatMap(({ server }) => {
    const registered = policy.servers.get(server);
    if (registered === undefined) return [`gateway: no McpServer ${server} is registered for ${id}`];
    const { identity } = registered;
    return identity === id ? [] : [`gateway: McpServer ${server} is registered for ${identity}, not ${id}`];
  });
}

/** The report of an agent that has joined. */
interface Joined extends Omit<StatusReport, 'problems' | 'revoked'> {
  readonly serial: string;
  readonly notAfter: string;
  readonly renewAfter: string;
}

/** Found in the set that the CA pushed, or in its answer to a revoked caller. */
function revocationOf(facts: Joined, { svid, trust }: Agent, clock: Clock): string | undefined {
  const { renewalFailure, trustStream, serial } = facts;
  const { id } = svid.current();
  const found = trust && revocationsOf(trust)?.revoked({ id, serial }, clock.now());
  if (found !== undefined) return describeRevocation(found);
  return heardRevocation(renewalFailure, trustStream);
}

/** One sentence for each problem. Problems that end by themselves are left out. */
function problemsOf(facts: Joined & Pick<StatusReport, 'revoked'>, now: Date): string[] {
  const {
    notAfter,
    renewAfter,
    expired,
    renewalFailure,
    revoked,
    trustStream,
    skewSeconds,
    outputs,
    chains,
  } = facts;
  const [due, end] = [Date.parse(renewAfter), Date.parse(notAfter)];
  const failing = renewalFailure === null ? '' : ` and renewal fails: ${renewalFailure}`;
  const silent = trustStream === null ? 0 : (now.getTime() - Date.parse(trustStream.since)) / 1000;
  return [
    ...(revoked === null ? [] : [saysRevoked(revoked)]),
    ...(expired ? [`the certificate expired at ${notAfter}${failing}`] : []),
    // Reported once half of the time that was left at the first failure is over.
    ...(renewalFailure !== null && !expired && now.getTime() > (due + end) / 2
      ? [`the certificate ends at ${notAfter}${failing}`]
      : []),
    ...(trustStream?.failure != null && silent > SILENCE_SECONDS
      ? [`the CA was not heard for ${Math.round(silent)} s: ${trustStream.failure}`]
      : []),
    ...(isSkewed(skewSeconds ?? undefined) && skewSeconds !== null
      ? [`${describeSkew(skewSeconds)}: set the clock`]
      : []),
    ...(chains ?? []).flatMap(({ dir, lacks }) => shortProblem(`the output ${dir} has`, lacks ?? undefined)),
    ...outputs.flatMap(({ dir, failure }) =>
      failure === null ? [] : [`${dir} is not up to date: ${failure}`],
    ),
  ];
}

const policyOf = ({ policy }: Trust): Policy | undefined => known(() => policy.current());

const revocationsOf = ({ revocations }: Trust) => known(() => revocations.current());

/** Undefined before the CA has said it. */
function known<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isRefusal(error, 'unavailable')) return undefined;
    throw error;
  }
}
