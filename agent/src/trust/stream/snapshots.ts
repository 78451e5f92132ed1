/** The snapshots of one trust stream: put in force, and acknowledged when on disk, wholly or in part. */
import type { WatchAck, WatchResponse } from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import type { Part } from '../state/reading.ts';
import { completed, type State } from '../state/snapshot.ts';
import { Acknowledging, type Followed } from './acknowledging.ts';
import { Unvouched, type UnvouchedDeps } from './unvouched.ts';

export interface SnapshotDeps {
  /** Puts the whole state in force; `ca` is the sender. Throws if it must not be acknowledged. */
  readonly accept: (snapshot: State, ca: VerifiedSvid | undefined) => void;
  /** The parts of the last snapshot that are in force, also if `accept` threw. */
  readonly taken: () => readonly Part[];
  /** Resolves when they are on disk. */
  readonly saved: () => Promise<void>;
  /** How authorities that are new become trusted. */
  readonly vouching: Pick<UnvouchedDeps, 'isWanted' | 'take'>;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly log: Log;
}

/** The stream that the snapshots come on. */
export interface SnapshotStream extends Pick<UnvouchedDeps, 'ask'> {
  readonly acknowledge: (ack: WatchAck) => void;
  /** Who sends them. */
  readonly ca: () => VerifiedSvid | undefined;
  /** Called after each that does not spoil the stream, accepted wholly or not. */
  readonly onTaken: (isWhole: boolean) => void;
  /** Called where the stream cannot be followed any more; a new one begins with the full state. */
  readonly onSpoiled: (error: unknown) => void;
}

/** One for each trust stream, which closes it. */
export class Snapshots {
  readonly #deps: SnapshotDeps;
  readonly #stream: SnapshotStream;
  readonly #acknowledging = new Acknowledging();
  readonly #unvouched: Unvouched;
  #state: State | undefined;
  #takesParts = false;

  constructor(deps: SnapshotDeps, stream: SnapshotStream) {
    this.#deps = deps;
    this.#stream = stream;
    const { ask } = stream;
    const onProven = (): void => {
      if (this.#state !== undefined) this.#follow(this.#state);
    };
    this.#unvouched = new Unvouched({ ...deps, ...deps.vouching, ask, onProven });
  }

  /** The next one. */
  take(snapshot: WatchResponse): void {
    try {
      this.#state = completed(this.#state, snapshot);
    } catch (error) {
      this.#stream.onSpoiled(error);
      return;
    }
    this.#takesParts = snapshot.takesParts;
    this.#follow(this.#state);
  }

  /** Asks for no more vouchers. */
  close(): void {
    this.#unvouched.close();
  }

  #follow(state: State): void {
    let isWhole = true;
    try {
      this.#deps.accept(state, this.#stream.ca());
    } catch (error) {
      this.#notAcknowledged(error, state);
      // The CA has another certificate by now, so a peer with this one is not trusted.
      if (isRefusal(error, 'revoked_peer')) {
        this.#stream.onSpoiled(error);
        return;
      }
      isWhole = false;
    }
    const followed = { taken: this.#deps.taken(), isWhole, takesParts: this.#takesParts };
    this.#deps.saved().then(
      () => this.#acknowledge(state, followed),
      (error: unknown) => this.#notAcknowledged(error, state),
    );
    this.#stream.onTaken(isWhole);
    this.#unvouched.look();
  }

  #acknowledge(state: State, followed: Followed): void {
    const ack = this.#acknowledging.after(state, followed);
    if (ack !== undefined) this.#stream.acknowledge(ack);
  }

  /** The operator sees that this agent has not acknowledged it. */
  #notAcknowledged(err: unknown, { sequence }: State): void {
    const says = 'a snapshot from the CA is not acknowledged';
    this.#deps.log.error({ err, sequence: Number(sequence) }, says);
  }
}
