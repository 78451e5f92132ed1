/** The command line of chancery-agent. */
import type { Program } from '@chancery/shared/cli.ts';
import { type ConnectCommandDeps, connect } from './connect.ts';
import { gateway, run } from './run.ts';
import { mcp, type Self, status } from './status.ts';

export interface AgentProgramDeps extends ConnectCommandDeps {
  readonly self: Self;
}

export function agentProgram(deps: AgentProgramDeps, version: string): Program {
  return {
    name: 'chancery-agent',
    says: 'proves a workload, keeps its certificate fresh, carries it to MCP servers',
    version,
    commands: { run: run(deps), connect: connect(deps), gateway: gateway(deps), status, mcp: mcp(deps.self) },
  };
}
