/**
 * The holders of unexpired certificates. Some are connected: agents with an open trust stream. The others are away:
 * agents without a stream, and jobs, which never open one. They hear of changes only when they connect.
 */
import { nodeName } from '@chancery/shared/evidence/node.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { AgentStore, UnexpiredCertificate, UnexpiredPage, UnexpiredPlace } from '../store/store.ts';
import type { Parts } from './acknowledged.ts';
import type { Agents, CertifiedAgent, LiveAgent } from './agents.ts';

/** The node that the CA records for its own certificates. */
export const OWN_NODE = { platform: 'self', node: 'ca' } as const;

/** A holder of a certificate without a trust stream. */
export interface AwayAgent extends CertifiedAgent {
  /** The serial of its certificate that ends last. */
  readonly serial: string;
  /** True if that certificate is revoked: the holder cannot connect with it. */
  readonly revoked: boolean;
}

export interface HolderDeps {
  readonly agents: Agents;
  readonly store: Pick<AgentStore, 'certified'>;
  readonly clock: Clock;
  readonly revocations: { readonly sets: Source<RevocationSet> };
}

/** What was looked at. */
export interface Look {
  /** Without those that are revoked: their streams end. */
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
   * Shows those that are away, one for each SPIFFE ID on each node, those whose certificates end last first. A holder
   * whose later certificates are revoked, and an earlier one is not, is shown as revoked and then as not revoked.
   * Resolves after about `max` certificates, or all. Throws store, and what `see` throws.
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
    const now = clock.now();
    const revocations = this.#deps.revocations.sets.current();
    const isRevoked = ({ id, serial, platform, node }: Omit<AwayAgent, 'revoked'>): boolean =>
      revocations.revoked({ id, serial, node: { platform, node } }, now) !== undefined;
    const connected = agents.list().filter((each) => !isRevoked(each));
    const seen = new Set(connected.map(keyOf));
    let [left, after, count]: [readonly Asker[], UnexpiredPlace | undefined, number] = [askers, undefined, 0];
    try {
      do {
        const page: UnexpiredPage = await store.certified({ now, target: ANYBODY, after });
        const away = page.list.flatMap((each) => awayOf(each, seen, isRevoked));
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
function awayOf(
  { id, identity, serial, node }: UnexpiredCertificate,
  seen: Set<string>,
  isRevoked: (holder: Omit<AwayAgent, 'revoked'>) => boolean,
): readonly AwayAgent[] {
  const away = { id, identity, serial, ...node };
  const key = keyOf(away);
  if (node.platform === OWN_NODE.platform || seen.has(key)) return [];
  const revoked = isRevoked(away);
  const entry = revoked ? `${key} revoked` : key;
  if (seen.has(entry)) return [];
  seen.add(entry);
  return [{ ...away, revoked }];
}

/** No SPIFFE ID and no platform has a space. */
export const keyOf = ({ id, platform, node }: Pick<CertifiedAgent, 'id' | 'platform' | 'node'>): string =>
  `${id} ${platform} ${node}`;

/** How many holders have not acknowledged a change; an agent with two streams is one. */
export interface Unacknowledged {
  /** Of the agents that were connected when the change was made, and are still. */
  readonly connected: number;
  /** The first 10 of the connected: SPIFFE ID, then platform/node. */
  readonly names: readonly string[];
  /** They hear of it when they connect. */
  readonly away: number;
  /** True if more may be away. */
  readonly atLeast: boolean;
}

/** Names of agents in one answer. */
const MAX_NAMES = 10;

/** A change that an answer has waited for. */
export interface Awaited {
  readonly wanted: Partial<Parts>;
  /** Those that had not acknowledged it after the wait. Others have had less time. */
  readonly behind: readonly LiveAgent[];
}

/** What was not acknowledged, by those that were looked at. `away` holders are not revoked. */
export function unacknowledgedBy(
  { connected, whole }: Look,
  away: number,
  { wanted, behind }: Awaited,
): Unacknowledged {
  const late = new Set(behind.filter(({ acknowledged }) => !acknowledged.has(wanted)));
  // An agent that renews has two streams for a moment.
  const holders = new Map(connected.filter((each) => late.has(each)).map((each) => [keyOf(each), each]));
  const names = [...holders.values()].slice(0, MAX_NAMES).map((each) => `${each.id} (${nodeName(each)})`);
  return { connected: holders.size, names, away, atLeast: !whole };
}

/** Counts the holders that have not acknowledged a change, except those that are revoked. Throws store. */
export async function unacknowledged(
  holders: Holders,
  change: Awaited,
  max: number = MAX_AFTER_CHANGE,
): Promise<Unacknowledged> {
  let away = 0;
  const count = (page: readonly AwayAgent[]): void => {
    away += page.filter(({ revoked }) => !revoked).length;
  };
  const look = await holders.look(count, max);
  return unacknowledgedBy(look, away, change);
}

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
