/**
 * Floods of real CA, gateway and connect processes by attackers in a process of their own, while honest clients renew,
 * join and call at a steady rate: what the honest clients notice, what memory is left afterwards, and what refusals
 * cost the disk. Each attack is measured against the calm before it, in the same processes.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import https from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { bootstrapBundle } from '@chancery/agent/trust/bootstrap.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { makeFolder, type Running, removeFolder } from '../../kit/processes.ts';
import { makeFakeTpm } from '../../kit/tpm/fake-tpm.ts';
import type { Bench, Outcome, Progress } from '../bench.ts';
import { openSoon, plainAgent, startWorld, tlsFrom, type World } from '../mcp/gateway.ts';
import { cpuMicrosOf, quantile, rssMbOf } from '../measure.ts';
import type { Ports, Tally } from './attackers.ts';
import { auditBytes, recordBytes } from './disk.ts';
import { type Act, callersOf, nodeOf, type Steady, steadily } from './honest.ts';

const TRUST_DOMAIN = 'bench.example';
const WARM_UP_MS = 2_000;
/** In calm, too, memory grows and shrinks between collections of garbage: over a minute. */
const SETTLE_MS = 100_000;
const CALM_MS = 20_000;
const FLOOD_MS = 20_000;
/** Until an attack is at its full strength. */
const RISE_MS = 1_000;
const CALM_AGAIN_MS = 60_000;
const RSS_GOAL = 1.1;
/** Of a user that owns nothing here. */
const NOBODY = 65_534;

const VICTIMS = ['ca', 'gateway', 'connect'] as const;
type Victim = (typeof VICTIMS)[number];
const ATTACKS: readonly (readonly [name: string, victim: Victim, says: string])[] = [
  ['A2', 'ca', '64 silent Attest streams from each of 9 addresses'],
  ['A3', 'ca', '3,000 silent TCP connections from as many addresses'],
  ['A3gateway', 'gateway', 'the same at the gateway'],
  ['A4', 'ca', '2,048 unfinished messages of 1 MiB on 8 connections'],
  ['A4reset', 'ca', 'streams reset at once, on 8 connections'],
  ['A5', 'ca', 'refused calls on 8 connections'],
  ['A5gateway', 'gateway', 'handshakes without a certificate, 8 at a time'],
  ['A6', 'connect', '60 connections a second of another user, and 4,000 sockets'],
];

export const flood: Bench = {
  says: 'what honest renewals, joins and calls notice of floods',
  parts: ATTACKS.map(([name]) => name),
  async run(progress, only) {
    progress('starting CA, server, gateway and connect');
    const tpm = await makeFakeTpm();
    const dir = makeFolder();
    const root = join(dir, 'tpm-root.pem');
    writeFileSync(root, tpm.manufacturer.rootPem);
    const attestors = { unix: {}, tpm: { roots: [root] } };
    const identity = { kind: 'Identity', name: 'node', platform: 'tpm', id: `spiffe://${TRUST_DOMAIN}/node` };
    const world = await startWorld({ attestors, limits: { refusalsInFull: 1 } }, [identity]);
    try {
      const trustDomain = parseTrustDomain(TRUST_DOMAIN);
      const address = `127.0.0.1:${world.ca.port}`;
      const from = { trustDomain, address, bundleFile: world.ca.bundle, pin: undefined };
      const node = await nodeOf(world.ca.port, await bootstrapBundle(from), tpm);
      const calls = await callsOf(world);
      const attacks = ATTACKS.filter(([name]) => only.length === 0 || only.includes(name));
      return await measure(world, { attacks, acts: { ca: node, gateway: calls, connect: calls } }, progress);
    } finally {
      await world.close();
      removeFolder(dir);
    }
  },
};

async function callsOf(world: World): Promise<readonly Act[]> {
  const connect = { agent: plainAgent(), port: world.connectPort };
  await openSoon(connect);
  const each = new https.Agent({ ...tlsFrom(world.svidFolder), keepAlive: false });
  return callersOf(connect, { agent: each, port: world.gatewayPort });
}

interface Measured {
  readonly honestFailures: number;
  readonly p99Ratio: number;
  readonly rssMbAfter: number;
  diskBytesPerRefusal: number;
  readonly calmP50Ms: number;
  readonly calmP99Ms: number;
  readonly floodP50Ms: number;
  readonly floodP99Ms: number;
  /** Of the victim, in parts of one processor. */
  readonly calmCpu: number;
  readonly floodCpu: number;
  /** The most in a long calm before all attacks. */
  readonly rssMbCalm: number;
  readonly rssMbPeak: number;
  /** After the attack, until memory was within a tenth of the calm; undefined if it was not within a minute. */
  readonly rssSeconds: number | undefined;
  readonly opened: number;
  readonly refused: number;
}

interface Span {
  readonly from: number;
  /** Bytes of the victim's log lines about it. */
  readonly logBytes: number;
}

interface Plan {
  readonly attacks: typeof ATTACKS;
  readonly acts: Readonly<Record<Victim, readonly Act[]>>;
}

async function measure(world: World, { attacks, acts }: Plan, progress: Progress): Promise<Outcome> {
  const results: Record<string, Measured> = {};
  const spans = new Map<string, Span>();
  const calm = await settled(world, acts, progress);
  for (const [name, victim, says] of attacks) {
    progress(`${name}: calm`);
    const victimOf = victimsOf(world)[victim];
    const [from, logged] = [Date.now(), victimOf.log().length];
    const attacking = { acts: acts[victim], pid: pidOf(victimOf), rssMbCalm: calm[victim], world, progress };
    results[name] = await attack(name, attacking);
    // A run takes minutes: what is known is said.
    for (const [left, right] of rowsOf(name, says, results[name])) console.error(`${left}  ${right}`);
    spans.set(name, { from, logBytes: refusedBytes(victimOf.log().slice(logged)) });
  }
  const end = Date.now();
  await world.serving.stop();
  const database = join(world.ca.dir, 'data', 'ca.db');
  const ends = [...spans.values()].map(({ from }) => from).slice(1);
  for (const [index, [name, victim]] of attacks.entries()) {
    const [span, measured] = [spans.get(name), results[name]];
    if (span === undefined || measured === undefined || measured.refused === 0) continue;
    const until = ends[index] ?? end;
    const written =
      victim === 'ca'
        ? auditBytes(database, span.from, until)
        : recordBytes(join(world.ca.dir, 'server', 'data', 'calls.jsonl'), span.from, until);
    measured.diskBytesPerRefusal = round((written + span.logBytes) / measured.refused);
  }
  return { json: results, table: attacks.flatMap(([name, , says]) => rowsOf(name, says, results[name])) };
}

/** The most memory of each victim in a long calm. */
async function settled(
  world: World,
  acts: Plan['acts'],
  progress: Progress,
): Promise<Record<Victim, number>> {
  progress('calm, until memory is known');
  const victims = victimsOf(world);
  const most = { ca: 0, gateway: 0, connect: 0 };
  const look = (): void => {
    for (const victim of VICTIMS) most[victim] = Math.max(most[victim], rssMbOf(pidOf(victims[victim])));
  };
  const looking = setInterval(look, 1_000);
  await Promise.all([steadily(acts.ca, SETTLE_MS), steadily(acts.gateway, SETTLE_MS)]);
  clearInterval(looking);
  return most;
}

const pidOf = ({ child }: Running): number => child.pid ?? 0;

/** Of the log, only what it says of refusals. */
function refusedBytes(log: string): number {
  const lines = log.split('\n').filter((line) => /"msg":"(refused|cut off)"/.test(line));
  return lines.reduce((sum, line) => sum + line.length + 1, 0);
}

const victimsOf = ({ serving, gateway, connect }: World): Readonly<Record<Victim, Running>> => ({
  ca: serving,
  gateway,
  connect,
});

interface Attacking {
  readonly acts: readonly Act[];
  readonly pid: number;
  readonly rssMbCalm: number;
  readonly world: World;
  readonly progress: Progress;
}

async function attack(name: string, attacking: Attacking): Promise<Measured> {
  const { acts, pid, rssMbCalm, progress } = attacking;
  await steadily(acts, WARM_UP_MS);
  const calm = await observed(acts, pid, CALM_MS);
  progress(`${name}: flood`);
  const flooded = await underFlood(name, attacking);
  progress(`${name}: afterwards`);
  const after = await memoryAfter(pid, rssMbCalm, acts);
  for (const failure of [...calm.failures, ...flooded.failures].slice(0, 3))
    console.error(`${name}: ${failure}`);
  const p99 = (latencies: readonly number[]): number => quantile(latencies, 0.99);
  return {
    honestFailures: flooded.failures.length,
    p99Ratio: round(p99(flooded.latencies) / p99(calm.latencies)),
    rssMbAfter: round(after.rssMb),
    diskBytesPerRefusal: 0,
    calmP50Ms: round(quantile(calm.latencies, 0.5)),
    calmP99Ms: round(p99(calm.latencies)),
    floodP50Ms: round(quantile(flooded.latencies, 0.5)),
    floodP99Ms: round(p99(flooded.latencies)),
    calmCpu: calm.cpu,
    floodCpu: flooded.cpu,
    rssMbCalm: round(rssMbCalm),
    rssMbPeak: round(flooded.rssMb),
    rssSeconds: after.seconds,
    opened: flooded.opened,
    refused: flooded.refused,
  };
}

type Observed = Steady & { readonly cpu: number };

/** `cpu` is the victim's processor time, in parts of one processor. */
async function observed(acts: readonly Act[], pid: number, ms: number): Promise<Observed> {
  const [start, before] = [performance.now(), cpuMicrosOf(pid)];
  const steady = await steadily(acts, ms);
  const cpu = round((cpuMicrosOf(pid) - before) / 1000 / (performance.now() - start));
  return { ...steady, cpu };
}

async function underFlood(
  name: string,
  { acts, pid, world }: Attacking,
): Promise<Observed & Tally & { readonly rssMb: number }> {
  const ports = { ca: world.ca.port, gateway: world.gatewayPort, connect: world.connectPort };
  const attackers = attackersFor(name, ports);
  await sleep(RISE_MS);
  const flooded = await observed(acts, pid, FLOOD_MS);
  const rssMb = rssMbOf(pid);
  return { ...flooded, ...(await attackers.stop()), rssMb };
}

function attackersFor(name: string, ports: Ports): { stop(): Promise<Tally> } {
  const other = name === 'A6' && process.getuid?.() === 0 ? { uid: NOBODY } : {};
  const child = fork(fileURLToPath(new URL('./attackers.ts', import.meta.url)), ['attack'], other);
  child.send({ name, ports });
  return {
    stop: async () => {
      const told = once(child, 'message');
      child.send('stop');
      const [tally] = (await told) as [Tally];
      return tally;
    },
  };
}

async function memoryAfter(
  pid: number,
  calmMb: number,
  acts: readonly Act[],
): Promise<{ rssMb: number; seconds: number | undefined }> {
  const start = performance.now();
  for (;;) {
    const rssMb = rssMbOf(pid);
    const ms = performance.now() - start;
    if (rssMb <= calmMb * RSS_GOAL) return { rssMb, seconds: Math.round(ms / 1000) };
    if (ms > CALM_AGAIN_MS) return { rssMb, seconds: undefined };
    // Work goes on as before: a process that does nothing collects no garbage.
    await steadily(acts, 1_000);
  }
}

const round = (value: number): number => Math.round(value * 100) / 100;

function rowsOf(name: string, says: string, measured: Measured | undefined): readonly [string, string][] {
  if (measured === undefined) return [];
  const { calmP50Ms, calmP99Ms, floodP50Ms, floodP99Ms, calmCpu, floodCpu } = measured;
  const { rssMbCalm, rssMbPeak, rssMbAfter, rssSeconds } = measured;
  const { honestFailures, p99Ratio, refused, opened, diskBytesPerRefusal } = measured;
  const back = rssSeconds === undefined ? 'not within 10 % in a minute' : `within 10 % after ${rssSeconds} s`;
  return [
    [`${name}: ${says}`, `${honestFailures} failures, p99 ratio ${p99Ratio} (goals 0 and 2)`],
    ['  honest p50 and p99, calm', `${calmP50Ms} and ${calmP99Ms} ms`],
    ['  honest p50 and p99, flooded', `${floodP50Ms} and ${floodP99Ms} ms`],
    ['  its processor time, calm and flooded', `${calmCpu} and ${floodCpu} of one processor`],
    ['  resident: calm, flooded, after', `${rssMbCalm}, ${rssMbPeak}, ${rssMbAfter} MB, ${back}`],
    ['  opened, refused, bytes on disk each', `${opened}, ${refused}, ${diskBytesPerRefusal}`],
  ];
}
