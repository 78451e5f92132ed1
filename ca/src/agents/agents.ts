/** The connected agents: which streams are open, on which machine, and what each has acknowledged. */

import { type Node, nodeName, nodesOf } from '@chancery/shared/evidence/node.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { type Clock, isRecent } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Acknowledged, Acknowledgement } from './acknowledged.ts';

/** An agent, by its certificate. */
export interface CertifiedAgent extends Node {
  readonly id: SpiffeId;
  /** The name of the Identity that its certificate was issued by. */
  readonly identity: string;
}

export interface LiveAgent extends CertifiedAgent {
  readonly serial: string;
  readonly address: string;
  readonly version: string;
  readonly connectedAt: Date;
  readonly certificateNotAfter: Date;
  readonly acknowledged: Acknowledged;
}

/** Where the agent was that closed the last stream of a SPIFFE ID, and when. */
export interface LastStream {
  readonly address: string;
  readonly endedAt: Date;
}

/** SPIFFE IDs whose last stream is remembered: some megabytes. */
const MAX_LAST = 20_000;

/** What the evidence of a node proved. */
export interface ProvenNode extends Node {
  readonly attributes: Readonly<Record<string, string>>;
}

/** How long a fresh certificate holds its machine's place until its agent's stream is open. */
const CLAIM_SECONDS = 15;
/** Up to so many places without a stream are not cleaned up. */
const SPARE_PLACES = 64;

/** The place of one machine. */
interface Place {
  /** Open streams by agent process. */
  readonly streams: Map<string, number>;
  /** The process that has a certificate as the machine's only agent. */
  process: string | undefined;
  claimedAt: Date | undefined;
}

/**
 * A machine that can have only one agent (a TPM) has one place. An agent process keeps it while its stream is open, so
 * a copy of the machine is noticed when it asks. A restarted agent gets the place as soon as the old stream has ended.
 */
export class Agents {
  readonly #clock: Clock;
  readonly #live = new Set<LiveAgent>();
  readonly #places = new Map<string, Place>();
  /** By node. */
  readonly #facts = new Map<string, ProvenNode>();
  readonly #listeners = new Set<(agent: LiveAgent) => void>();
  /** Those that ended last are at the end. */
  readonly #last = new Map<SpiffeId, LastStream>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The agents with an open stream, one for each stream. */
  list(): readonly LiveAgent[] {
    return [...this.#live];
  }

  /** How many streams are open. */
  get size(): number {
    return this.#live.size;
  }

  /** The stream of this SPIFFE ID that ended last; undefined if this CA process has seen none end. */
  lastStream(id: SpiffeId): LastStream | undefined {
    return this.#last.get(id);
  }

  /** Whether its stream is open. */
  has(agent: LiveAgent): boolean {
    return this.#live.has(agent);
  }

  /** Takes an acknowledgement of a connected agent. Throws out_of_order. */
  acknowledge(agent: LiveAgent, message: Acknowledgement): void {
    agent.acknowledged.take(message);
    this.#tell(agent);
  }

  /** Calls `listener` when an agent has acknowledged something or has left, until the returned function is called. */
  onProgress(listener: (agent: LiveAgent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** How many machines have a place, or had one until a short time ago. */
  get places(): number {
    return this.#places.size;
  }

  /** Remembers what the newest evidence of a node proved: at least while the node is connected. */
  proved(node: ProvenNode): void {
    if (this.#facts.size > 2 * this.#live.size + SPARE_PLACES) {
      const connected = new Set([...this.#live].map(nodeName));
      for (const key of this.#facts.keys()) if (!connected.has(key)) this.#facts.delete(key);
    }
    this.#facts.set(nodeName(node), node);
  }

  /** Undefined if this CA process has not seen the node's evidence. */
  factsOf(node: Node): ProvenNode | undefined {
    return this.#facts.get(nodeName(node));
  }

  /**
   * Takes the machine's place for the agent process `instance`. Throws ek_in_use if another process holds the place or
   * has a stream open: after a restart of the CA only the streams are known.
   */
  claim(node: Node, instance: Uint8Array): void {
    if (this.#places.size > 2 * this.#live.size + SPARE_PLACES) this.#forget();
    const name = hex(instance);
    const place = this.#place(node);
    const other = this.#isHeldByOther(place, name) || [...place.streams.keys()].some((each) => each !== name);
    const key = nodeName(node);
    ensure(!other, 'ek_in_use', `${key} has a live agent already: a copied machine, or a second agent on it`);
    place.process = name;
    place.claimedAt = this.#clock.now();
  }

  /**
   * Counts a stream as open; the returned function counts it as closed. Throws ek_in_use if another process holds the
   * place.
   */
  open(agent: LiveAgent, instance: Uint8Array): () => void {
    const name = hex(instance);
    const nodes = nodesOf(agent);
    for (const node of nodes) {
      const other = this.#isHeldByOther(this.#place(node), name);
      ensure(!other, 'ek_in_use', `${nodeName(node)} is held by another agent process`);
    }
    for (const node of nodes) {
      const { streams } = this.#place(node);
      streams.set(name, (streams.get(name) ?? 0) + 1);
    }
    this.#live.add(agent);
    return () => {
      this.#live.delete(agent);
      this.#remember(agent);
      for (const node of nodes) this.#leave(node, name);
      this.#tell(agent);
    };
  }

  #remember({ id, address }: LiveAgent): void {
    this.#last.delete(id);
    this.#last.set(id, { address, endedAt: this.#clock.now() });
    const [oldest] = this.#last.keys();
    if (this.#last.size > MAX_LAST && oldest !== undefined) this.#last.delete(oldest);
  }

  #tell(agent: LiveAgent): void {
    for (const listener of [...this.#listeners]) listener(agent);
  }

  #leave(node: Node, name: string): void {
    const place = this.#place(node);
    const left = (place.streams.get(name) ?? 0) - 1;
    if (left > 0) {
      place.streams.set(name, left);
      return;
    }
    place.streams.delete(name);
    // Also a claim ends here, so that a restarted agent has the place at once.
    if (place.streams.size === 0) this.#places.delete(nodeName(node));
  }

  #place(node: Node): Place {
    const key = nodeName(node);
    const place = this.#places.get(key) ?? { streams: new Map(), process: undefined, claimedAt: undefined };
    this.#places.set(key, place);
    return place;
  }

  #isClaimed({ claimedAt }: Place): boolean {
    return claimedAt !== undefined && isRecent(claimedAt, CLAIM_SECONDS, this.#clock.now());
  }

  #isHeldByOther(place: Place, name: string): boolean {
    const { process, streams } = place;
    return process !== undefined && process !== name && (streams.has(process) || this.#isClaimed(place));
  }

  /** Forgets expired claims without a stream. Called when there are more places than agents. */
  #forget(): void {
    for (const [key, place] of this.#places)
      if (place.streams.size === 0 && !this.#isClaimed(place)) this.#places.delete(key);
  }
}
