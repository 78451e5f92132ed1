/** Puts the rooms together: the agent, its socket, its outputs, its gateway and its local addresses. */

import { serveHealth } from '@chancery/shared/health/server.ts';
import { hostAndPort } from './addresses.ts';
import { type Agent, type AgentDeps, startAgent } from './agent.ts';
import { type AgentSettings, paths } from './config.ts';
import type { AgentMetrics } from './health/metrics.ts';
import type { Closing, McpDeps, McpOpening } from './open-mcp.ts';
import { type KeptOutputs, keepOutputs } from './outputs/keep.ts';
import type { NotifyDeps } from './outputs/notify.ts';
import { type PlatformKeyAgent, startPlatformKeyAgent } from './platform-key-agent.ts';
import { statusOf } from './status.ts';
import { serveLocalApi } from './workload/local-api.ts';
import type { StatusReport } from './workload/local-messages.ts';

export interface RunDeps extends AgentDeps, McpDeps, NotifyDeps {}

export interface Running {
  readonly agent: Agent | PlatformKeyAgent;
  readonly gatewayPort: number | undefined;
  close(): Promise<void>;
}

/** Starts everything that the config names, in order, and closes it in the opposite one. */
export async function runAgent(
  settings: AgentSettings,
  deps: RunDeps,
  signal: AbortSignal,
): Promise<Running> {
  const parts: Closing[] = [];
  const close = async (): Promise<void> => {
    for (const part of parts.toReversed()) await part.close();
  };
  try {
    const inTpm = settings.evidence?.tpm?.key === 'tpm';
    const agent = await (inTpm ? startPlatformKeyAgent : startAgent)(settings, deps, signal);
    parts.push(agent);
    const full = 'policy' in agent ? agent : undefined;
    let [gatewayPort, outputs]: [number | undefined, KeptOutputs | undefined] = [undefined, undefined];
    const status = () => statusOf({ ...deps, agent, full, settings, gatewayPort, outputs });
    const metrics = await openHealth(settings, { deps, parts, status, agent });
    gatewayPort = full && (await openMcpParts(settings, full, { deps, parts, count: metrics?.call }));
    const { log, ownUid } = deps;
    const { socket } = paths(settings.dataDir);
    parts.push(await serveLocalApi({ path: socket, agent: full, status, ownUid, log }));
    outputs = keepOutputs({ ...deps, ...agent, outputs: settings.outputs });
    parts.push(outputs);
    return { agent, gatewayPort, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface HealthParts {
  readonly deps: RunDeps;
  readonly parts: Closing[];
  readonly status: () => StatusReport;
  readonly agent: Agent | PlatformKeyAgent;
}

/** Open before the gateway, so that a probe sees it come up. Loaded where it is configured. */
async function openHealth(
  { http }: AgentSettings,
  { deps, parts, status, agent }: HealthParts,
): Promise<AgentMetrics | undefined> {
  if (http === undefined) return undefined;
  const { createAgentMetrics } = await import('./health/metrics.ts');
  const metrics = createAgentMetrics(status, () => deps.clock.now());
  parts.push({ close: agent.svid.onChange(() => metrics.rotated()) });
  const unfit = (): string | undefined => {
    const { expired, revoked } = status();
    if (revoked !== null) return 'this identity is revoked';
    return expired ? 'the certificate has expired' : undefined;
  };
  const shown = http.healthOnly ? undefined : metrics;
  parts.push(await serveHealth({ ...hostAndPort(http.listen), metrics: shown, unfit }));
  return metrics;
}

/** Loaded where it is configured: an agent that only keeps files does without it. */
async function openMcpParts(
  settings: AgentSettings,
  agent: Agent,
  opening: McpOpening,
): Promise<number | undefined> {
  if (settings.gateway === undefined && settings.connect.length === 0) return undefined;
  const { openMcp } = await import('./open-mcp.ts');
  return openMcp(settings, agent, opening);
}
