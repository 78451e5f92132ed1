/** The command line of chancery-agent. */
import type { Program } from '@chancery/shared/cli.ts';
import { type ConnectCommandDeps, connect } from './connect.ts';
import { gateway, run } from './run.ts';
import { mcp, status } from './status.ts';

export function agentProgram(deps: ConnectCommandDeps, version: string): Program {
  return {
    name: 'chancery-agent',
    says: 'proves a workload, keeps its certificate fresh, carries it to MCP servers',
    version,
    commands: { run: run(deps), connect: connect(deps), gateway: gateway(deps), status, mcp },
  };
}
