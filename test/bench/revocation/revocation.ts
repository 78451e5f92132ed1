/**
 * From the operator's command to the cut: a revocation is asked for on the admin socket of a real CA process, written
 * to disk, pushed over real trust streams with mutual TLS, read and in force at each agent; and a stream that is open
 * at a gateway is cut. The agents are in eight processes, without their disks: on their own machines they would not
 * wait for each other. Each is a node of its own.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { join as joinPath } from 'node:path';
import { unixEvidence } from '@chancery/agent/evidence/unix.ts';
import { startGateway } from '@chancery/agent/mcp/gateway.ts';
import { unixTarget } from '@chancery/agent/svid/channel.ts';
import { bootstrapBundle } from '@chancery/agent/trust/bootstrap.ts';
import { OperatorClient } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import { parseSpiffeId, parseTrustDomain, type SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { startFakeServer, stream } from '../../kit/mcp/servers/server.ts';
import { countsAlone } from '../../kit/mcp/world/counts.ts';
import { live } from '../../kit/mcp/world/world.ts';
import { makeCa, makeFolder, removeFolder } from '../../kit/processes.ts';
import type { Bench, Outcome, Progress } from '../bench.ts';
import { cpuMicrosOf, quantile, rssMbOf } from '../measure.ts';
import { type Agent, connect, joinAs, Nodes, type Parts, type Served, TRUST_DOMAIN } from './fleet.ts';
import { Groups } from './groups.ts';

/** One user of this machine joins for all of them; the rates of one caller are not what is measured. */
const UNBOUND = { attestationsPerSecond: 100_000, attestationBurst: 100_000 };

const nameOf = (path: string): SpiffeId => parseSpiffeId(`spiffe://${TRUST_DOMAIN}/${path}`);
const GATEWAY = nameOf('tools/everything');
const CALLER = nameOf('agents/caller');
const FLEET = `spiffe://${TRUST_DOMAIN}/fleet/{pod}`;
const FLEETS = [100, 1000];
const PROCESSES = 8;
const ROUNDS = 30;

export const revocation: Bench = {
  says: 'from the command to the cut, over trust streams with mutual TLS',
  async run(progress) {
    const parts: Parts = [];
    try {
      return await measure(await startWorld(parts), parts, progress);
    } finally {
      for (const part of parts.toReversed()) await part();
    }
  },
};

interface World extends Served {
  /** The CA's process. */
  readonly pid: number;
  readonly nodes: Nodes;
  readonly gateway: Agent;
  readonly caller: Agent;
  revoke(id: SpiffeId): Promise<bigint>;
  lift(number: bigint): Promise<void>;
}

async function startWorld(parts: Parts): Promise<World> {
  const dir = makeFolder();
  parts.push(() => removeFolder(dir));
  const nodes = new Nodes();
  const attestors = { unix: {}, ...nodes.attestors('fleet.jwks.json') };
  const ca = await makeCa(dir, TRUST_DOMAIN, { attestors, limits: UNBOUND });
  writeFileSync(joinPath(dir, 'fleet.jwks.json'), nodes.keys());
  const serving = await ca.serve();
  parts.push(() => serving.stop());
  await ca.saveBundle();
  const identity = (name: string, id: SpiffeId) => ({ kind: 'Identity', name, platform: 'unix', id });
  await ca.apply([
    identity('gateway', GATEWAY),
    identity('caller', CALLER),
    { kind: 'Identity', name: 'fleet', platform: nodes.platform, id: FLEET },
    { kind: 'McpServer', name: 'everything', identity: GATEWAY, address: '127.0.0.1:1' },
    { kind: 'Access', name: 'all', who: [CALLER], servers: ['everything'], tools: { allow: ['*'] } },
  ]);
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  const address = `127.0.0.1:${ca.port}`;
  const bundle = await bootstrapBundle({ trustDomain, address, bundleFile: ca.bundle, pin: undefined });
  const admin = unixTarget(joinPath(dir, 'data', 'admin.sock'));
  const operator = new OperatorClient(admin.address, admin.credentials, admin.options);
  parts.push(() => operator.close());
  const order = { kind: 'id', reason: 'keyCompromise', seconds: 0n, dryRun: false, force: false };
  return {
    ca,
    pid: serving.child.pid ?? 0,
    bundle,
    nodes,
    gateway: await joinAs({ ca, bundle }, unixEvidence(), GATEWAY),
    caller: await joinAs({ ca, bundle }, unixEvidence(), CALLER),
    revoke: (value) =>
      new Promise((resolve, reject) => {
        operator.revoke({ ...order, value }, (error, answer) =>
          error === null ? resolve(answer.revocation?.number ?? 0n) : reject(error),
        );
      }),
    lift: (number) =>
      new Promise((resolve, reject) => {
        operator.liftRevocation({ number }, (error) => (error === null ? resolve() : reject(error)));
      }),
  };
}

async function measure(world: World, parts: Parts, progress: Progress): Promise<Outcome> {
  const groups = new Groups(PROCESSES, parts);
  const table: [string, string][] = [];
  const json: Record<string, number> = {};
  let connected = 0;
  for (const size of FLEETS) {
    const more = size - connected;
    // Before the joins: connections use memory again that joins have left, and would seem to take too little.
    const before = rssMbOf(world.pid);
    progress(`joining ${more} nodes`);
    const agents = await world.nodes.join(world, more);
    progress(`connecting ${size} agents`);
    await groups.connect(world, agents);
    connected = size;
    json[`kbPerAgentAt${size}`] = Math.round(((rssMbOf(world.pid) - before) * 1000) / more);
    progress(`revoking before ${size} agents`);
    const cpu = cpuOf(world, groups);
    const delays = (await inTurn(ROUNDS, (round) => reach(world, groups, `${size}/${round}`))).flat();
    const [ca, all] = cpu();
    table.push([`a change at ${size} agents: CPU of the CA, and of all agents`, `${ca} and ${all} ms`]);
    Object.assign(json, { [`caCpuMsAt${size}`]: ca, [`agentsCpuMsAt${size}`]: all });
    table.push([`in force at ${size} agents, p50 and p99`, both(delays)]);
    json[`inForce${size}P50Ms`] = quantile(delays, 0.5);
    json[`inForce${size}P99Ms`] = quantile(delays, 0.99);
  }
  // The first hundred make the process grow by what it keeps for itself.
  table.push(['memory at the CA for each of the last 900 agents', `${json['kbPerAgentAt1000']} KB`]);
  progress('cutting streams');
  const cuts = await cutStreams(world, groups, parts);
  json['cutP50Ms'] = quantile(cuts, 0.5);
  json['cutP99Ms'] = quantile(cuts, 0.99);
  table.push([`an open stream at a gateway cut, ${connected} agents connected, p50 and p99`, both(cuts)]);
  return { table, json };
}

/** Processor time since, in milliseconds for each change, of which a round has two: of the CA, and of all agents. */
function cpuOf({ pid }: World, { pids }: Groups): () => readonly [ca: number, agents: number] {
  const micros = () => [[pid], pids].map((each) => each.map(cpuMicrosOf).reduce((a, b) => a + b, 0));
  const [caBefore = 0, agentsBefore = 0] = micros();
  const perChange = (spent: number): number => Math.round(spent / 1000 / (2 * ROUNDS));
  return () => {
    const [ca = 0, agents = 0] = micros();
    return [perChange(ca - caBefore), perChange(agents - agentsBefore)];
  };
}

const both = (values: readonly number[]): string =>
  `${quantile(values, 0.5).toFixed(1)} and ${quantile(values, 0.99).toFixed(1)} ms`;

async function inTurn<T>(rounds: number, run: (round: number) => Promise<T>): Promise<readonly T[]> {
  const results: T[] = [];
  for (let round = 0; round < rounds; round += 1) results.push(await run(round));
  return results;
}

/** Milliseconds from the command until this revocation is in force, one an agent. */
async function reach(world: World, groups: Groups, round: string): Promise<readonly number[]> {
  const id = nameOf(`nobody/${round}`);
  const reached = await groups.expect('revoked', id);
  const start = process.hrtime.bigint();
  const number = await world.revoke(id);
  const delays = (await reached()).map((at) => Number(at - start) / 1e6);
  const lifted = await groups.expect('lifted', id);
  await world.lift(number);
  await lifted();
  return delays;
}

function changed(source: Source<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const stop = source.onChange(() => {
      stop();
      resolve();
    });
  });
}

/** The gateway's agent is in this process, and has joined after all the others: it is told last. */
async function cutStreams(world: World, groups: Groups, parts: Parts): Promise<readonly number[]> {
  const [told] = await connect(world, [world.gateway], parts);
  if (told === undefined) throw new Error('the gateway has no stream');
  const server = await startFakeServer();
  parts.push(() => server.close());
  server.say = (_seen, res) => stream(res, [], true);
  const gateway = await startGateway({
    listen: { host: '127.0.0.1', port: 0 },
    servers: [{ server: 'everything', upstream: server.target }],
    svid: live(world.gateway.svid),
    bundle: told.bundle,
    policy: told.policy,
    revocations: told.revocations,
    clock: systemClock,
    log: silentLog,
    record: () => {},
    counts: countsAlone(),
    successions: { follows: () => false, onChange: () => () => {} },
  });
  parts.push(() => gateway.close());
  return inTurn(ROUNDS, async () => {
    const closed = await openStream(world, gateway.port);
    const start = performance.now();
    const revoking = world.revoke(CALLER);
    await closed();
    const milliseconds = performance.now() - start;
    const number = await revoking;
    const everywhere = await groups.expect('lifted', CALLER);
    const lifted = changed(told.revocations);
    await world.lift(number);
    await Promise.all([lifted, everywhere()]);
    return milliseconds;
  });
}

/** Returns the way to wait for its end. */
async function openStream({ caller, bundle }: World, port: number): Promise<() => Promise<void>> {
  const tls = {
    ...clientTls(caller.svid, bundle),
    checkServerIdentity: () => undefined,
    agent: false as const,
  };
  const where = { host: '127.0.0.1', port, path: '/mcp', method: 'GET' };
  const outgoing = request({ ...tls, ...where, headers: { accept: 'text/event-stream' } }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  response.on('error', () => {}).resume();
  const closed = new Promise<void>((resolve) => response.once('close', () => resolve()));
  return () => closed;
}
