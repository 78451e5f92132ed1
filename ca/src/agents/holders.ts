/**
 * The holders of unexpired certificates. Some are connected: agents with an open trust stream. The others are away:
 * agents without a stream, and jobs, which never open one. They hear of changes only when they connect.
 */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { AgentStore } from '../store/store.ts';
import type { Parts } from './acknowledged.ts';
import type { Agents, CertifiedAgent, LiveAgent } from './agents.ts';

/** The node that the CA records for its own certificates. */
export const OWN_NODE = { platform: 'self', node: 'ca' } as const;

/** A holder of a certificate without a trust stream. */
export interface AwayAgent extends CertifiedAgent {
  /** The serial of its newest certificate. */
  readonly serial: string;
}

export interface Holders {
  readonly connected: readonly LiveAgent[];
  /** One for each SPIFFE ID on each node, unless an agent with both is connected. */
  readonly away: readonly AwayAgent[];
}

export interface HolderDeps {
  readonly agents: Agents;
  readonly store: AgentStore;
  readonly clock: Clock;
}

/** Matches every certificate. */
const ANYBODY = { kind: 'pattern', value: '*' } as const;

/** Reads every unexpired certificate. Throws store. */
export async function holdersOf({ agents, store, clock }: HolderDeps): Promise<Holders> {
  const certified = await store.certified(clock.now(), ANYBODY);
  const away = new Map<string, AwayAgent>();
  // The newest comes last.
  for (const { id, identity, serial, node } of certified)
    if (node.platform !== OWN_NODE.platform)
      away.set(keyOf({ id, ...node }), { id, identity, serial, ...node });
  const connected = agents.list();
  for (const each of connected) away.delete(keyOf(each));
  return { connected, away: [...away.values()] };
}

const keyOf = ({ id, platform, node }: Pick<CertifiedAgent, 'id' | 'platform' | 'node'>): string =>
  JSON.stringify([id, platform, node]);

/** How many holders have not acknowledged a change. */
export interface Unacknowledged {
  readonly connected: number;
  /** They hear of it when they connect. */
  readonly away: number;
}

/** Counts the holders that have not acknowledged a change, except those that the change cuts off. */
export function unacknowledged(
  { connected, away }: Holders,
  wanted: Partial<Parts>,
  isCutOff: (agent: AwayAgent) => boolean = () => false,
): Unacknowledged {
  const behind = connected.filter((each) => !each.acknowledged.has(wanted) && !isCutOff(each));
  return { connected: behind.length, away: away.filter((each) => !isCutOff(each)).length };
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
