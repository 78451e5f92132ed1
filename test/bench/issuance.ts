/**
 * Issuing, measured at a real CA process over gRPC with mutual TLS: each call is one CSR, verified, composed, linted,
 * recorded with its audit entry on disk, signed. The crypto floor is measured in the same run on the same machine.
 */

import { spawn } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { tlsTarget } from '@chancery/agent/svid/channel.ts';
import { bootstrapBundle } from '@chancery/agent/trust/bootstrap.ts';
import { IdentityClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { type CaFolder, makeCa, makeFolder, removeFolder } from '../kit/processes.ts';
import type { Bench, Progress } from './bench.ts';
import { cpuMicrosOf, quantile, rssMbOf } from './measure.ts';
import { type Call, openLoop, p99Of } from './open-loop.ts';
import { Nodes, TRUST_DOMAIN } from './revocation/fleet.ts';

/** Few nodes ask for all of them here; the rates of one node are not what is measured. */
const UNBOUND = { attestationsPerSecond: 100_000, attestationBurst: 100_000 };

/** Each may have 10,000 valid certificates. */
const NODES = 8;
const CONCURRENCY = 64;
/** Enough that none is in two calls at a time, few enough that this process's own garbage does not show. */
const KEYS = 2_000;
const WARM_UP_MS = 2_000;
const FULL_MS = 6_000;
const HALF_MS = 6_000;
const LONE_MS = 4_000;

export const issuance: Bench = {
  says: 'certificates issued, recorded and logged over gRPC with mutual TLS',
  async run(progress) {
    const dir = makeFolder();
    const nodes = new Nodes();
    const keys = joinPath(dir, 'keys.json');
    writeFileSync(keys, nodes.keys());
    const ca = await makeCa(dir, TRUST_DOMAIN, {
      attestors: { unix: {}, ...nodes.attestors(keys) },
      limits: UNBOUND,
    });
    const starting = performance.now();
    const serving = await ca.serve();
    const startMs = performance.now() - starting;
    try {
      await ca.saveBundle();
      const id = `spiffe://${TRUST_DOMAIN}/load`;
      await ca.apply([{ kind: 'Identity', name: 'load', platform: nodes.platform, id }]);
      const pid = serving.child.pid ?? 0;
      const { call, refused } = await caller(ca, nodes);
      return await measure({ call, refused, pid, startMs, dir }, progress);
    } finally {
      await serving.stop();
      removeFolder(dir);
    }
  },
};

/** Nodes join, then call over a connection each with one CSR each time: the CA bounds the certificates of one node. */
async function caller(ca: CaFolder, nodes: Nodes): Promise<{ readonly call: Call; readonly refused: Call }> {
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  const address = `127.0.0.1:${ca.port}`;
  const bundle = await bootstrapBundle({ trustDomain, address, bundleFile: ca.bundle, pin: undefined });
  const clients = (await nodes.join({ ca, bundle }, NODES)).map(({ svid }) => {
    const target = tlsTarget(address, bundle, svid, systemClock);
    return new IdentityClient(target.address, target.credentials, target.options);
  });
  const csrs = await Promise.all(Array.from({ length: KEYS }, () => writeCsr(signerOf(generateKey()))));
  const succeeds = Buffer.alloc(0);
  return {
    call: (n) =>
      new Promise((resolve, reject) => {
        const request = { csrs: [Buffer.from(csrs[n % csrs.length] ?? [])], succeeds, scope: '' };
        clients[n % NODES]?.issueX509(request, (error) => (error ? reject(error) : resolve()));
      }),
    refused: (n) =>
      new Promise((resolve, reject) => {
        const done = (error: unknown): void =>
          error ? resolve() : reject(new Error('no CSR, and no error'));
        clients[n % NODES]?.issueX509({ csrs: [], succeeds, scope: '' }, done);
      }),
  };
}

interface Measured {
  readonly call: Call;
  /** A call without a CSR: what gRPC and mutual TLS cost alone, at both ends. */
  readonly refused: Call;
  readonly pid: number;
  readonly startMs: number;
  /** On the disk of the CA's database. */
  readonly dir: string;
}

async function measure({ call, refused, pid, startMs, dir }: Measured, progress: Progress) {
  progress('warming up');
  await closedLoop(call, WARM_UP_MS);
  progress('as fast as it goes');
  const before = cpuMicrosOf(pid);
  const full = await closedLoop(call, FULL_MS);
  const cpuMicros = (cpuMicrosOf(pid) - before) / full.count;
  const rssMb = rssMbOf(pid);
  progress('at half of that');
  const perSecond = full.count / (full.ms / 1000);
  // The first moments are the load generator's own: its collector and compiler take the CA's core.
  await openLoop(call, perSecond / 2, WARM_UP_MS, pid);
  const half = await openLoop(call, perSecond / 2, HALF_MS, pid);
  progress('one caller at a time');
  const lone = await oneByOne(call, LONE_MS);
  const empty = await oneByOne(refused, LONE_MS);
  progress('at half of that, beside a busy disk');
  const busy = await besideBusyDisk(dir, () => openLoop(call, perSecond / 2, HALF_MS, pid));
  progress('the crypto floor');
  const floorMicros = floor();
  return {
    table: [
      ['issued, recorded and logged', `${perSecond.toFixed(0)} /s`],
      ['p50 at half of that', `${quantile(half.latencies, 0.5).toFixed(2)} ms`],
      ['p99', p99Of(half)],
      ['p50 beside a busy disk', `${quantile(busy.latencies, 0.5).toFixed(2)} ms`],
      ['p99', p99Of(busy)],
      ['p50, one caller at a time', `${quantile(lone, 0.5).toFixed(2)} ms`],
      ['the same for a call that is refused at once', `${quantile(empty, 0.5).toFixed(2)} ms`],
      ["the CA's CPU per issuance", `${cpuMicros.toFixed(0)} us`],
      ['crypto floor (verify, sign, import)', `${floorMicros.toFixed(0)} us`],
      ['ratio', (cpuMicros / floorMicros).toFixed(2)],
      ["the CA's memory", `${rssMb.toFixed(0)} MB`],
      ['the CA, process start to serving', `${startMs.toFixed(0)} ms`],
    ] as const,
    json: {
      perSecond: Math.round(perSecond),
      p50Ms: quantile(half.latencies, 0.5),
      p99Ms: quantile(half.latencies, 0.99),
      lateP99Ms: quantile(half.late, 0.99),
      waitedForCore: Math.round(half.waitedForCore * 100) / 100,
      busyDiskP99Ms: quantile(busy.latencies, 0.99),
      busyDiskLateP99Ms: quantile(busy.late, 0.99),
      busyDiskWaitedForCore: Math.round(busy.waitedForCore * 100) / 100,
      loneP50Ms: quantile(lone, 0.5),
      emptyP50Ms: quantile(empty, 0.5),
      cpuMicros: Math.round(cpuMicros),
      floorMicros: Math.round(floorMicros * 10) / 10,
      ratio: Math.round((cpuMicros / floorMicros) * 100) / 100,
      rssMb: Math.round(rssMb),
    },
  };
}

async function closedLoop(call: Call, ms: number): Promise<{ count: number; ms: number }> {
  const start = performance.now();
  let count = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() - start < ms) {
      await call(count);
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  return { count, ms: performance.now() - start };
}

async function oneByOne(call: Call, ms: number): Promise<readonly number[]> {
  const latencies: number[] = [];
  const start = performance.now();
  for (let n = 0; performance.now() - start < ms; n += 1) {
    const asked = performance.now();
    await call(n);
    latencies.push(performance.now() - asked);
  }
  return latencies;
}

const BUSY_BYTES = 1 << 20;

/**
 * A process writes a megabyte and syncs it, over and over, as a neighbour on the same disk would. It has the lowest
 * priority: the disk is what is shared here, and not the two cores.
 */
async function besideBusyDisk<T>(dir: string, run: () => Promise<T>): Promise<T> {
  const file = joinPath(dir, 'busy');
  const writes = `const fs = require('node:fs'), bytes = Buffer.alloc(${BUSY_BYTES}, 1);
    const fd = fs.openSync(process.argv[1], 'w');
    for (let n = 0; ; n += 1) {
      fs.writeSync(fd, bytes, 0, bytes.length, (n % 64) * bytes.length);
      fs.fdatasyncSync(fd);
    }`;
  // Whatever happens to this process, the other one ends with it.
  const command = ['--pdeathsig', 'KILL', 'nice', '-n', '19', process.execPath, '-e', writes, file];
  const child = spawn('setpriv', command, { stdio: 'ignore' });
  try {
    return await run();
  } finally {
    child.kill('SIGKILL');
  }
}

/** One P-256 verification, one signature and one import of a public key: what no CA can do without. */
function floor(): number {
  const ca = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const data = readFileSync(new URL(import.meta.url)).subarray(0, 256);
  const signature = sign('sha256', data, own.privateKey);
  const spki = own.publicKey.export({ type: 'spki', format: 'der' });
  const rounds: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const before = process.cpuUsage();
    for (let n = 0; n < 2_000; n += 1) {
      const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
      if (!verify('sha256', data, key, signature)) throw new Error('the floor does not verify');
      sign('sha256', data, ca);
    }
    const { user, system } = process.cpuUsage(before);
    rounds.push((user + system) / 2_000);
  }
  return quantile(rounds, 0.5);
}
