/** `connect NAME`: one MCP server for one MCP client, over stdio or a local address. */
import { existsSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  MisuseError,
} from '@chancery/shared/cli.ts';
import { ensure } from '@chancery/shared/errors.ts';
import { localEndpoint } from '../addresses.ts';
import { type AgentSettings, IN_MEMORY, paths, readAgentConfig } from '../config.ts';
import type { ConnectOptions } from '../mcp/connect.ts';
import { attach } from '../workload/attach.ts';
import { CONFIG_FLAG, configFile } from './flags.ts';
import { aborted, type RunCommandDeps } from './run.ts';

export interface ConnectCommandDeps extends RunCommandDeps {
  readonly stdio: () => { readonly input: Readable; readonly output: Writable };
}

type Sources = Pick<ConnectOptions, 'svid' | 'bundle' | 'policy' | 'revocations'> & {
  close(): Promise<void> | void;
};

/** An MCP client's log shows what a program writes to standard error: only what it must know belongs there. */
const QUIET = 'warn';

export const connect = (deps: ConnectCommandDeps): Command => ({
  says: 'Connects an MCP client on standard input and output to the MCP server NAME; with --listen on a local address.',
  positionals: 'NAME',
  flags: {
    listen: {
      type: 'string',
      value: 'ADDRESS',
      says: 'unix:PATH or 127.0.0.1:PORT instead of standard input and output.',
    },
    ...CONFIG_FLAG,
  },
  async run(invocation, io) {
    const [server, ...more] = invocation.positionals;
    if (server === undefined || more.length > 0) throw new MisuseError('expected: connect NAME');
    const settings = readAgentConfig(configFile(invocation));
    const local = localOf(invocation, deps);
    const sources = await sourcesFor(settings, deps, io);
    return relay({ server, local, sources }, deps, io);
  },
});

function localOf(invocation: Invocation, deps: ConnectCommandDeps): ConnectOptions['local'] {
  const listen = invocation.text('listen');
  if (listen === undefined) return { kind: 'stdio', ...deps.stdio() };
  if (!/^(unix:.+|127\.0\.0\.1:\d{1,5})$/.test(listen))
    throw new MisuseError('--listen is unix:PATH or 127.0.0.1:PORT');
  return localEndpoint(listen);
}

/** Beside a running agent this process is its guest; without one it proves the workload itself. */
async function sourcesFor(settings: AgentSettings, deps: ConnectCommandDeps, io: Io): Promise<Sources> {
  const log = deps.logAt(QUIET);
  ensure(settings.evidence?.tpm?.key !== 'tpm', 'config', `connect: ${IN_MEMORY}`);
  const { socket } = paths(settings.dataDir);
  if (existsSync(socket)) return attach({ socket, clock: deps.clock, log }, io.signal);
  // Beside a running agent this process needs no gRPC.
  const { startAgent } = await import('../agent.ts');
  return startAgent(settings, { ...deps, log, env: io.env }, io.signal);
}

interface Relay {
  readonly server: string;
  readonly local: ConnectOptions['local'];
  readonly sources: Sources;
}

async function relay(
  { server, local, sources }: Relay,
  deps: ConnectCommandDeps,
  io: Io,
): Promise<ExitStatus> {
  const { clock, platform, ownUid: uid } = deps;
  const log = deps.logAt(QUIET);
  try {
    const { startConnect } = await import('../mcp/connect.ts');
    const running = await startConnect({ ...sources, server, local, clock, uid, platform, log });
    if (local.kind === 'tcp') io.err(`${server} is at http://127.0.0.1:${running.port}/mcp\n`);
    if (local.kind === 'unix') io.err(`${server} is at unix://${local.path}#/mcp\n`);
    await Promise.race([running.done, aborted(io.signal)]);
    await running.close();
  } finally {
    await sources.close();
  }
  return 0;
}
