/**
 * How many gateways may be serving under one SPIFFE ID: they share the rates of its servers. One that is not connected
 * may serve on with its part, so it counts until its certificate has ended, or until the next one of its machine is
 * there. This CA process knows those that it has seen.
 */
import { nodeName } from '@chancery/shared/evidence/node.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { LiveAgent } from './agents.ts';

interface Process {
  readonly node: string;
  streams: number;
  /** The end of the last of its certificates, milliseconds since 1970. */
  until: number;
}

type Agent = Pick<LiveAgent, 'id' | 'platform' | 'node' | 'certificateNotAfter'>;

/** In memory. The agents of all SPIFFE IDs are counted while they are connected: any may become that of a gateway. */
export class Serving {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #byId = new Map<SpiffeId, Map<string, Process>>();
  readonly #listeners = new Map<SpiffeId, Set<() => void>>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** How many processes may be serving as this SPIFFE ID; at least 1. */
  count(id: SpiffeId): number {
    const now = this.#clock.now().getTime();
    const processes = [...(this.#byId.get(id)?.values() ?? [])];
    return Math.max(1, processes.filter(({ streams, until }) => streams > 0 || until > now).length);
  }

  /**
   * Counts a stream of an agent process as open. The returned function counts it as closed, and says whether the
   * process counts as one that may serve on.
   */
  open(agent: Agent, instance: string): (servesOn: boolean) => void {
    const { id } = agent;
    const [node, until] = [nodeName(agent), agent.certificateNotAfter.getTime()];
    const processes = this.#byId.get(id) ?? new Map<string, Process>();
    const before = this.count(id);
    this.#forget(id, (each) => each.streams === 0 && each.node === node);
    const own = processes.get(instance) ?? { node, streams: 0, until };
    own.streams += 1;
    own.until = Math.max(own.until, until);
    this.#byId.set(id, processes.set(instance, own));
    this.#tell(id, before);
    return (servesOn) => {
      const counted = this.count(id);
      own.streams -= 1;
      if (own.streams === 0 && !servesOn) own.until = 0;
      this.#forget(id);
      this.#tell(id, counted);
    };
  }

  /** Calls `listener` when the number of a SPIFFE ID has changed, until the returned function is called. */
  onChange(id: SpiffeId, listener: () => void): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(id) === listeners) this.#listeners.delete(id);
    };
  }

  #tell(id: SpiffeId, before: number): void {
    if (this.count(id) === before) return;
    for (const listener of [...(this.#listeners.get(id) ?? [])]) listener();
  }

  /** Those that have ended, and those that are `over`. */
  #forget(id: SpiffeId, over: (each: Process) => boolean = () => false): void {
    const now = this.#clock.now().getTime();
    const processes = this.#byId.get(id);
    for (const [instance, each] of processes ?? [])
      if (over(each) || (each.streams === 0 && each.until <= now)) processes?.delete(instance);
    if (processes?.size === 0) this.#byId.delete(id);
  }
}
