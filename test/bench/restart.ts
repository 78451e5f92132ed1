/**
 * The start of a CA that has many records: a real process, from its start to the line that says that it serves. All of
 * the certificates are unexpired, a third replaced another, and a third are derived from another.
 */

import { hash } from 'node:crypto';
import { join } from 'node:path';
import { openSqliteThread } from '@chancery/ca/store/sqlite/sqlite.ts';
import type { Issuance } from '@chancery/ca/store/store.ts';
import { addSeconds, systemClock } from '@chancery/shared/ground/clock.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { type CaFolder, makeCa, makeFolder, removeFolder } from '../kit/processes.ts';
import type { Bench } from './bench.ts';

const RECORDS = 1_000_000;
/** Writes that wait for the disk together. */
const BATCH = 5_000;
const STARTS = 3;
const TRUST_DOMAIN = 'bench.example';

export const restart: Bench = {
  says: 'the start of a CA with many certificates on record',
  async run(progress) {
    const dir = makeFolder();
    try {
      const ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { unix: {} } });
      const emptyMs = await startMs(ca);
      await fill(join(dir, 'data', 'ca.db'), (done) => progress(`${done} records`));
      // The first start integrates the events: the later ones are measured.
      await startMs(ca);
      const all: number[] = [];
      for (let n = 0; n < STARTS; n += 1) all.push(await startMs(ca));
      const ms = Math.round(Math.max(...all));
      return {
        json: { records: RECORDS, ms, emptyMs: Math.round(emptyMs) },
        table: [
          [`the slowest of ${STARTS} starts with ${RECORDS} unexpired certificates`, `${ms} ms`],
          ['a start with none', `${Math.round(emptyMs)} ms`],
        ],
      };
    } finally {
      removeFolder(dir);
    }
  },
};

async function startMs(ca: CaFolder): Promise<number> {
  const begun = performance.now();
  const serving = await ca.serve();
  const ms = performance.now() - begun;
  await serving.stop();
  return ms;
}

async function fill(path: string, tell: (done: number) => void): Promise<void> {
  const store = await openSqliteThread(path, systemClock, join(path, '..', 'keys', 'generation'));
  try {
    const [authority] = (await store.authorities()).filter(({ kind }) => kind === 'intermediate');
    for (let n = 0; n < RECORDS; n += BATCH) {
      tell(n);
      await Promise.all(
        Array.from({ length: BATCH }, async (_, at) => {
          const issuance = issuanceOf(n + at, authority?.serial ?? '');
          const { id, serial, platform, node, identity } = issuance;
          const notAfter = issuance.notAfter.toISOString();
          const tbs = hash('sha256', serial);
          await store.record(issuance, {
            type: 'svid.issuing',
            id,
            serial,
            notAfter,
            platform,
            node,
            identity,
            tbs,
          });
        }),
      );
    }
  } finally {
    await store.close();
  }
}

const serialOf = (n: number): string => `40${hash('sha256', `serial ${n}`).slice(0, 32)}`;

function issuanceOf(n: number, issuer: string): Issuance {
  const now = systemClock.now();
  return {
    serial: serialOf(n),
    id: parseSpiffeId(`spiffe://${TRUST_DOMAIN}/workload/${n}`),
    platform: 'kubernetes/eu-1',
    node: `node-${n % 10_000}`,
    identity: 'kubernetes-workloads',
    keySha256: hash('sha256', `key ${n}`, 'buffer'),
    issuer,
    ...(n % 3 === 1 ? { succeeds: serialOf(n - 1) } : {}),
    ...(n % 3 === 2 ? { origin: serialOf(n - 2) } : {}),
    notBefore: now,
    notAfter: addSeconds(now, 86_400),
  };
}
