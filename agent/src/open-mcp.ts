/** The agent's MCP side, opened as the config has it: the gateway, and local addresses of other gateways. */
import { readFileSync } from 'node:fs';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { hostAndPort } from '@chancery/shared/text/address.ts';
import { makeNotDumpable } from '@chancery/shared/unix/not-dumpable.ts';
import { localEndpoint } from './addresses.ts';
import type { MemoryKeyAgent } from './agent.ts';
import type { ServerSettings } from './config/mcp.ts';
import { type AgentSettings, type GatewaySettings, paths } from './config/schema.ts';
import type { ServerOptions } from './mcp/behind.ts';
import type { CallEvent, RecordCall } from './mcp/call-event.ts';
import { startConnect } from './mcp/connect.ts';
import { OwnCounts } from './mcp/gateway/counts.ts';
import { type Gateway, startGateway } from './mcp/gateway.ts';
import { accountFor, environmentFor } from './mcp/upstream/account.ts';
import { rootsIn } from './mcp/upstream/roots.ts';
import { allowedEnvironment } from './mcp/upstream/stdio/command.ts';
import type { UpstreamTarget } from './mcp/upstream/upstream.ts';
import { openCallRecords } from './outputs/call-records.ts';
import type { WrittenChain } from './outputs/full-chain.ts';
import { fullSvid } from './outputs/full-svid.ts';
import { recordBeside } from './spool/beside.ts';
import { type CallSpool, ensureNotRequired, openCallSpool } from './spool/call-spool.ts';
import { telemetryFor } from './telemetry/open.ts';
import type { Telemetry } from './telemetry/otlp.ts';
import { ensureHeardWithin } from './trust/stream/heard.ts';
import { heardRevocation } from './trust/stream/stream-state.ts';

export interface McpDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly ownUid: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly random: () => number;
  readonly version: string;
}

export interface Closing {
  /** Ends it. Resolves when it has ended. */
  close(): Promise<void> | void;
}

export interface McpOpening {
  readonly deps: McpDeps;
  /** Collects what must be closed, in the order of opening. */
  readonly parts: Closing[];
  /** Sees every record that is written. */
  readonly count?: ((event: CallEvent) => void) | undefined;
  /** Called with the spool, if there is one. */
  readonly onSpool?: ((spool: CallSpool) => void) | undefined;
}

export interface OpenGateway {
  readonly port: number;
  /** How many sessions of the legacy era are open now, of each server. */
  readonly sessions: Gateway['sessions'];
  /** What its callers are shown, where it is to show the full chain. */
  readonly shown: (() => WrittenChain) | undefined;
}

/** Resolves with the gateway, if there is one. */
export async function openMcp(
  settings: AgentSettings,
  agent: MemoryKeyAgent,
  { deps, parts, count, onSpool }: McpOpening,
): Promise<OpenGateway | undefined> {
  const { maxRequestBytes, dataDir } = settings;
  const bounded = settings.gateway && { ...settings.gateway, maxRequestBytes, dataDir };
  const telemetry = await openTelemetry(settings, deps, parts);
  const gateway = bounded && (await openGateway(bounded, agent, { deps, parts, count, onSpool, telemetry }));
  const spans = telemetry?.spans('client');
  for (const { server, listen } of settings.connect) {
    const local = localEndpoint(listen);
    const own = { uid: deps.ownUid, maxRequestBytes, revocation: async () => revocationOf(agent) };
    parts.push(await startConnect({ ...deps, ...sourcesOf(agent), ...own, server, local, spans }));
  }
  return gateway;
}

/** Opened first, so that it is closed last, when all spans have ended. */
async function openTelemetry(
  { telemetry: settings, gateway }: AgentSettings,
  deps: McpDeps,
  parts: Closing[],
): Promise<Telemetry | undefined> {
  const service = gateway === undefined ? 'chancery-connect' : 'chancery-gateway';
  const telemetry = await telemetryFor(settings, service, deps);
  if (telemetry !== undefined) parts.push(telemetry);
  return telemetry;
}

const sourcesOf = ({ svid, bundle, trust }: MemoryKeyAgent) => ({ svid, bundle, ...trust });

const revocationOf = ({ renewalFailure, trust }: MemoryKeyAgent) =>
  heardRevocation(renewalFailure(), trust.stream());

type BoundedGateway = GatewaySettings & Pick<AgentSettings, 'maxRequestBytes' | 'dataDir'>;

async function openGateway(
  settings: BoundedGateway,
  agent: MemoryKeyAgent,
  { deps, parts, count, onSpool, telemetry }: McpOpening & { readonly telemetry: Telemetry | undefined },
): Promise<OpenGateway> {
  const record = openRecords(settings, agent, { deps, parts, count, onSpool });
  const sources = sourcesOf(agent);
  // Only callers may trust no more than a CA above: gateways, which connect calls, trust the bundle.
  const full = settings.chain === 'full' ? fullSvid({ ...deps, ...sources }) : undefined;
  if (full !== undefined) parts.push(full);
  const gateway = await startGateway({
    ...deps,
    ...sources,
    ...(full && { svid: full.svid }),
    listen: hostAndPort(settings.listen),
    servers: settings.servers.map((each) => serverOf(each, agent, deps)),
    record,
    maxRequestBytes: settings.maxRequestBytes,
    counts: new OwnCounts({ ofRates: agent.trust.gateways, ofPlaces: () => 1, monotonic }),
    spans: telemetry?.spans('server'),
    ensureHeard: ensureHeardWithin(settings.maxStaleness, agent.trust),
  });
  parts.push(gateway);
  return { port: gateway.port, sessions: gateway.sessions, shown: full?.shown };
}

const monotonic = (): number => performance.now();

/** Where records go: to the spool and to the file. */
function openRecords(
  { servers, records, report, dataDir }: BoundedGateway,
  agent: MemoryKeyAgent,
  { deps, parts, count, onSpool }: McpOpening,
): RecordCall {
  const { policy, caTarget: target } = agent.trust;
  const isRequired = (server: string) => policy.current().servers.get(server)?.audit === 'required';
  const about = { ...deps, svid: agent.svid, target, servers: namesOf(servers), isRequired };
  const spool =
    report === false ? undefined : openCallSpool({ ...about, ...report, folder: paths(dataDir).spool });
  if (spool !== undefined) {
    parts.push(spool);
    onSpool?.(spool);
  }
  const file = records === false ? undefined : openCallRecords(records);
  if (file !== undefined) parts.push(file);
  return (...events) => {
    if (spool === undefined) {
      ensureNotRequired(isRequired, events);
      file?.record(...events);
    } else recordBeside({ spool, file: file?.record }, events);
    for (const event of events) count?.(event);
  };
}

const namesOf = ([first, ...more]: GatewaySettings['servers']) =>
  [first.server, ...more.map(({ server }) => server)] as const;

function serverOf(settings: ServerSettings, agent: MemoryKeyAgent, deps: McpDeps): ServerOptions {
  return {
    server: settings.server,
    upstream: upstreamOf(settings.upstream, agent, deps),
    freeText: settings.freeText,
    maxCallSeconds: settings.maxCallDuration,
    sessions: sessionsOf(settings.sessions),
  };
}

function sessionsOf({ max, perCaller, idle }: NonNullable<ServerSettings['sessions']> = { idle: 3600 }) {
  return {
    ...(max === undefined ? {} : { max }),
    ...(perCaller === undefined ? {} : { maxPerCaller: perCaller }),
    idleSeconds: idle,
  };
}

/** Throws config for a command without a user to run as, and for roots that cannot be read. */
export function ensureUsable(upstream: ServerSettings['upstream'], ownUid: number): void {
  if ('command' in upstream) accountOf(upstream, ownUid);
  if ('url' in upstream && upstream.roots !== undefined) rootsIn(upstream.roots);
}

/** The user that a command would run as. Throws config. */
const accountOf = (upstream: Parameters<typeof accountFor>[0], ownUid: number) =>
  accountFor(upstream, ownUid, () => ({
    passwd: readFileSync('/etc/passwd', 'utf8'),
    group: readFileSync('/etc/group', 'utf8'),
  }));

function upstreamOf(
  upstream: ServerSettings['upstream'],
  agent: MemoryKeyAgent,
  { env, ownUid, log, clock }: McpDeps,
): UpstreamTarget {
  if ('url' in upstream) {
    const { url, roots, identity } = upstream;
    const target = { kind: 'url', url: new URL(url) } as const;
    if (identity !== undefined)
      return { ...target, trust: { kind: 'spiffe', identity, clock, ...sourcesOf(agent) } };
    return roots === undefined ? target : { ...target, trust: { kind: 'roots', read: rootsIn(roots) } };
  }
  if ('socket' in upstream) return { kind: 'unix', path: upstream.socket, endpoint: upstream.path };
  const [program = '', ...args] = upstream.command;
  const account = accountOf(upstream, ownUid);
  // The command shares the agent's user, and must not read its memory or its environment.
  if (!makeNotDumpable()) log.warn({}, 'the agent can be read by the processes of its user');
  const allowed = environmentFor(account, allowedEnvironment(env, upstream.env));
  return { kind: 'command', command: [program, ...args], env: allowed, account };
}
