/**
 * The lifecycle of an agent: find the evidence, bootstrap trust in the CA, begin the life of the SVID, follow the CA,
 * close. A job that needs one certificate takes the same steps and stops after the first SVID.
 */
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { type AgentSettings, paths } from './config/schema.ts';
import { IN_MEMORY, keysStayInPlatform } from './config/together.ts';
import { prepareDataDir } from './data-dir.ts';
import { findEvidence } from './evidence/auto.ts';
import type { EvidenceSource } from './evidence/evidence.ts';
import { isLocal } from './evidence/several.ts';
import { askCa } from './svid/ask-ca.ts';
import { whenHeard } from './svid/heard.ts';
import { SvidLife } from './svid/life.ts';
import { obtainPlatformSvid, type PlatformSvid } from './svid/platform-svid.ts';
import { Retirement } from './svid/retirement.ts';
import { type RetryDeps, untilItWorks } from './svid/retry.ts';
import { SkewWarning } from './svid/skew.ts';
import { followBundle } from './trust/accept.ts';
import { bootstrapBundle, bootstrapOf } from './trust/bootstrap.ts';
import { learnBundle } from './trust/learn.ts';
import { type KnownGood, loadKnownGood, setAside } from './trust/state/last-known-good.ts';
import { compileSnapshot } from './trust/state/snapshot.ts';
import { StateFile } from './trust/state/state-file.ts';
import { TrustState } from './trust/state/trust-state.ts';
import { followTrust, type Trust } from './trust/stream/follow.ts';
import { Recovery } from './trust/stream/recover.ts';

export interface AgentDeps extends RetryDeps {
  readonly randomBytes: (size: number) => Uint8Array;
  /** The environment: platforms and CI systems say there where their services are. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
}

interface EveryAgent {
  readonly bundle: Source<Bundle>;
  /** Why the last renewal of the SVID failed; undefined if it succeeded. */
  readonly renewalFailure: () => string | undefined;
  /** Why some of what the CA sent last is not in force or not on disk; undefined if all of it is. */
  readonly snapshotFailure: () => string | undefined;
  /** Seconds by which this clock is ahead of the CA's; undefined before the CA has sent its time. */
  readonly skewSeconds: () => number | undefined;
  /** Rejects when the agent is closed, and on a bug. */
  readonly ended: Promise<never>;
  /** Resolves when the streams, the evidence and their devices are closed. May be called twice. */
  close(): Promise<void>;
}

/**
 * An agent with its keys in memory. It shows its SVID to the CA, follows the CA, and can start from its disk without
 * the CA.
 */
export interface MemoryKeyAgent extends EveryAgent {
  readonly svid: Source<Svid>;
  readonly trust: Trust;
}

/**
 * An agent whose keys stay in its platform (a TPM), for programs that use such a key by its file. Node's TLS cannot, so
 * it joins again each time and gets the bundle only then. Its outputs are good on this machine only; it saves nothing
 * else.
 */
export interface PlatformKeyAgent extends EveryAgent {
  readonly svid: Source<PlatformSvid>;
  readonly trust: undefined;
}

export type Agent = MemoryKeyAgent | PlatformKeyAgent;

/**
 * Resolves with the first SVID: the last known good one if it is still valid, else a new one, however long the CA
 * takes. Throws bootstrap, file, file_mode, and permanent refusals of the CA. The caller closes the agent.
 */
export async function startAgent(
  settings: AgentSettings,
  deps: AgentDeps,
  signal: AbortSignal,
): Promise<Agent> {
  prepareDataDir(settings.dataDir);
  const stop = new AbortController();
  const start = await begin(settings, deps, AbortSignal.any([signal, stop.signal]));
  const begun = keysStayInPlatform(settings) ? withPlatformKeys(start) : withMemoryKeys(start, settings);
  const agent = await begun.catch(async (error: unknown) => {
    await start.evidence.close();
    throw error;
  });
  // Handled by the code that asks for it. Without this line a rejection would end the process.
  agent.ended.catch(() => {});
  return {
    ...agent,
    skewSeconds: () => start.skew.seconds(),
    close: async () => {
      stop.abort();
      await agent.ended.catch(() => {});
      await start.evidence.close();
    },
  };
}

export type JoinSettings = Pick<AgentSettings, 'trustDomain' | 'ca' | 'evidence' | 'id'>;

/** Runs an agent until its first SVID. Throws bootstrap, config, platform_unavailable, refused_by_ca, unavailable. */
export async function joinOnce(
  settings: JoinSettings,
  deps: AgentDeps,
  signal: AbortSignal,
): Promise<{ svid: Svid; bundle: Bundle }> {
  if (keysStayInPlatform(settings)) throw new IdentityError('config', IN_MEMORY);
  const { evidence, instance } = await begin(settings, deps, signal);
  try {
    const bundle = liveBundle(await firstBundle({ settings, deps, signal }));
    const learn = learnBundle(bundle, { ...deps, ...answersOf(settings, evidence) });
    const { clock, onFailure: onWait } = deps;
    const asking = { evidence, learn, id: settings.id, instance, clock, onWait, signal };
    const life = new SvidLife<Svid>({
      ...deps,
      obtain: () => askCa({ ...asking, bundle: bundle.current() }, settings.ca, undefined),
    });
    return { svid: await life.join(signal), bundle: bundle.current() };
  } finally {
    await evidence.close();
  }
}

/** What every life of an agent has in common. */
interface Start {
  readonly settings: JoinSettings;
  readonly deps: AgentDeps;
  readonly signal: AbortSignal;
  readonly evidence: EvidenceSource;
  /** 16 random bytes that name this process to the CA. */
  readonly instance: Uint8Array;
  readonly skew: SkewWarning;
}

async function begin(settings: JoinSettings, deps: AgentDeps, signal: AbortSignal): Promise<Start> {
  const { trustDomain } = settings;
  const evidence = await findEvidence(settings.evidence, { ...deps, trustDomain }, signal);
  const own = { instance: deps.randomBytes(16), skew: new SkewWarning(deps.log) };
  return { settings, deps, signal, evidence, ...own };
}

const firstBundle = ({ settings, deps, signal }: Pick<Start, 'settings' | 'deps' | 'signal'>) =>
  untilItWorks(() => bootstrapBundle(bootstrapOf(settings)), deps, signal);

/** Where the answers of the CA come from, as `askCa` chooses. */
const answersOf = ({ ca }: Pick<JoinSettings, 'ca'>, evidence: EvidenceSource) => ({
  address: ca.address,
  isOverSocket: isLocal(evidence) && ca.socket !== undefined,
});

const liveBundle = (first: Bundle) =>
  new LiveValue<Bundle>(() => new IdentityError('unavailable', 'there is no bundle yet'), first);

type Begun<A extends Agent> = Omit<A, 'skewSeconds' | 'close'>;

async function withMemoryKeys(start: Start, { dataDir }: AgentSettings): Promise<Begun<MemoryKeyAgent>> {
  const { settings, deps, signal, evidence, instance, skew } = start;
  const { ca, id } = settings;
  const { state } = paths(dataDir);
  const file = new StateFile(state);
  const subject = (): string => life.svid.current().id;
  const trust = new TrustState(
    (saved) => file.save({ svid: life.svid.current(), ...saved }),
    deps.clock,
    subject,
  );
  const { clock, onFailure: onWait } = deps;
  const asking = { evidence, instance, clock, revocations: trust.revocations, skew, onWait, signal };
  const refused = new LiveValue<Uint8Array>(() => new IdentityError('internal', 'none'), new Uint8Array());
  const { retiring, bundle } = trust;
  const retirement = new Retirement({ ...deps, ...asking, retiring, bundle, refused });
  // Later the trust stream says it, in order: an answer that was made before a change may come after it.
  const { revocations, vouching } = trust;
  const learn = learnBundle(trust.bundle, {
    ...deps,
    ...answersOf(settings, evidence),
    revocations,
    vouching,
  });
  const shown = () => (life.svid.has() ? life.svid.current() : undefined);
  const recovery = new Recovery({ ...deps, address: ca.address, state: trust, svid: shown });
  const life = new SvidLife<Svid>({
    ...deps,
    obtain: (current) =>
      recovery.around(() => {
        const known = { bundle: trust.bundle.current(), id: current?.id ?? id };
        return askCa({ ...asking, ...known, learn: current ? undefined : learn }, ca, current);
      }),
    early: ({ chain }, until) => {
      const dues = [retirement.due(chain, until)];
      if (life.renewalFailure() !== undefined) dues.push(whenHeard(trust, deps, until));
      return Promise.race(dues);
    },
    save: async (svid) => file.save({ svid, ...trust.state() }),
  });
  const known = lastKnownGood(state, start, trust);
  if (known === undefined) {
    if (!trust.bundle.has()) trust.bundle.publish(await firstBundle(start));
    await life.join(signal);
  } else {
    trust.resume(known);
    life.resume(known.svid);
  }
  const recovers = (error: unknown) => recovery.recovers(error);
  const onRefused = (certificate: Uint8Array) => refused.publish(certificate);
  const about = { address: ca.address, svid: life.svid, instance, recovers, onRefused };
  const following = followTrust(trust, { ...deps, ...about }, signal);
  const ended = life.keep(signal).finally(async () => {
    if (signal.aborted) await following.ended;
    await file.idle();
  });
  const { svid, renewalFailure } = life;
  const { trust: followed, snapshotFailure } = following;
  return { svid, bundle: trust.bundle, trust: followed, renewalFailure, snapshotFailure, ended };
}

async function withPlatformKeys(start: Start): Promise<Begun<PlatformKeyAgent>> {
  const { settings, deps, signal, evidence, instance, skew } = start;
  const { ca, id } = settings;
  const { clock, log, onFailure: onWait } = deps;
  const bundle = liveBundle(await firstBundle(start));
  let failure: string | undefined;
  const life = new SvidLife<PlatformSvid>({
    ...deps,
    obtain: () => {
      const known = bundle.current();
      const learn = async (authorities: readonly Uint8Array[]) => {
        failure = followBundle(bundle, { ...known, authorities }, log);
        return bundle.current();
      };
      const request = { evidence, bundle: known, learn, id, instance, skew, clock, onWait, signal };
      return obtainPlatformSvid(ca.address, request);
    },
  });
  await life.join(signal);
  const { svid, renewalFailure } = life;
  const own = { renewalFailure, snapshotFailure: () => failure };
  return { svid, bundle, trust: undefined, ...own, ended: life.keep(signal) };
}

/** Undefined if the agent has to join. Publishes the saved revocations in any case. Throws file, file_mode. */
function lastKnownGood(
  path: string,
  { settings, deps: { clock, log } }: Start,
  trust: TrustState,
): KnownGood | undefined {
  const known = loadKnownGood(path);
  if (known !== undefined && 'unusable' in known) {
    const says = `state.json cannot be used and is kept as ${setAside(path)}; joining anew`;
    log.warn({ reason: known.unusable }, says);
    return undefined;
  }
  if (known === undefined || known.bundle.trustDomain !== settings.trustDomain) return undefined;
  // Also if the SVID cannot be used: they may name the certificate of the CA, which this agent is about to ask.
  trust.resumeRevocations(known.revocations);
  if (known.logKey !== undefined && isOfOnePiece(known)) {
    // Newer than the config's: what was removed since must not be trusted again, and vouchers lead on from it.
    trust.remember(known);
    trust.bundle.publish(known.bundle);
  }
  try {
    const { id } = verifySvid(known.svid.chain, known.bundle, clock.now());
    ensure(settings.id === undefined || id === settings.id, 'svid', `it is for ${id}`);
    // Another version of the agent may have written a file that this one cannot read.
    compileSnapshot(known.policy.resources, known.policy.version, clock.now());
    return known;
  } catch (error) {
    log.info({ err: error }, 'the saved SVID cannot be used; joining again');
    return undefined;
  }
}

/** Whether the saved bundle is that of the saved SVID, which may have expired since. */
function isOfOnePiece({ svid, bundle }: KnownGood): boolean {
  try {
    verifySvid(svid.chain, bundle, svid.notBefore);
    return true;
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}
