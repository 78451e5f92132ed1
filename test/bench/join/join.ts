/**
 * Joins on every platform, measured at a real CA process: an agent's own evidence source and join code in this process,
 * stand-ins for the platforms in a third one. What the stand-ins take to answer is subtracted, and shown.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bootstrapBundle } from '@chancery/agent/trust/bootstrap.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { type CaFolder, makeCa, makeFolder, removeFolder } from '../../kit/processes.ts';
import { makeFakeTpm } from '../../kit/tpm/fake-tpm.ts';
import type { Bench, Progress } from '../bench.ts';
import { cpuMicrosOf, quantile } from '../measure.ts';
import { AT_ONCE, type Caller, callersOf, type Prepared } from './callers.ts';
import { type Places, type PlaceTally, TRUST_DOMAIN } from './places.ts';

const WARM_UP_MS = 1_500;
const RUN_MS = 4_000;
const LIMITS = {
  attestationsPerSecond: 100_000,
  attestationBurst: 100_000,
  openAttestationsPerAddress: 1_000,
};

export const joins: Bench = {
  says: 'joins at one CA process: p50, p99 and its CPU, one at a time and 64 at a time, stand-ins subtracted',
  async run(progress) {
    const standIns = fork(fileURLToPath(new URL('./places.ts', import.meta.url)), ['places']);
    const dir = makeFolder();
    try {
      const [{ places, files }]: [Places] = (await once(standIns, 'message')) as [Places];
      const tpm = await makeFakeTpm();
      const ca = await makeCaFor(dir, places, { ...files, 'tpm-root.pem': tpm.manufacturer.rootPem });
      const serving = await ca.serve();
      try {
        const callers = callersOf(await prepare(ca, places), { dir, places, files, tpm });
        return await measureAll(callers, { standIns, pid: serving.child.pid ?? 0, progress });
      } finally {
        await serving.stop();
      }
    } finally {
      standIns.disconnect();
      removeFolder(dir);
    }
  },
};

async function makeCaFor(dir: string, places: Places['places'], files: Places['files']): Promise<CaFolder> {
  const attestors: Record<string, object> = { unix: {}, tpm: { roots: ['tpm-root.pem'] } };
  for (const { platform, attestor } of Object.values(places)) {
    const [kind = '', instance] = platform.split('/');
    attestors[kind] = instance === undefined ? attestor : { ...attestors[kind], [instance]: attestor };
  }
  const ca = await makeCa(dir, TRUST_DOMAIN, { attestors, limits: LIMITS });
  for (const [name, text] of Object.entries(files)) writeFileSync(joinPath(dir, name), text);
  return ca;
}

async function prepare(ca: CaFolder, places: Places['places']): Promise<Prepared> {
  await ca.saveBundle();
  const platforms = ['unix', 'tpm', ...Object.values(places).map(({ platform }) => platform)];
  await ca.apply(
    platforms.map((platform) => {
      const name = platform.replace('/', '-');
      return { kind: 'Identity', name, platform, id: `spiffe://${TRUST_DOMAIN}/${name}` };
    }),
  );
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  const address = `127.0.0.1:${ca.port}`;
  const bundle = await bootstrapBundle({ trustDomain, address, bundleFile: ca.bundle, pin: undefined });
  return { ca, bundle };
}

interface Measuring {
  readonly standIns: ChildProcess;
  /** The CA's. */
  readonly pid: number;
  readonly progress: Progress;
}

interface Run {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMicros: number;
  readonly perSecond: number;
  /** The mean of what was subtracted. */
  readonly standInMs: number;
}

interface Measured extends Run {
  readonly at64: Run;
  /** Warm-up and runs together, with what the CA asked the platform for them. */
  readonly joins: number;
  readonly asked: { readonly requests: number; readonly connections: number };
}

async function measureAll(callers: readonly Caller[], measuring: Measuring) {
  const platforms: Record<string, Measured> = {};
  for (const caller of callers) {
    measuring.progress(`${caller.name}, warming up`);
    const warm = await closedLoop(caller, AT_ONCE, WARM_UP_MS);
    const many = await measure(caller, AT_ONCE, measuring);
    const one = await measure(caller, 1, measuring);
    const { requests, connections } = await tallyOf(caller, measuring.standIns);
    platforms[caller.name] = {
      ...one.run,
      at64: many.run,
      joins: warm.latencies.length + one.joins + many.joins,
      asked: { requests, connections },
    };
    caller.close();
  }
  return { table: tableOf(platforms), json: { platforms } };
}

async function measure(caller: Caller, agents: number, measuring: Measuring) {
  const { standIns, pid, progress } = measuring;
  progress(`${caller.name}, ${agents} at a time`);
  const standIn = async (): Promise<number> => (await tallyOf(caller, standIns)).ms + caller.ownMs();
  const [cpu, own] = [cpuMicrosOf(pid), await standIn()];
  const { latencies, ms } = await closedLoop(caller, agents, RUN_MS);
  const joins = latencies.length;
  const cpuMicros = (cpuMicrosOf(pid) - cpu) / joins;
  const standInMs = ((await standIn()) - own) / joins;
  const less = (q: number): number => rounded(quantile(latencies, q) - standInMs);
  const run: Run = {
    p50Ms: less(0.5),
    p99Ms: less(0.99),
    cpuMicros: Math.round(cpuMicros),
    perSecond: Math.round(joins / (ms / 1000)),
    standInMs: rounded(standInMs),
  };
  return { run, joins };
}

const rounded = (ms: number): number => Math.round(ms * 100) / 100;

/** None for a platform that is on this machine. */
async function tallyOf({ name, remote }: Caller, standIns: ChildProcess): Promise<PlaceTally> {
  if (!remote) return { requests: 0, connections: 0, ms: 0 };
  const answer = once(standIns, 'message');
  standIns.send(name);
  const [tally]: [PlaceTally] = (await answer) as [PlaceTally];
  return tally;
}

async function closedLoop(caller: Caller, agents: number, ms: number) {
  const start = performance.now();
  const latencies: number[] = [];
  const worker = async (_: unknown, agent: number): Promise<void> => {
    while (performance.now() - start < ms) {
      const before = performance.now();
      await caller.join(agent);
      latencies.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: agents }, worker));
  return { latencies, ms: performance.now() - start };
}

const HEAD = ['p50, p99', 'CPU', 'stand-in', `${AT_ONCE} at a time: joins, p50, p99`, 'CPU', 'stand-in'];

function tableOf(platforms: Readonly<Record<string, Measured>>) {
  const ms = (run: Run): string => `${run.p50Ms.toFixed(1)}, ${run.p99Ms.toFixed(1)} ms`;
  const rows = Object.entries(platforms).map(([name, one]) => {
    const { at64 } = one;
    const many = `${at64.perSecond} /s, ${ms(at64)}`;
    const cells = [ms(one), `${one.cpuMicros} us`, `${one.standInMs.toFixed(1)} ms`, many];
    return [name, columns([...cells, `${at64.cpuMicros} us`, `${at64.standInMs.toFixed(1)} ms`])] as const;
  });
  const asked = Object.entries(platforms).flatMap(
    ([
      name,
      {
        asked: { requests, connections },
        joins,
      },
    ]) =>
      requests === 0
        ? []
        : [
            [
              name,
              `for ${joins} joins the CA asked its platform ${requests} times, over ${connections} connections`,
            ] as const,
          ],
  );
  return [['', columns(HEAD)] as const, ...rows, ...asked];
}

const WIDTHS = [15, 9, 11, 33, 9, 9];
const columns = (cells: readonly string[]): string =>
  cells.map((cell, at) => cell.padEnd(WIDTHS[at] ?? 0)).join('  ');
