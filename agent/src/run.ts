/** Puts the rooms together: the agent, its socket, its outputs, its gateway and its local addresses. */

import { serveHealth } from '@chancery/shared/health/server.ts';
import { hostAndPort } from '@chancery/shared/text/address.ts';
import { type Agent, type AgentDeps, type MemoryKeyAgent, startAgent } from './agent.ts';
import { type AgentSettings, paths } from './config/schema.ts';
import { keysStayInPlatform } from './config/together.ts';
import { holdDataDir } from './data-dir.ts';
import { ensureConfiguredPortsFree } from './free-ports.ts';
import type { AgentMetrics } from './health/metrics.ts';
import { openCrls } from './open-crls.ts';
import type { Closing, McpDeps, McpOpening, OpenGateway } from './open-mcp.ts';
import type { NotifyDeps } from './outputs/notify.ts';
import { startOutputs } from './outputs/outputs.ts';
import type { CallSpool } from './spool/call-spool.ts';
import { type Known, observingIn, staleInSeconds, statusOf, whyNoCalls } from './status.ts';
import { serveLocalApi } from './workload/local-api.ts';
import type { StatusReport } from './workload/local-messages.ts';

export interface RunDeps extends AgentDeps, McpDeps, NotifyDeps {}

export interface Running {
  readonly agent: Agent;
  readonly gatewayPort: number | undefined;
  /** Ends all that was started. Resolves when it has ended. */
  close(): Promise<void>;
}

/** Starts everything that the config names, in order, and closes it in the opposite one. */
export async function runAgent(
  settings: AgentSettings,
  deps: RunDeps,
  signal: AbortSignal,
): Promise<Running> {
  const parts: Closing[] = [];
  // Closed at the same time as the others: an output's command and a gateway's server each have a grace to end.
  let outputs: Closing | undefined;
  const closeParts = async (): Promise<void> => {
    for (const part of parts.toReversed()) await part.close();
  };
  const close = async (): Promise<void> => void (await Promise.all([outputs?.close(), closeParts()]));
  try {
    parts.push(holdDataDir(settings.dataDir, deps.log));
    await ensureUpstream(settings, deps);
    await ensureConfiguredPortsFree(settings);
    const joined = Promise.withResolvers<MemoryKeyAgent>();
    // There may be no waiter when it fails.
    joined.promise.catch(() => {});
    const known: Known = { settings, clock: deps.clock, version: deps.version };
    const status = () => statusOf(known);
    const { log, ownUid } = deps;
    const { socket } = paths(settings.dataDir);
    const api = {
      path: socket,
      agent: keysStayInPlatform(settings) ? undefined : joined.promise,
      status,
      ownUid,
      log,
    };
    parts.push(await serveLocalApi(api));
    const metrics = await openHealth(settings, { deps, parts, status, known });
    const patient = {
      ...deps,
      onFailure: (failure: Error) => {
        known.joinFailure = failure.message;
      },
    };
    const agent = await startAgent(settings, patient, signal).catch((error: unknown) => {
      joined.reject(error);
      throw error;
    });
    known.agent = agent;
    parts.push(agent, { close: agent.svid.onChange(() => metrics?.rotated()) });
    if (agent.trust !== undefined) {
      joined.resolve(agent);
      const onSpool = (spool: CallSpool): void => {
        known.spool = spool;
      };
      known.gateway = await openMcpParts(settings, agent, { deps, parts, count: metrics?.call, onSpool });
    }
    const lists = openCrls(settings, agent, deps);
    if (lists !== undefined) parts.push(lists);
    known.lists = lists;
    const { outputs: wanted } = settings;
    const { crossChains } = agent.trust ?? {};
    known.outputs = startOutputs({ ...deps, ...agent, outputs: wanted, crls: lists?.lists, crossChains });
    outputs = known.outputs;
    return { agent, gatewayPort: known.gateway?.port, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Checks what can be checked before the CA is asked for a certificate. Throws config. */
async function ensureUpstream({ gateway }: AgentSettings, deps: RunDeps): Promise<void> {
  for (const { upstream } of gateway?.servers ?? []) {
    if ('socket' in upstream) continue;
    const { ensureUsable } = await import('./open-mcp.ts');
    ensureUsable(upstream, deps.ownUid);
  }
}

interface HealthParts {
  readonly deps: RunDeps;
  readonly parts: Closing[];
  readonly status: () => StatusReport;
  readonly known: Known;
}

/** Opened before the agent has joined, so that a probe sees why it has not. Loaded only if it is configured. */
async function openHealth(
  { http }: AgentSettings,
  { deps, parts, status, known }: HealthParts,
): Promise<AgentMetrics | undefined> {
  if (http === undefined) return undefined;
  const { createAgentMetrics } = await import('./health/metrics.ts');
  const sources = {
    staleIn: () => staleInSeconds(known),
    spool: () => known.spool?.report(),
    observing: () => observingIn(known).length,
    sessions: () => known.gateway?.sessions() ?? [],
    silent: () => known.agent?.trust?.silentSeconds(),
  };
  const metrics = createAgentMetrics(status, () => deps.clock.now(), sources);
  const unfit = (): string | undefined => {
    const { expired, revoked, spiffeId, problems } = status();
    if (spiffeId === null) return problems.join('; ');
    if (revoked !== null) return 'this identity is revoked';
    return expired ? 'the certificate has expired' : whyNoCalls(known);
  };
  const shown = http.healthOnly ? undefined : metrics;
  parts.push(await serveHealth({ ...hostAndPort(http.listen), metrics: shown, unfit }));
  return metrics;
}

/** Loaded only if it is configured: an agent that only keeps files does not need it. */
async function openMcpParts(
  settings: AgentSettings,
  agent: MemoryKeyAgent,
  opening: McpOpening,
): Promise<OpenGateway | undefined> {
  if (settings.gateway === undefined && settings.connect.length === 0) return undefined;
  const { openMcp } = await import('./open-mcp.ts');
  return openMcp(settings, agent, opening);
}
