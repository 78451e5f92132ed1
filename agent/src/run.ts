/** Puts the rooms together: the agent, its socket, its outputs, its gateway and its local addresses. */

import { hex } from '@chancery/shared/bytes.ts';
import { isRefusal } from '@chancery/shared/errors.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { type Agent, type AgentDeps, startAgent } from './agent.ts';
import { type AgentSettings, paths } from './config.ts';
import type { Closing, McpDeps, McpOpening } from './open-mcp.ts';
import { type KeptOutputs, keepOutputs } from './outputs/keep.ts';
import type { NotifyDeps } from './outputs/notify.ts';
import { type PlatformKeyAgent, startPlatformKeyAgent } from './platform-key-agent.ts';
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
    const gatewayPort = full && (await openMcpParts(settings, full, { deps, parts }));
    let outputs: KeptOutputs | undefined;
    const status = () => statusOf({ agent, full, settings, deps, gatewayPort, outputs });
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

interface StatusParts {
  readonly agent: Agent | PlatformKeyAgent;
  readonly full: Agent | undefined;
  readonly settings: AgentSettings;
  readonly deps: RunDeps;
  readonly gatewayPort: number | undefined;
  readonly outputs: KeptOutputs | undefined;
}

function statusOf({ agent, full, settings, deps, gatewayPort, outputs }: StatusParts): StatusReport {
  const svid = agent.svid.current();
  const policy = full && policyOf(full);
  const { gateway, connect } = settings;
  return {
    version: deps.version,
    spiffeId: svid.id,
    serial: hex(parseCertificate(svid.chain[0] ?? new Uint8Array()).serial),
    notAfter: svid.notAfter.toISOString(),
    renewAfter: svid.renewAfter.toISOString(),
    expired: deps.clock.now() > svid.notAfter,
    renewalFailure: agent.renewalFailure() ?? null,
    policyVersion: policy === undefined ? null : Number(policy.version),
    servers: [...(policy?.servers.keys() ?? [])],
    gateway:
      gateway === undefined || gatewayPort === undefined
        ? null
        : { server: gateway.server, port: gatewayPort },
    connect,
    outputs: (outputs?.states() ?? []).map(({ dir, failure }) => ({ dir, failure: failure ?? null })),
  };
}

function policyOf({ policy }: Agent): Policy | undefined {
  try {
    return policy.current();
  } catch (error) {
    if (isRefusal(error, 'unavailable')) return undefined;
    throw error;
  }
}
