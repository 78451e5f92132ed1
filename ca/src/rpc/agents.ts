/** The agents that are alive: who has a stream open, on which machine, and what each has acknowledged. */

import { hex } from '@chancery/shared/bytes.ts';
import type { Clock } from '@chancery/shared/clock.ts';
import { ensure } from '@chancery/shared/errors.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Holder } from '../store/store.ts';

export interface LiveAgent extends Holder {
  readonly id: SpiffeId;
  readonly serial: string;
  readonly address: string;
  readonly version: string;
  readonly connectedAt: Date;
  readonly certificateNotAfter: Date;
  acknowledged: bigint;
}

/** How long a fresh certificate holds its machine's place until its agent's stream is open. */
const CLAIM_MS = 15_000;

interface Place {
  readonly instance: string;
  streams: number;
  claimedUntil: number;
}

/**
 * A machine that can have one agent only (a TPM) has one place. Whoever holds it keeps it while its stream is open, so
 * that a copy of the machine is noticed when it asks; a restarted agent gets it as soon as the old stream has ended.
 */
export class Agents {
  readonly #clock: Clock;
  readonly #live = new Set<LiveAgent>();
  readonly #places = new Map<string, Place>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  list(): readonly LiveAgent[] {
    return [...this.#live];
  }

  get size(): number {
    return this.#live.size;
  }

  /** Takes the machine's place for the agent process `instance`. Throws ek_in_use. */
  claim(holder: Holder, instance: Uint8Array): void {
    const now = this.#clock.now().getTime();
    this.#forget(now);
    const key = keyOf(holder);
    const place = this.#places.get(key);
    const name = hex(instance);
    const other =
      place !== undefined && place.instance !== name && (place.streams > 0 || place.claimedUntil > now);
    ensure(!other, 'ek_in_use', `${key} has a live agent already: a copied machine, or a second agent on it`);
    // The same place where it is the same process: its open streams hold on to the object.
    const own = place?.instance === name ? place : { instance: name, streams: 0, claimedUntil: 0 };
    own.claimedUntil = now + CLAIM_MS;
    this.#places.set(key, own);
  }

  /**
   * Counts a stream as open; returns the way to count it closed. Throws ek_in_use where another process holds
   * the place.
   */
  open(agent: LiveAgent, instance: Uint8Array): () => void {
    const place = this.#places.get(keyOf(agent));
    const name = hex(instance);
    const other = place !== undefined && place.instance !== name;
    ensure(!other, 'ek_in_use', `${keyOf(agent)} is held by another agent process`);
    if (place !== undefined) place.streams += 1;
    this.#live.add(agent);
    return () => {
      this.#live.delete(agent);
      if (place === undefined) return;
      place.streams -= 1;
      // The place is free for a restarted agent at once.
      if (place.streams === 0) place.claimedUntil = 0;
    };
  }

  #forget(now: number): void {
    for (const [key, { streams, claimedUntil }] of this.#places)
      if (streams === 0 && claimedUntil <= now) this.#places.delete(key);
  }
}

const keyOf = ({ platform, node }: Holder): string => `${platform}/${node}`;
