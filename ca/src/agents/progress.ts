/** Waits a moment for connected agents to acknowledge a change, so that an answer can name those that have not. */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import type { Parts } from './acknowledged.ts';
import type { Agents, LiveAgent } from './agents.ts';

/** An agent that runs acknowledges in a few milliseconds; an operator waits for the others no longer than this. */
const MAX_SECONDS = 1;

/**
 * Resolves when every agent that is connected now has acknowledged `wanted` or has left, and after 1 s at the latest:
 * with the agents that have done neither. An agent that connects meanwhile is not among them. Never rejects.
 */
export async function whenAcknowledged(
  agents: Pick<Agents, 'list' | 'has' | 'onProgress'>,
  wanted: Partial<Parts>,
  clock: Clock,
): Promise<readonly LiveAgent[]> {
  const behind = new Set(agents.list().filter(({ acknowledged }) => !acknowledged.has(wanted)));
  if (behind.size === 0) return [];
  const all = new AbortController();
  const stop = agents.onProgress((agent) => {
    if (agent.acknowledged.has(wanted) || !agents.has(agent)) behind.delete(agent);
    if (behind.size === 0) all.abort();
  });
  await clock.sleepUntil(addSeconds(clock.now(), MAX_SECONDS), all.signal).catch(() => {});
  stop();
  return [...behind];
}
