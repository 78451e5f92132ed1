/**
 * The Merkle log: how fast events become entries and are indexed, what a proof costs as the log grows, and how long
 * queries take that would have to look at every event. The part `10m` does the same with ten million entries, which are
 * put into the database beforehand: a quarter of an hour, and about 12 GB of disk.
 */
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { logFiles } from '@chancery/ca/log/log-files.ts';
import { Sequencer } from '@chancery/ca/log/sequencer.ts';
import { openSqliteThread } from '@chancery/ca/store/sqlite/sqlite.ts';
import type { Store } from '@chancery/ca/store/store.ts';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { readIn } from '@chancery/shared/audit-verify/folder.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { type NoteKey, noteKey } from '@chancery/shared/tlog/note.ts';
import { type EntryProof, verifyProof } from '@chancery/shared/tlog/proof-text.ts';
import { readEntryProof } from '@chancery/shared/tlog/read-log.ts';
import { makeFolder, removeFolder } from '../kit/processes.ts';
import type { Bench, Outcome } from './bench.ts';

const SIZES = [1_000, 10_000, 100_000, 1_000_000];
const LARGEST = 10_000_000;
/** Events that wait for the disk together. */
const BATCH = 5_000;
const PROOFS = 200;
/** Events that the index takes at once, as while a CA serves. */
const STEP = 500;

export const audit: Bench = {
  says: 'audit events integrated into the Merkle log, proofs and queries',
  parts: ['10m'],
  async run(progress, only) {
    const small = await inFolder((world) => measure(world, SIZES, true), progress);
    if (only.length === 0) return outcomeOf(small);
    const large = await inFolder(
      (world) => measure(world, [LARGEST], false),
      progress,
      (path) => fillInBulk(path, LARGEST),
    );
    return outcomeOf({ ...large, sizes: [...small.sizes, ...large.sizes] });
  },
};

async function inFolder(
  run: (world: World) => Promise<Results>,
  progress: World['progress'],
  fill: (path: string) => Promise<void> = async () => {},
): Promise<Results> {
  const dir = makeFolder();
  const path = join(dir, 'ca.db');
  const begun = Date.now();
  progress('the database');
  await fill(path);
  const store = await openSqliteThread(path, systemClock);
  try {
    return await run({ store, folder: join(dir, 'log'), begun, progress });
  } finally {
    await store.close();
    removeFolder(dir);
  }
}

/** Events as `eventOf` makes them, without waiting for the disk. */
async function fillInBulk(path: string, size: number): Promise<void> {
  await (await openSqliteThread(path, systemClock)).close();
  const db = new DatabaseSync(path);
  try {
    db.exec('PRAGMA synchronous = OFF; BEGIN');
    const insert = db.prepare('INSERT INTO audit (at, event, leaf) VALUES (?, ?, 1)');
    const now = Date.now();
    for (let n = 0; n < size; n += 1) insert.run(now + n, JSON.stringify(eventOf(n)));
    db.exec('COMMIT');
  } finally {
    db.close();
  }
}

interface World {
  readonly store: Store;
  readonly folder: string;
  /** Milliseconds. */
  readonly begun: number;
  readonly progress: (step: string) => void;
}

interface Measured {
  readonly entries: number;
  readonly proofMicros: number;
  readonly verifyMicros: number;
}

interface Results {
  readonly entries: number;
  readonly appendsPerSecond: number;
  readonly cpuMicros: number;
  readonly indexedPerSecond: number;
  readonly queryMs: number;
  readonly timeMs: number;
  readonly sizes: readonly Measured[];
}

async function measure(
  { store, folder, begun, progress }: World,
  wanted: readonly number[],
  isEmpty: boolean,
): Promise<Results> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const key = { privateKey, verifier: noteKey('bench.example/chancery/log', publicKey) };
  const sequencer = new Sequencer({
    store,
    files: logFiles(folder),
    key,
    clock: systemClock,
    log: silentLog,
  });
  const sizes: Measured[] = [];
  let [entries, seconds, cpu] = [0, 0, 0];
  for (const size of wanted) {
    for (let left = size - entries; left > 0; left -= isEmpty ? BATCH : left) {
      progress(`${size - left} entries of ${wanted.at(-1)}`);
      const events = isEmpty ? Math.min(BATCH, left) : 0;
      await Promise.all(Array.from({ length: events }, (_, n) => store.append(eventOf(size - left + n))));
      const [before, used] = [performance.now(), process.cpuUsage()];
      while ((await sequencer.step()) > 0);
      const spent = process.cpuUsage(used);
      seconds += (performance.now() - before) / 1000;
      cpu += spent.user + spent.system;
    }
    entries = size;
    sizes.push({ entries, ...(await proofsOf(folder, entries, key.verifier)) });
  }
  const indexed = await indexAll(store, progress);
  const [queryMs, timeMs] = [await slowest(store, RARE), await slowest(store, longAgo(begun))];
  const [appendsPerSecond, indexedPerSecond] = [Math.round(entries / seconds), Math.round(entries / indexed)];
  return { entries, appendsPerSecond, cpuMicros: cpu / entries, indexedPerSecond, queryMs, timeMs, sizes };
}

function outcomeOf({ entries, ...results }: Results): Outcome {
  const { appendsPerSecond, cpuMicros, indexedPerSecond, queryMs, timeMs, sizes } = results;
  return {
    json: results,
    table: [
      ['integrated, while nothing else runs', `${appendsPerSecond} entries/s`],
      ['CPU of it for one entry', `${cpuMicros.toFixed(1)} us`],
      ['indexed, while nothing else runs', `${indexedPerSecond} entries/s`],
      [`a query by identity among ${entries} entries`, `${queryMs.toFixed(1)} ms`],
      ['a query by identity and time among them', `${timeMs.toFixed(1)} ms`],
      ...sizes.map((each): [string, string] => [
        `a proof of one of ${each.entries}: read and made; verified`,
        `${each.proofMicros.toFixed(0)} and ${each.verifyMicros.toFixed(0)} us`,
      ]),
    ],
  };
}

async function proofsOf(folder: string, size: number, key: NoteKey): Promise<Omit<Measured, 'entries'>> {
  const read = readIn(folder);
  const proofs: EntryProof[] = [];
  const begun = performance.now();
  for (let n = 0; n < PROOFS; n += 1)
    proofs.push(await readEntryProof(Math.floor((n * size) / PROOFS), read, key));
  const made = performance.now();
  for (const proof of proofs) verifyProof(proof, proof.extra, key);
  const done = performance.now();
  return { proofMicros: ((made - begun) * 1000) / PROOFS, verifyMicros: ((done - made) * 1000) / PROOFS };
}

/** Resolves with seconds. */
async function indexAll(store: Store, progress: (step: string) => void): Promise<number> {
  progress('the index');
  const begun = performance.now();
  while (await store.indexEvents(STEP));
  return (performance.now() - begun) / 1000;
}

/** An identity that there is once, at the beginning; and one that there is often, in a time at the beginning. */
const RARE = { words: ['spiffe://bench.example/workload/0'], until: Number.MAX_SAFE_INTEGER };
const longAgo = (begun: number) => ({ words: ['spiffe://bench.example/often'], until: begun + 10_000 });

/** The newest 100 that match: the slowest of five times. */
async function slowest(store: Store, query: typeof RARE): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < 5; n += 1) {
    const begun = performance.now();
    let [place, more, found]: [number | undefined, boolean, number] = [undefined, true, 0];
    const fixed = { ...query, text: '', decision: undefined, since: 0, backwards: true, limit: 100 };
    while (more && found < 100) {
      const page = await store.search({ ...fixed, place });
      ({ place, more } = page);
      found += page.found.length;
    }
    if (found === 0) throw new Error('nothing was found');
    times.push(performance.now() - begun);
  }
  return Math.max(...times);
}

/** As large as an issuance. */
const eventOf = (n: number): AuditEvent => ({
  type: 'svid.issuing',
  id: parseSpiffeId(`spiffe://bench.example/${n % 100 === 1 ? 'often' : `workload/${n}`}`),
  serial: n.toString(16).padStart(40, '0'),
  notAfter: '2026-11-30T02:00:00.000Z',
  platform: 'kubernetes/eu-1',
  node: `7f9f5f0e-${n}`,
  identity: 'kubernetes-workloads',
  tbs: n.toString(16).padStart(64, '0'),
});
