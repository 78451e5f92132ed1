/** `connect`: one MCP server for one MCP client, over stdio or a local address; or all servers, over stdio. */
import { existsSync } from 'node:fs';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  MisuseError,
} from '@chancery/shared/cli/program.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { saysRevoked } from '@chancery/shared/revocation/revocation.ts';
import { localEndpoint } from '../addresses.ts';
import { readAgentConfig } from '../config/read.ts';
import { type AgentSettings, paths } from '../config/schema.ts';
import { IN_MEMORY, keysStayInPlatform } from '../config/together.ts';
import { ensureNoAgent } from '../data-dir.ts';
import { ensurePortsFree } from '../free-ports.ts';
import type { ConnectOptions } from '../mcp/connect.ts';
import { MAX_REQUEST_BYTES } from '../mcp/upstream/upstream.ts';
import { telemetryFor } from '../telemetry/open.ts';
import type { Telemetry } from '../telemetry/otlp.ts';
import { heardRevocation } from '../trust/stream/stream-state.ts';
import { type AttachOptions, attach, readRevocation } from '../workload/attach.ts';
import { CONFIG_FLAG, configFile, ensureName, ensureServerName } from './flags.ts';
import { aborted, type RunCommandDeps } from './run.ts';

export interface ConnectCommandDeps extends RunCommandDeps {
  readonly stdio: () => { readonly input: Readable; readonly output: Writable };
}

/** What a connection to a gateway is made with. */
export type Sources = Pick<ConnectOptions, 'svid' | 'bundle' | 'policy' | 'revocations' | 'revocation'> & {
  close(): Promise<void> | void;
};

/** Of the agent, with the scope that this process asks for. */
type ConnectSettings = AgentSettings & { readonly scope?: string | undefined };

/** MCP clients show standard error in their log, so only what a user must know is written there. */
const QUIET = 'warn';

/** Serves until the client or a signal ends it. It logs only warnings, because MCP clients show standard error. */
export const connect = (deps: ConnectCommandDeps): Command => ({
  says: [
    'Connects an MCP client on standard input and output to the MCP server NAME; with --listen on a local address.',
    'Without NAME it shows all servers that this identity may reach as one.',
  ].join(' '),
  positionals: '[NAME]',
  flags: {
    listen: {
      type: 'string',
      value: 'ADDRESS',
      says: 'unix:PATH or 127.0.0.1:PORT instead of standard input and output.',
    },
    'find-tools': {
      type: 'boolean',
      says: 'Without NAME: instead of more than 60 tools, show two that find and call them.',
    },
    scope: {
      type: 'string',
      value: 'NAME',
      says: 'Allows no more than the rules of this scope. Needs a running agent.',
    },
    ...CONFIG_FLAG,
  },
  async run(invocation, io) {
    const [server, ...more] = invocation.positionals;
    if (more.length > 0) throw new MisuseError('expected: connect [NAME]');
    const findTools = invocation.has('find-tools');
    if (server !== undefined) ensureServerName(server);
    else if (invocation.text('listen') !== undefined)
      throw new MisuseError('--listen is for one server: connect NAME --listen');
    if (server !== undefined && findTools) throw new MisuseError('--find-tools is for connect without NAME');
    const settings = { ...readAgentConfig(configFile(invocation)), scope: scopeOf(invocation) };
    const local = localOf(invocation, deps);
    if (local.kind === 'tcp')
      await ensurePortsFree([{ where: '--listen', listen: `127.0.0.1:${local.port}` }]);
    const client = local.kind === 'stdio' ? heldInput(local.input) : undefined;
    const signals = client === undefined ? [io.signal] : [io.signal, client.left];
    const until = { ...io, signal: AbortSignal.any(signals) };
    const sources = await sayingWhy(waitingFor(settings), io, () =>
      registered(server, settings, deps, until),
    );
    client?.ready();
    const held = client === undefined || local.kind !== 'stdio' ? local : { ...local, input: client.input };
    return relay({ server, findTools, local: held, sources, settings }, deps, io);
  },
});

/** A person who starts connect must not look at nothing for longer. */
const SILENT_MS = 1_500;

/** Says what it waits for if the work takes its time; the work goes on by itself. */
export async function sayingWhy<T>(
  what: string,
  { err }: Pick<Io, 'err'>,
  work: () => Promise<T>,
  silentMs = SILENT_MS,
): Promise<T> {
  let isTold = false;
  const timer = setTimeout(() => {
    isTold = true;
    err(`waiting for ${what}; it is tried again until it answers\n`);
  }, silentMs);
  try {
    const made = await work();
    if (isTold) err('it answered\n');
    return made;
  } finally {
    clearTimeout(timer);
  }
}

/** What these settings make a command wait for. */
export function waitingFor({ dataDir, ca }: AgentSettings): string {
  const { socket } = paths(dataDir);
  if (existsSync(socket)) return `the agent at ${socket}, which has no certificate or policy of its CA yet`;
  return `the CA at ${ca.address ?? ca.socket ?? 'an unknown address'}`;
}

/** What connect needs, once a named server is known to be one of this identity's. The caller closes it. */
export async function registered(
  server: string | undefined,
  settings: ConnectSettings,
  deps: RunCommandDeps,
  until: Io,
): Promise<Sources> {
  const sources = await sourcesFor(settings, deps, until);
  try {
    if (server === undefined) await firstOf(sources.policy, until.signal);
    else await ensureRegistered(server, sources.policy, until.signal);
    return sources;
  } catch (error) {
    await sources.close();
    throw error;
  }
}

/** Reads the client's input before there is an agent, to notice its end: if the client has left, the command ends. */
function heldInput(input: Readable): HeldInput {
  const left = new AbortController();
  const end = (): void =>
    left.abort(
      new IdentityError('unavailable', 'the client closed standard input before the agent answered'),
    );
  input.once('end', end);
  input.once('close', end);
  const held = input.pipe(new PassThrough({ highWaterMark: MAX_REQUEST_BYTES }));
  const ready = (): void => {
    input.off('end', end);
    input.off('close', end);
  };
  return { input: held, left: left.signal, ready };
}

interface HeldInput {
  readonly input: Readable;
  readonly left: AbortSignal;
  /** From now on the relay watches for the end of the input. */
  ready(): void;
}

/** Throws server_unknown, once there is a policy to look it up in. */
export async function ensureRegistered(
  server: string,
  source: Source<Policy>,
  signal: AbortSignal,
): Promise<void> {
  serverIn(await firstOf(source, signal), server);
}

/** Throws server_unknown, with the servers that are registered. */
export function serverIn({ servers }: Policy, name: string): McpServer {
  const server = servers.get(name);
  const known = [...servers.keys()].join(', ');
  const says = `no server is registered as ${name} for this identity; registered: ${known === '' ? 'none' : known}`;
  ensure(server !== undefined, 'server_unknown', says);
  return server;
}

/** Waits for a policy. Rejects when the signal aborts. */
export function firstOf(source: Source<Policy>, signal: AbortSignal): Promise<Policy> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    const stop = source.onChange((policy) => {
      stop();
      resolve(policy);
    });
    try {
      resolve(source.current());
      stop();
    } catch (error) {
      if (!isRefusal(error, 'unavailable')) reject(error);
    }
  });
}

function scopeOf(invocation: Invocation): string | undefined {
  const scope = invocation.text('scope');
  if (scope !== undefined) ensureName(`--scope ${scope}`, scope);
  return scope;
}

function localOf(invocation: Invocation, deps: ConnectCommandDeps): ConnectOptions['local'] {
  const listen = invocation.text('listen');
  if (listen === undefined) return { kind: 'stdio', ...deps.stdio() };
  if (!/^(unix:.+|127\.0\.0\.1:\d{1,5})$/.test(listen))
    throw new MisuseError('--listen is unix:PATH or 127.0.0.1:PORT');
  return localEndpoint(listen);
}

/** With a running agent, this process gets its certificate from it; without one, it proves the workload itself. */
export async function sourcesFor(settings: ConnectSettings, deps: RunCommandDeps, io: Io): Promise<Sources> {
  const log = deps.logAt(QUIET);
  ensure(!keysStayInPlatform(settings), 'config', `connect: ${IN_MEMORY}`);
  const { socket } = paths(settings.dataDir);
  const { clock, random } = deps;
  const { scope } = settings;
  if (existsSync(socket)) return attached({ socket, scope, clock, random, log }, io.signal);
  const says = `connect: --scope needs a running agent, and none is at ${socket}: start chancery-agent run`;
  ensure(scope === undefined, 'config', says);
  ensureNoAgent(settings.dataDir);
  // Beside a running agent this process needs no gRPC.
  const { startAgent } = await import('../agent.ts');
  const agent = await startAgent(settings, { ...deps, log, env: io.env }, io.signal);
  ensure(agent.trust !== undefined, 'config', `connect: ${IN_MEMORY}`);
  const { svid, bundle, trust, renewalFailure } = agent;
  const revocation = async () => heardRevocation(renewalFailure(), trust.stream());
  return { ...trust, svid, bundle, revocation, close: () => agent.close() };
}

/** If this identity is revoked, rejects with the revocation instead of any other failure. */
async function attached(options: AttachOptions, signal: AbortSignal): Promise<Sources> {
  const revocation = () => readRevocation(options.socket);
  try {
    return { ...(await attach(options, signal)), revocation };
  } catch (error) {
    const revoked = await revocation();
    if (revoked === undefined) throw error;
    throw new IdentityError('revoked_peer', saysRevoked(revoked), { cause: error });
  }
}

interface Relay {
  readonly server: string | undefined;
  readonly findTools: boolean;
  readonly local: ConnectOptions['local'];
  readonly sources: Sources;
  readonly settings: Pick<AgentSettings, 'maxRequestBytes' | 'telemetry'>;
}

async function relay(
  { server, findTools, local, sources, settings }: Relay,
  deps: ConnectCommandDeps,
  io: Io,
): Promise<ExitStatus> {
  const { clock, platform, ownUid: uid } = deps;
  const log = deps.logAt(QUIET);
  const { maxRequestBytes } = settings;
  const about = { ...deps, log, env: io.env };
  let telemetry: Telemetry | undefined;
  try {
    telemetry = await telemetryFor(settings.telemetry, 'chancery-connect', about);
    const { startConnect } = await import('../mcp/connect.ts');
    const running = await startConnect({
      ...sources,
      server,
      findTools,
      local,
      clock,
      uid,
      platform,
      log,
      maxRequestBytes,
      spans: telemetry?.spans('client'),
    });
    if (local.kind === 'tcp') io.err(`${server} is at http://127.0.0.1:${running.port}/mcp\n`);
    if (local.kind === 'unix') io.err(`${server} is at unix://${local.path}#/mcp\n`);
    await Promise.race([running.done, aborted(io.signal)]);
    await running.close();
  } finally {
    await Promise.all([sources.close(), telemetry?.close()]);
  }
  return 0;
}
