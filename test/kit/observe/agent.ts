/** What tests ask of an agent that they started. */
import type { Agent, MemoryKeyAgent } from '@chancery/agent/agent.ts';

/** The agent, as one whose keys are in memory. Throws where its config says otherwise. */
export function withMemoryKeys(agent: Agent): MemoryKeyAgent {
  if (agent.trust === undefined) throw new Error('the keys of this agent stay in its platform');
  return agent;
}
