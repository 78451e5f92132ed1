/** Follows the CA over one trust stream with one SVID, however many SVIDs the agent holds. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { ensureCa, type Judge, type Target, tlsTarget } from '../../svid/channel.ts';
import { watchEnds } from '../state/ends.ts';
import type { State } from '../state/snapshot.ts';
import type { TrustState } from '../state/trust-state.ts';
import { Heard } from './heard.ts';
import { type StreamState, stateAfter } from './stream-state.ts';
import { Successions } from './successions.ts';
import { watchTrust } from './watch.ts';

/** What the CA pushes, besides the bundle, to an agent that can show it an SVID. */
export interface Trust {
  readonly policy: Source<Policy>;
  readonly revocations: Source<RevocationSet>;
  /** Which certificates replaced which; the CA tells only gateways. */
  readonly successions: Pick<Successions, 'follows' | 'onChange'>;
  /** What the CA calls its revocation lists (CRL) together; published each time it says it. */
  readonly crls: Pick<Source<Uint8Array>, 'onChange'>;
  /** How many gateways have the SPIFFE ID of this one, as the CA said last: the rates are of all of them together. */
  readonly gateways: () => number;
  /** How peers that trust a CA above get to the roots; not verified. */
  readonly crossChains: Source<readonly (readonly Uint8Array[])[]>;
  /** The resources behind `policy`, as the CA sent them. */
  readonly resources: () => readonly string[];
  readonly stream: () => StreamState;
  /** For how long nothing was heard from the CA; 0 while the stream is up. */
  readonly silentSeconds: () => number;
  /** The CA, for calls that need an SVID. */
  readonly caTarget: () => Target;
}

export interface FollowOptions {
  /** The CA's, as host:port. */
  readonly address: string;
  /** Shown to the CA; a new one gets a new stream. */
  readonly svid: Source<Svid>;
  /** 16 random bytes that name this process to the CA. */
  readonly instance: Uint8Array;
  readonly version: string;
  readonly clock: Clock;
  /** Looks whether the agent slept through a rotation, where the CA could not be reached. Does not throw. */
  readonly recovers: (error: unknown) => Promise<boolean>;
  /** Called with the certificate (DER) that the CA has refused a stream with. */
  readonly onRefused: (certificate: Uint8Array) => void;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly log: Log;
}

export interface Following {
  readonly trust: Trust;
  /** Why some of the CA's last snapshot is not in force or not on disk; undefined if all of it is. */
  readonly snapshotFailure: () => string | undefined;
  /** Resolves when the signal has ended the stream. */
  readonly ended: Promise<void>;
}

/** Keeps `state` as the CA sends it, until the signal. `state` must have a bundle. */
export function followTrust(state: TrustState, options: FollowOptions, signal: AbortSignal): Following {
  const { address, svid, clock } = options;
  const judge: Judge = { now: () => clock.now(), revocations: state.revocations };
  const targetFor = (shown: Svid): Target => tlsTarget(address, state.bundle.current(), shown, judge);
  const successions = new Successions(clock);
  const heard = new Heard(clock);
  const crls = new LiveValue<Uint8Array>(() => new IdentityError('unavailable', 'the CA was not heard yet'));
  let stream: StreamState = { failure: 'the CA was not heard yet', since: clock.now() };
  const outcome = new Outcome();
  const accept = (snapshot: State, ca: VerifiedSvid | undefined): void => {
    const end = outcome.begin();
    try {
      state.accept(snapshot, () => ca && ensureCa(ca, judge));
      state.saved.then(() => end(undefined), end);
    } catch (error) {
      // The stream ends for this one, and says so itself.
      if (!isRefusal(error, 'revoked_peer')) end(error);
      throw error;
    }
  };
  const watching = watchTrust(
    {
      ...options,
      targetFor,
      taken: () => state.taken,
      saved: () => state.saved,
      vouching: {
        isWanted: () => state.isUnvouched,
        take: (proofs) => state.vouching.take(proofs, state.bundle.current(), true).length > 0,
      },
      accept,
      onState: (failure) => {
        stream = stateAfter(stream, failure, clock.now());
        heard.report(failure === undefined);
      },
      onSuccessions: (list) => successions.add(list),
      onCrls: (state) => crls.publish(state),
      onGateways: state.hearGateways,
      handing: state,
    },
    signal,
  );
  return {
    trust: {
      policy: state.policy,
      revocations: state.revocations,
      successions,
      crls,
      gateways: () => state.sharing.gateways,
      crossChains: state.crossChains,
      resources: () => state.resources,
      stream: () => stream,
      silentSeconds: () => heard.silentSeconds(),
      caTarget: () => targetFor(svid.current()),
    },
    snapshotFailure: () => outcome.failure,
    ended: Promise.all([watching, watchEnds(state, options, signal)]).then(() => {}),
  };
}

/** What became of the latest snapshot. A slow disk hides nothing: the end of an earlier one counts no longer. */
class Outcome {
  failure: string | undefined;
  #latest = 0;

  /** Returns what is called once, with an error or undefined, when it is known. */
  begin(): (error: unknown) => void {
    this.#latest += 1;
    const number = this.#latest;
    return (error) => {
      if (number !== this.#latest) return;
      if (error === undefined) this.failure = undefined;
      else this.failure = error instanceof Error ? error.message : String(error);
    };
  }
}
