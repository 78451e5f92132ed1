/** One agent: it proves its workload, keeps the SVID fresh, follows the CA, and offers all three as live sources. */
import { lstatSync, statSync } from 'node:fs';
import { geteuid } from 'node:process';
import { earlier, whenSetBack } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, REFUSALS } from '@chancery/shared/ground/errors.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { type AgentSettings, paths } from './config.ts';
import { findEvidence } from './evidence/auto.ts';
import type { EvidenceSource } from './evidence/evidence.ts';
import { alarm, expiredUnnoticed } from './svid/alarm.ts';
import { askCa } from './svid/ask-ca.ts';
import { ensureCa, type Judge, type Target, tlsTarget } from './svid/channel.ts';
import { type RetryDeps, untilItWorks } from './svid/retry.ts';
import { rotate } from './svid/rotate.ts';
import { SkewWarning } from './svid/skew.ts';
import { bootstrapBundle, bootstrapOf } from './trust/bootstrap.ts';
import { type KnownGood, loadKnownGood, saveKnownGood, setAside } from './trust/last-known-good.ts';
import { compileSnapshot } from './trust/snapshot.ts';
import { Successions } from './trust/successions.ts';
import { type SavedTrust, TrustState } from './trust/trust-state.ts';
import { watchTrust } from './trust/watch.ts';

export interface AgentDeps extends RetryDeps {
  readonly randomBytes: (size: number) => Uint8Array;
  /** Where platforms and CI systems say where their services are. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
}

export interface Agent {
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  readonly policy: Source<Policy>;
  readonly revocations: Source<RevocationSet>;
  /** Which certificates took the place of which; known to gateways only. */
  readonly successions: Pick<Successions, 'follows' | 'onChange'>;
  /** The resources behind `policy`, as the CA sent them. */
  readonly resources: () => readonly string[];
  /** Why the SVID could not be renewed the last time; undefined where it could. */
  readonly renewalFailure: () => string | undefined;
  readonly trustStream: () => StreamState;
  /** Seconds by which this clock is ahead of the CA's; undefined where the CA has not told its time yet. */
  readonly skewSeconds: () => number | undefined;
  /** Rejects when the agent is closed, and on a bug. */
  readonly ended: Promise<never>;
  /** Where the CA answers calls that need our SVID. */
  readonly caTarget: () => Target;
  close(): Promise<void>;
}

/** Whether the CA is heard. */
export interface StreamState {
  /** Why it is not; undefined where it is. */
  readonly failure: string | undefined;
  readonly since: Date;
}

/** Where the clock was set back, what lasts began now at the latest: it is told when it has lasted. */
export function stateAfter(before: StreamState, failure: string | undefined, now: Date): StreamState {
  const isNews = (failure === undefined) !== (before.failure === undefined);
  return { failure, since: isNews ? now : earlier(before.since, now) };
}

/**
 * What the CA said when it cut this agent off, where it did: it may do so before the agent hears of the revocation. An
 * agent whose trust stream is open is not cut off, whatever its last renewal was told; `stream` is null where the agent
 * has none.
 */
export function heardRevocation(
  renewalFailure: string | null | undefined,
  stream: { readonly failure: string | null | undefined } | null,
): string | undefined {
  if (stream !== null && stream.failure == null) return undefined;
  const heard = [renewalFailure, stream?.failure];
  return heard.find((each) => each?.includes(REFUSALS.revoked_peer.says)) ?? undefined;
}

/**
 * Resolves with the first SVID: the last known good one where it is still valid, else a new one, however long the CA
 * takes to answer. Throws bootstrap, file, file_mode, and what the CA refuses for good.
 */
export async function startAgent(
  settings: AgentSettings,
  deps: AgentDeps,
  signal: AbortSignal,
): Promise<Agent> {
  prepareFolder(settings.dataDir);
  const stop = new AbortController();
  const until = AbortSignal.any([signal, stop.signal]);
  const evidence = await findEvidence(
    settings.evidence,
    { ...deps, trustDomain: settings.trustDomain },
    until,
  );
  const session = new Session(settings, deps, { evidence, signal: until });
  await session.start();
  const ended = session.run();
  // Whoever asks for it hears of it; nobody asking must not end the process.
  ended.catch(() => {});
  return {
    svid: session.svid,
    bundle: session.trust.bundle,
    policy: session.trust.policy,
    revocations: session.trust.revocations,
    successions: session.successions,
    resources: () => session.trust.resources,
    renewalFailure: () => session.renewalFailure,
    trustStream: () => session.trustStream,
    skewSeconds: () => session.skewSeconds(),
    ended,
    caTarget: () => session.caTarget(session.svid.current()),
    close: async () => {
      stop.abort();
      await ended.catch(() => {});
      await session.close();
    },
  };
}

/** Whoever owns the folder, or a link to it, reads the key in it and answers on the socket. Throws file, file_mode. */
export function prepareFolder(dataDir: string): void {
  try {
    makeFolder(dataDir, 0o700);
  } catch (error) {
    throw new IdentityError('file', `dataDir cannot be made: ${String(error)}`, { cause: error });
  }
  const { mode, uid } = statSync(dataDir);
  ensure((mode & 0o077) === 0, 'file_mode', `${dataDir} is open to others: chmod 700 ${dataDir}`);
  for (const owner of [uid, lstatSync(dataDir).uid])
    ensure(owner === 0 || owner === geteuid?.(), 'file_mode', `${dataDir} belongs to uid ${owner}`);
}

class Session {
  readonly svid = new LiveValue<Svid>(() => new IdentityError('unavailable', 'there is no SVID yet'));
  readonly trust = new TrustState((state) => this.#save(this.svid.current(), state));
  readonly successions: Successions;
  renewalFailure: string | undefined;
  trustStream: StreamState;
  readonly #settings: AgentSettings;
  readonly #deps: AgentDeps;
  readonly #signal: AbortSignal;
  readonly #evidence: EvidenceSource;
  readonly #instance: Uint8Array;
  readonly #judge: Judge;
  readonly #skew: SkewWarning;

  constructor(
    settings: AgentSettings,
    deps: AgentDeps,
    { evidence, signal }: { evidence: EvidenceSource; signal: AbortSignal },
  ) {
    this.#settings = settings;
    this.#deps = deps;
    this.#signal = signal;
    this.#evidence = evidence;
    this.#instance = deps.randomBytes(16);
    this.#skew = new SkewWarning(deps.log);
    this.trustStream = { failure: 'the CA was not heard yet', since: deps.clock.now() };
    this.successions = new Successions(deps.clock);
    this.#judge = { now: () => deps.clock.now(), revocations: this.trust.revocations };
  }

  async start(): Promise<void> {
    const known = this.#lastKnownGood();
    if (known !== undefined) {
      this.trust.resume(known);
      this.svid.publish(known.svid);
      const { id, notAfter, renewAfter } = known.svid;
      const isDue = this.#deps.clock.now() >= renewAfter;
      const says = isDue ? 'started with the saved SVID; renewing it now' : 'started with the saved SVID';
      this.#deps.log.info({ id, notAfter }, says);
      return;
    }
    this.trust.bundle.publish(
      await untilItWorks(() => bootstrapBundle(bootstrapOf(this.#settings)), this.#deps, this.#signal),
    );
    const svid = await untilItWorks(() => this.#obtain(undefined), this.#deps, this.#signal);
    this.#deps.log.info({ id: svid.id, notAfter: svid.notAfter }, 'joined');
    this.#publishSvid(svid);
  }

  async run(): Promise<never> {
    const { clock, random, log, version } = this.#deps;
    const watching = watchTrust(
      {
        svid: this.svid,
        targetFor: (svid) => this.caTarget(svid),
        accept: (snapshot, ca) => this.trust.accept(snapshot, () => ca && ensureCa(ca, this.#judge)),
        onState: (failure) => {
          this.trustStream = stateAfter(this.trustStream, failure, clock.now());
        },
        onSuccessions: (list) => this.successions.add(list),
        instance: this.#instance,
        version,
        clock,
        random,
        log,
      },
      this.#signal,
    );
    try {
      const rotation = {
        clock,
        random,
        setBack: (signal: AbortSignal) => whenSetBack(clock, signal),
        renew: (current: Svid) => this.#obtain(current),
        publish: (svid: Svid) => {
          log.info({ id: svid.id, notAfter: svid.notAfter }, 'rotated');
          this.renewalFailure = undefined;
          this.#publishSvid(svid);
        },
        onExpired: (svid: Svid) => {
          this.renewalFailure = expiredUnnoticed({ clock, log, svid });
        },
        onFailure: (error: unknown, failures: number) => {
          this.renewalFailure = alarm(error, failures, { clock, log, svid: this.svid.current() });
        },
      };
      return await rotate(this.svid.current(), rotation, this.#signal);
    } finally {
      if (this.#signal.aborted) await watching;
    }
  }

  caTarget(svid: Svid | undefined): Target {
    const { address } = this.#settings.ca;
    return tlsTarget(address, this.trust.bundle.current(), svid, this.#judge);
  }

  skewSeconds = (): number | undefined => this.#skew.seconds();

  async close(): Promise<void> {
    await this.#evidence.close();
  }

  #lastKnownGood(): KnownGood | undefined {
    const { state } = paths(this.#settings.dataDir);
    const known = loadKnownGood(state);
    if (known !== undefined && 'unusable' in known) {
      const says = `state.json cannot be used and is kept as ${setAside(state)}; joining anew`;
      this.#deps.log.warn({ reason: known.unusable }, says);
      return undefined;
    }
    if (known === undefined || known.bundle.trustDomain !== this.#settings.trustDomain) return undefined;
    // Whatever becomes of the SVID: a certificate of the CA may be among them, and this agent is about to ask the CA.
    this.trust.revocations.publish(known.revocations);
    try {
      const { id } = verifySvid(known.svid.chain, known.bundle, this.#deps.clock.now());
      ensure(this.#settings.id === undefined || id === this.#settings.id, 'svid', `it is for ${id}`);
      // Another version of the agent may have written what this one cannot read.
      compileSnapshot(known.policy.resources, known.policy.version);
      return known;
    } catch (error) {
      this.#deps.log.info({ err: error }, 'the saved SVID cannot be used; joining again');
      return undefined;
    }
  }

  #obtain(current: Svid | undefined): Promise<Svid> {
    const { ca, id } = this.#settings;
    const asking = {
      evidence: this.#evidence,
      bundle: this.trust.bundle.current(),
      id: current?.id ?? id,
      instance: this.#instance,
      clock: this.#deps.clock,
      revocations: this.trust.revocations,
      skew: this.#skew,
      signal: this.#signal,
    };
    return askCa(asking, ca, current);
  }

  /** A full disk must not take away a good certificate: only a restart would miss what was not saved. */
  #publishSvid(svid: Svid): void {
    try {
      this.#save(svid, this.trust.state());
    } catch (error) {
      this.#deps.log.error(
        { err: error },
        'the SVID could not be saved; after a restart the agent must join again',
      );
    }
    this.svid.publish(svid);
  }

  #save(svid: Svid, state: SavedTrust): void {
    saveKnownGood(paths(this.#settings.dataDir).state, { svid, ...state });
  }
}
