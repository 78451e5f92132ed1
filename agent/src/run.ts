/** Puts the rooms together: the agent, its socket, its outputs, its gateway and its local addresses. */

import { hex } from '@chancery/shared/bytes.ts';
import { isRefusal } from '@chancery/shared/errors.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { type Agent, type AgentDeps, startAgent } from './agent.ts';
import { type AgentSettings, type GatewaySettings, paths } from './config.ts';
import type { LocalEndpoint } from './mcp/connect/listener.ts';
import { startConnect } from './mcp/connect.ts';
import { startGateway } from './mcp/gateway.ts';
import { allowedEnvironment } from './mcp/upstream/command.ts';
import type { UpstreamTarget } from './mcp/upstream/upstream.ts';
import { openCallRecords } from './outputs/call-records.ts';
import { keepOutputs } from './outputs/keep.ts';
import { type PlatformKeyAgent, startPlatformKeyAgent } from './platform-key-agent.ts';
import { serveLocalApi } from './workload/local-api.ts';
import type { StatusReport } from './workload/local-messages.ts';

export interface RunDeps extends AgentDeps {
  readonly ownUid: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly kill: typeof process.kill;
  readonly platform: NodeJS.Platform;
}

export interface Running {
  readonly agent: Agent | PlatformKeyAgent;
  readonly gatewayPort: number | undefined;
  close(): Promise<void>;
}

interface Closing {
  close(): Promise<void> | void;
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
    const inTpm = settings.evidence.tpm?.key === 'tpm';
    const agent = await (inTpm ? startPlatformKeyAgent : startAgent)(settings, deps, signal);
    parts.push(agent);
    const full = 'policy' in agent ? agent : undefined;
    const gatewayPort = full && (await openMcp(settings, full, { deps, parts }));
    const status = () => statusOf({ agent, full, settings, deps, gatewayPort });
    const { log, ownUid } = deps;
    const { socket } = paths(settings.dataDir);
    parts.push(await serveLocalApi({ path: socket, agent: full, status, ownUid, log }));
    parts.push(keepOutputs({ ...deps, ...agent, outputs: settings.outputs }));
    return { agent, gatewayPort, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Opening {
  readonly deps: RunDeps;
  readonly parts: Closing[];
}

/** Resolves with the gateway's port, where there is a gateway. */
async function openMcp(
  settings: AgentSettings,
  agent: Agent,
  { deps, parts }: Opening,
): Promise<number | undefined> {
  const gateway = settings.gateway && (await openGateway(settings.gateway, agent, { deps, parts }));
  for (const { server, listen } of settings.connect)
    parts.push(
      await startConnect({ ...deps, ...agent, server, local: localEndpoint(listen), uid: deps.ownUid }),
    );
  return gateway?.port;
}

async function openGateway(settings: GatewaySettings, agent: Agent, { deps, parts }: Opening) {
  const records = openCallRecords(settings.records);
  parts.push(records);
  const gateway = await startGateway({
    ...deps,
    ...agent,
    server: settings.server,
    listen: hostAndPort(settings.listen),
    upstream: upstreamOf(settings.upstream, deps.env),
    record: records.record,
  });
  parts.push(gateway);
  return gateway;
}

function upstreamOf(upstream: GatewaySettings['upstream'], env: RunDeps['env']): UpstreamTarget {
  if ('url' in upstream) return { kind: 'url', url: new URL(upstream.url) };
  if ('socket' in upstream) return { kind: 'unix', path: upstream.socket, endpoint: upstream.path };
  const [program = '', ...args] = upstream.command;
  return { kind: 'command', command: [program, ...args], env: allowedEnvironment(env, upstream.env) };
}

function hostAndPort(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}

/** `unix:PATH` or `127.0.0.1:PORT`. */
export function localEndpoint(text: string): LocalEndpoint {
  if (text.startsWith('unix:')) return { kind: 'unix', path: text.slice('unix:'.length) };
  return { kind: 'tcp', port: hostAndPort(text).port };
}

interface StatusParts {
  readonly agent: Agent | PlatformKeyAgent;
  readonly full: Agent | undefined;
  readonly settings: AgentSettings;
  readonly deps: RunDeps;
  readonly gatewayPort: number | undefined;
}

function statusOf({ agent, full, settings, deps, gatewayPort }: StatusParts): StatusReport {
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
