/**
 * What connect and the gateway add to a tool call: the reference server's echo over HTTP, called directly, through the
 * gateway by a client that speaks mutual TLS itself, and through connect and gateway. CA, server, gateway and the agent
 * with connect are real processes; the client is this one. Each rule has a condition. Records go to disk and to the CA.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEverything } from '../../kit/mcp/servers/everything.ts';
import {
  type CaFolder,
  freePort,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
} from '../../kit/processes.ts';
import type { Bench, Outcome, Progress } from '../bench.ts';
import { cpuMicrosOf, quantile, rssMbOf } from '../measure.ts';
import { McpCaller, type Target } from './caller.ts';

const TRUST_DOMAIN = 'bench.example';
const TOOLS = `spiffe://${TRUST_DOMAIN}/tools/everything`;
const TRIAGE = `spiffe://${TRUST_DOMAIN}/agents/triage`;
const ROUNDS = 20;
const CALLS = 150;
const WARM_UP = 500;
const PARALLEL_CALLS = 4_000;
const PARALLEL = 16;
/** Access resources, each with a condition. A tenth is about this caller, and all but one of these do not match. */
const RULES = 1_000;
/** Sessions of one caller that are open and idle, each with a connection of its own. */
const CONNECTIONS = 1_000;

export const gateway: Bench = {
  says: 'a tool call directly, through the gateway, and through connect and gateway',
  async run(progress) {
    progress('starting CA, server, gateway and connect');
    const world = await startWorld();
    try {
      return await measure(world, progress);
    } finally {
      await world.close();
    }
  },
};

export interface World {
  readonly serverPort: number;
  readonly gatewayPort: number;
  readonly connectPort: number;
  readonly ca: CaFolder;
  readonly serving: Running;
  readonly gateway: Running;
  readonly connect: Running;
  /** Where connect's agent keeps its SVID in files. */
  readonly svidFolder: string;
  close(): Promise<void>;
}

/** `config` is the CA's, and `more` are resources beside those of the calls. */
export async function startWorld(config: object = {}, more: readonly object[] = []): Promise<World> {
  const parts: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (const part of parts.toReversed()) await part();
  };
  try {
    return { ...(await startParts(parts, { config, more })), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What has been started is in `parts`, to be ended in the opposite order, whatever happens after it. */
async function startParts(
  parts: (() => Promise<void> | void)[],
  { config, more }: { readonly config: object; readonly more: readonly object[] },
): Promise<Omit<World, 'close'>> {
  const start = async (starting: Promise<Running>): Promise<Running> => {
    const running = await starting;
    parts.push(() => running.stop());
    return running;
  };
  const dir = makeFolder();
  parts.push(() => removeFolder(dir));
  const [gatewayPort, connectPort] = [await freePort(), await freePort()];
  const server = await startEverything();
  parts.push(() => server.stop());
  const ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { unix: {} }, ...config });
  const serving = await start(ca.serve());
  await ca.saveBundle();
  await ca.apply([...resources(gatewayPort), ...rules(RULES - 1), ...more]);
  const evidence = { unix: {} };
  const upstream = { url: server.url.href };
  const behind = { server: 'everything', listen: `127.0.0.1:${gatewayPort}`, upstream };
  const local = { server: 'everything', listen: `127.0.0.1:${connectPort}` };
  const tools = makeAgent(ca, 'server', { evidence, id: TOOLS, gateway: behind });
  const triage = makeAgent(ca, 'client', {
    evidence,
    id: TRIAGE,
    connect: [local],
    outputs: [{ dir: 'out' }],
  });
  return {
    serverPort: Number(server.url.port),
    gatewayPort,
    connectPort,
    ca,
    serving,
    gateway: await start(tools.run('gateway')),
    connect: await start(triage.run()),
    svidFolder: join(triage.dir, 'out'),
  };
}

function resources(port: number): object[] {
  const identity = (id: string, name: string) => ({ kind: 'Identity', name, platform: 'unix', id });
  const tools = { allow: ['get-*', '/(echo|trigger)(-.*)?/'], deny: ['get-env'] };
  return [
    identity(TOOLS, 'tools'),
    identity(TRIAGE, 'triage'),
    { kind: 'McpServer', name: 'everything', identity: TOOLS, address: `127.0.0.1:${port}` },
    {
      kind: 'Access',
      name: 'triage',
      who: [TRIAGE],
      servers: ['everything'],
      tools,
      when: 'args.message.startsWith("number ") && source == "127.0.0.1"',
    },
  ];
}

const rules = (count: number): object[] =>
  Array.from({ length: count }, (_, n) => ({
    kind: 'Access',
    name: `rule-${n}`,
    who: [n % 10 === 0 ? TRIAGE : `spiffe://${TRUST_DOMAIN}/agents/other-${n}`],
    servers: ['everything'],
    tools: { allow: ['echo'] },
    when: `args.owner == "team-${n}"`,
  }));

async function measure(world: World, progress: Progress): Promise<Outcome> {
  const both = await openSoon({ agent: plainAgent(), port: world.connectPort });
  const callers = [
    await McpCaller.open({ agent: plainAgent(), port: world.serverPort }),
    await McpCaller.open({ agent: new https.Agent(tlsFrom(world.svidFolder)), port: world.gatewayPort }),
    both,
  ];
  progress('warming up');
  for (const caller of callers) await caller.calls(WARM_UP);
  const times: number[][] = callers.map(() => []);
  // In turns, so that whatever else the machine does meets all three alike.
  for (let round = 0; round < ROUNDS; round += 1) {
    progress(`round ${round + 1} of ${ROUNDS}`);
    for (const [index, caller] of callers.entries()) times[index]?.push(...(await caller.calls(CALLS)));
  }
  progress(`${PARALLEL} calls at a time`);
  const cpu = () => cpuMicrosOf(world.gateway.child.pid ?? 0) + cpuMicrosOf(world.connect.child.pid ?? 0);
  const before = cpu();
  const callsPerSecond = await both.flood(PARALLEL_CALLS, PARALLEL);
  const cpuMicros = (cpu() - before) / PARALLEL_CALLS;
  const gatewayRssMb = rssMbOf(world.gateway.child.pid ?? 0);
  const connectRssMb = rssMbOf(world.connect.child.pid ?? 0);
  const idleRssMb = await withConnections(world, progress);
  const [direct = [], through = [], whole = []] = times;
  return outcome({
    directP50Ms: quantile(direct, 0.5),
    gatewayP50Ms: quantile(through, 0.5),
    bothP50Ms: quantile(whole, 0.5),
    addedP50Ms: quantile(whole, 0.5) - quantile(direct, 0.5),
    addedP99Ms: quantile(whole, 0.99) - quantile(direct, 0.99),
    ratioP50: quantile(whole, 0.5) / quantile(direct, 0.5),
    callsPerSecond,
    callsPerCore: 1e6 / cpuMicros,
    gatewayRssMb,
    connectRssMb,
    gatewayRssAtConnectionsMb: idleRssMb,
  });
}

/** The gateway's resident memory with so many connections more, each with a session. */
async function withConnections(world: World, progress: Progress): Promise<number> {
  const agents = Array.from({ length: CONNECTIONS }, () => new https.Agent(tlsFrom(world.svidFolder)));
  try {
    for (const [index, agent] of agents.entries()) {
      if (index % 100 === 0) progress(`${index} of ${CONNECTIONS} connections`);
      await McpCaller.open({ agent, port: world.gatewayPort });
    }
    return rssMbOf(world.gateway.child.pid ?? 0);
  } finally {
    for (const agent of agents) agent.destroy();
  }
}

export const plainAgent = () => new http.Agent({ keepAlive: true });

/** The first policy reaches the gateway a moment after it has begun to serve. */
export async function openSoon(target: Target): Promise<McpCaller> {
  for (let tries = 100; ; tries -= 1) {
    try {
      return await McpCaller.open(target);
    } catch (error) {
      if (tries === 0) throw error;
      await sleep(50);
    }
  }
}

/** As a SPIFFE-aware client would: the name to expect is no DNS name, and this one knows whom it dialled. */
export function tlsFrom(folder: string): https.AgentOptions {
  const read = (name: string) => readFileSync(join(folder, name));
  const files = { cert: read('svid.pem'), key: read('key.pem'), ca: read('bundle.pem') };
  return { ...files, keepAlive: true, checkServerIdentity: () => undefined };
}

interface Measured {
  readonly directP50Ms: number;
  readonly gatewayP50Ms: number;
  readonly bothP50Ms: number;
  readonly addedP50Ms: number;
  readonly addedP99Ms: number;
  readonly ratioP50: number;
  readonly callsPerSecond: number;
  /** By the CPU time of connect and gateway together. */
  readonly callsPerCore: number;
  readonly gatewayRssMb: number;
  readonly connectRssMb: number;
  readonly gatewayRssAtConnectionsMb: number;
}

function outcome(measured: Measured): Outcome {
  const ms = (value: number): string => `${value.toFixed(3)} ms`;
  const mb = (value: number): string => `${value.toFixed(0)} MB`;
  return {
    json: { ...measured },
    table: [
      ['direct, p50', ms(measured.directP50Ms)],
      ['through the gateway, p50', ms(measured.gatewayP50Ms)],
      ['through connect and gateway, p50', ms(measured.bothP50Ms)],
      ['added by both, p50 (budget 0.5 ms)', ms(measured.addedP50Ms)],
      ['added by both, p99', ms(measured.addedP99Ms)],
      ['through both to direct, p50', measured.ratioP50.toFixed(2)],
      [`through both, ${PARALLEL} at a time`, `${measured.callsPerSecond.toFixed(0)} calls/s`],
      ['the same for each core of connect and gateway', `${measured.callsPerCore.toFixed(0)} calls/s`],
      ['gateway, resident after it', mb(measured.gatewayRssMb)],
      ['connect, resident after it', mb(measured.connectRssMb)],
      [`gateway, with ${CONNECTIONS} more connections`, mb(measured.gatewayRssAtConnectionsMb)],
    ],
  };
}
