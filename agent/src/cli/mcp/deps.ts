/** What the verbs of `mcp` need of their process, and of the agent that runs here. */
import type { Invocation, Io } from '@chancery/shared/cli/program.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { readAgentConfig } from '../../config/read.ts';
import type { Client } from '../../mcp/client.ts';
import { firstOf, type Sources, sayingWhy, sourcesFor, waitingFor } from '../connect.ts';
import { configFile } from '../flags.ts';
import type { RunCommandDeps } from '../run.ts';
import type { Self } from '../self.ts';

export interface McpCommandDeps extends RunCommandDeps {
  /** Names this program in full, since an MCP client may have another PATH. */
  readonly self: () => Self;
}

export interface Reach {
  readonly policy: Policy;
  /** A client of one of the policy's servers. The caller closes it. */
  client(server: string): Client;
}

/** Runs `work` once there is a policy, and ends what it needed. */
export async function withPolicy<T>(
  invocation: Invocation,
  deps: McpCommandDeps,
  io: Io,
  work: (reach: Reach) => Promise<T>,
): Promise<T> {
  const settings = readAgentConfig(configFile(invocation));
  const reached = async (): Promise<readonly [Sources, Policy]> => {
    const sources = await sourcesFor(settings, deps, io);
    try {
      return [sources, await firstOf(sources.policy, io.signal)];
    } catch (error) {
      await sources.close();
      throw error;
    }
  };
  const [sources, policy] = await sayingWhy(waitingFor(settings), io, reached);
  const { Client } = await import('../../mcp/client.ts');
  const { clock, version } = deps;
  const onProgress = (says: string): void => io.progress?.(says);
  const about = { ...sources, clock, version, log: deps.logAt('error'), signal: io.signal, onProgress };
  try {
    return await work({ policy, client: (server) => new Client({ ...about, server }) });
  } finally {
    await sources.close();
  }
}
