/** The command line of chancery-agent. */
import type { Program } from '@chancery/shared/cli/program.ts';
import { type ConnectCommandDeps, connect } from './connect.ts';
import { doctor } from './doctor.ts';
import { exec } from './job/exec.ts';
import { issue } from './job/issue.ts';
import type { McpCommandDeps } from './mcp/deps.ts';
import { mcp } from './mcp/mcp.ts';
import { gateway, run } from './run.ts';
import { status } from './status.ts';

export interface AgentProgramDeps extends ConnectCommandDeps, McpCommandDeps {}

/** All commands by name; `runProgram` runs one of them. `version` is what --version prints. */
export function agentProgram(deps: AgentProgramDeps, version: string): Program {
  return {
    name: 'chancery-agent',
    says: 'proves a workload, keeps its certificate fresh, carries it to MCP servers',
    version,
    commands: {
      run: run(deps),
      connect: connect(deps),
      gateway: gateway(deps),
      issue: issue(deps),
      exec: exec(deps),
      status,
      doctor: doctor(deps),
      mcp: mcp(deps),
    },
  };
}
