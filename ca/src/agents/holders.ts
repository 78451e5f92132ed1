/**
 * The holders of unexpired certificates. Some are connected: agents with an open trust stream. The others are away:
 * agents without a stream, and jobs, which never open one. They hear of changes only when they connect.
 */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { AgentStore, Certified, CertifiedPage, CertifiedPlace } from '../store/store.ts';
import type { Parts } from './acknowledged.ts';
import type { Agents, CertifiedAgent, LiveAgent } from './agents.ts';

/** The node that the CA records for its own certificates. */
export const OWN_NODE = { platform: 'self', node: 'ca' } as const;

/** A holder of a certificate without a trust stream. */
export interface AwayAgent extends CertifiedAgent {
  /** The serial of its certificate that ends last. */
  readonly serial: string;
}

export interface HolderDeps {
  readonly agents: Agents;
  readonly store: AgentStore;
  readonly clock: Clock;
}

/** What was looked at. */
export interface Look {
  readonly connected: readonly LiveAgent[];
  /** False if there are more unexpired certificates, of holders that were not seen. */
  readonly whole: boolean;
}

/** Takes at most 1000 holders that are away at once. */
export type SeeAway = (page: readonly AwayAgent[]) => void | Promise<void>;

/** Matches every certificate. */
const ANYBODY = { kind: 'pattern', value: '*' } as const;
/** Unexpired certificates that a look reads. */
const MAX_LOOKED_AT = 100_000;
/** The answer to a change that is in force must not wait for all of them. */
const MAX_AFTER_CHANGE = 20_000;

interface Asker {
  readonly see: SeeAway;
  readonly max: number;
  readonly resolve: (look: Look) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads holders page by page. There is one look at a time, and all that ask meanwhile share the next one: however many
 * ask, the store and the memory are there for others.
 */
export class Holders {
  readonly #deps: HolderDeps;
  #waiting: Asker[] = [];
  #isLooking = false;

  constructor(deps: HolderDeps) {
    this.#deps = deps;
  }

  /**
   * Shows those that are away, one for each SPIFFE ID on each node, those whose certificates end last first. Resolves
   * after about `max` certificates, or all. Throws store, and what `see` throws.
   */
  look(see: SeeAway, max: number = MAX_LOOKED_AT): Promise<Look> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ see, max, resolve, reject });
      if (!this.#isLooking) void this.#lookForAll();
    });
  }

  async #lookForAll(): Promise<void> {
    this.#isLooking = true;
    while (this.#waiting.length > 0) await this.#look(this.#waiting.splice(0));
    this.#isLooking = false;
  }

  async #look(askers: readonly Asker[]): Promise<void> {
    const { agents, store, clock } = this.#deps;
    const [now, connected] = [clock.now(), agents.list()];
    const seen = new Set(connected.map(keyOf));
    let [left, after, count]: [readonly Asker[], CertifiedPlace | undefined, number] = [askers, undefined, 0];
    try {
      do {
        const page: CertifiedPage = await store.certified({ now, target: ANYBODY, after });
        const away = page.list.flatMap((each) => awayOf(each, seen));
        after = page.next;
        count += page.list.length;
        const whole = after === undefined;
        const ends = ({ max }: Asker): Look | undefined =>
          whole || count >= max ? { connected, whole } : undefined;
        left = await show(away, left, ends);
      } while (left.length > 0);
    } catch (error) {
      for (const { reject } of left) reject(error);
    }
  }
}

/** Returns those that want to see more. */
async function show(
  away: readonly AwayAgent[],
  askers: readonly Asker[],
  ends: (asker: Asker) => Look | undefined,
): Promise<readonly Asker[]> {
  const left: Asker[] = [];
  for (const asker of askers)
    try {
      await asker.see(away);
      const look = ends(asker);
      if (look === undefined) left.push(asker);
      else asker.resolve(look);
    } catch (error) {
      asker.reject(error);
    }
  return left;
}

/** The holder of this certificate, where it was not seen before. */
function awayOf({ id, identity, serial, node }: Certified, seen: Set<string>): readonly AwayAgent[] {
  const away = { id, identity, serial, ...node };
  const key = keyOf(away);
  if (node.platform === OWN_NODE.platform || seen.has(key)) return [];
  seen.add(key);
  return [away];
}

/** No SPIFFE ID and no platform has a space. */
const keyOf = ({ id, platform, node }: Pick<CertifiedAgent, 'id' | 'platform' | 'node'>): string =>
  `${id} ${platform} ${node}`;

/** How many holders have not acknowledged a change. */
export interface Unacknowledged {
  readonly connected: number;
  /** They hear of it when they connect. */
  readonly away: number;
  /** True if more may be away. */
  readonly atLeast: boolean;
}

/** Counts the holders that have not acknowledged a change, except those that the change cuts off. Throws store. */
export async function unacknowledged(
  holders: Holders,
  wanted: Partial<Parts>,
  isCutOff: (agent: AwayAgent) => boolean,
  max: number = MAX_AFTER_CHANGE,
): Promise<Unacknowledged> {
  let away = 0;
  const count = (page: readonly AwayAgent[]): void => {
    away += page.filter((each) => !isCutOff(each)).length;
  };
  const { connected, whole } = await holders.look(count, max);
  const behind = behindOf(connected, wanted).filter((each) => !isCutOff(each));
  return { connected: behind.length, away, atLeast: !whole };
}

/** The connected agents that have not acknowledged a change. */
export const behindOf = (connected: readonly LiveAgent[], wanted: Partial<Parts>): readonly LiveAgent[] =>
  connected.filter(({ acknowledged }) => !acknowledged.has(wanted));

/** How many connected agents have not acknowledged each part as it is in force. */
export function behindByPart(
  agents: Pick<Agents, 'list'>,
  inForce: Parts,
): Readonly<Record<keyof Parts, number>> {
  const list = agents.list();
  const count = (part: keyof Parts): number =>
    list.filter(({ acknowledged }) => !acknowledged.has({ [part]: inForce[part] })).length;
  return { bundle: count('bundle'), policy: count('policy'), revocations: count('revocations') };
}
