/**
 * The database of one CA: one SQLite file, open in one thread. WAL and synchronous FULL, so what was answered survives
 * the power. Every method blocks until the disk has answered.
 */
import type { DatabaseSync } from 'node:sqlite';
import { commitTogether, type Outcome, type Transaction } from './batch.ts';
import type { ReadCall, WriteCall } from './calls.ts';
import { copyDatabase } from './file/copy.ts';
import { ensureNotOlder, writeGeneration } from './file/generation.ts';
import type { OnMigrating } from './file/migrating.ts';
import { openDatabase, storeRefusal } from './file/open.ts';
import { ensureSameFiles, type OwnFile, ownFiles } from './file/same-files.ts';
import { DerivedCertificates, type ReadEnds } from './holders/derived-certificates.ts';
import { KeyHolders } from './holders/key-holders.ts';
import { Undo } from './holders/undo.ts';
import { JwtTable } from './jwt/jwt-table.ts';
import { type Reads, readsOf } from './reads.ts';
import { RecoveryTable } from './recovery-table.ts';
import { AskedTable } from './tables/asked-table.ts';
import { AuthorityTable } from './tables/authority-table.ts';
import { CertificatePages } from './tables/certificate-pages.ts';
import { CountersignTable } from './tables/countersign-table.ts';
import { EntryIndex } from './tables/entry-index.ts';
import { EntrySearch } from './tables/entry-search.ts';
import { LogTable } from './tables/log-table.ts';
import { PruneTable } from './tables/prune-table.ts';
import { ReviewTable } from './tables/review-table.ts';
import { RevocationTable } from './tables/revocation-table.ts';
import { SpoolTable } from './tables/spool-table.ts';
import { type Memory, type Writes, writesOf } from './writes.ts';

export interface DatabaseAt {
  readonly path: string;
  /** The file that says how far the database had come; a database that is older is refused. */
  readonly generation: string | undefined;
  /** The time of opening, in milliseconds. */
  readonly now: number;
}

/** What must not be lost unnoticed: the generation is written with it. */
const MARKED: ReadonlySet<keyof Writes> = new Set([
  'saveAuthority',
  'moveAuthorities',
  'taintAuthority',
  'answerAuthorityRequest',
  'saveRootCrl',
  'saveCross',
  'saveJwtKey',
  'moveJwtKeys',
  'taintJwtKey',
  'saveRegistry',
  'revoke',
  'lift',
  'handBack',
]);

/** A clock that is corrected by less has nothing read again. */
const SLACK_MS = 60_000;

/** The database of one thread, which closes it. Throws store. */
export class Engine {
  readonly files: readonly OwnFile[];
  readonly #at: DatabaseAt;
  readonly #db: DatabaseSync;
  readonly #reads: Reads;
  readonly #writes: Writes;
  readonly #transaction: Transaction;
  readonly #memory: Memory;
  readonly #newest: () => number;
  /** By which time memory has forgotten what was expired. */
  #forgotAt = Number.NEGATIVE_INFINITY;

  /** Opens or makes the file, 0600, and brings its schema up to date. Throws store, file. */
  static open(at: DatabaseAt, onMigrating?: OnMigrating): Engine {
    const db = openDatabase(at.path, onMigrating);
    try {
      return new Engine(db, at);
    } catch (error) {
      db.close();
      throw storeRefusal(error, at.path);
    }
  }

  private constructor(db: DatabaseSync, at: DatabaseAt) {
    this.#at = at;
    this.#db = db;
    this.files = ownFiles(at.path);
    const newest = db.prepare('SELECT max(sequence) AS newest FROM audit');
    this.#newest = () => Number(newest.get()?.['newest'] ?? 0);
    if (at.generation !== undefined) ensureNotOlder(at.generation, this.#newest());
    const pages = new CertificatePages(db);
    const revocations = new RevocationTable(db, pages);
    const [log, index] = [new LogTable(db), new EntryIndex(db)];
    const [reviews, requests] = [new ReviewTable(db), new CountersignTable(db)];
    const [prune, spools, asked] = [new PruneTable(db), new SpoolTable(db), new AskedTable(db)];
    const own = {
      authorities: new AuthorityTable(db),
      jwtKeys: new JwtTable(db),
      recovery: new RecoveryTable(db, revocations),
      ...{ asked, spools, prune, reviews, requests },
    };
    const tables = { ...own, revocations, pages, log, index, entries: new EntrySearch(db, index) };
    this.#reads = readsOf(db, tables);
    const derived = new DerivedCertificates(this.#readsEnds(db));
    this.#memory = { keys: new KeyHolders(db), derived, undo: new Undo() };
    this.#writes = writesOf(db, tables, this.#memory);
    this.#transaction = transactionOf(db, this.#memory.undo, this.files);
    this.#mark();
  }

  /** Throws what the read throws, as a refusal. */
  read({ name, args }: ReadCall): unknown {
    try {
      return (this.#reads[name] as (...args: readonly unknown[]) => unknown)(...args);
    } catch (error) {
      throw storeRefusal(error, this.#at.path);
    }
  }

  /** In one transaction where that can be: the outcomes are in the order of the calls, and durable. */
  write(calls: readonly WriteCall[]): readonly Outcome[] {
    try {
      const now = Math.min(...calls.map(({ at }) => at));
      if (now < this.#forgotAt) this.#remember(now);
    } catch (error) {
      const refusal = storeRefusal(error, this.#at.path);
      return calls.map(() => ({ error: refusal }));
    }
    const runs = calls.map((call) => () => this.#run(call));
    const outcomes = commitTogether(runs, this.#transaction, (error) => storeRefusal(error, this.#at.path));
    if (calls.some(({ name }) => MARKED.has(name))) this.#tryMark();
    return outcomes.map((outcome, n) => {
      const call = calls[n];
      return call?.name === 'prune' ? this.#pruned(outcome, call) : outcome;
    });
  }

  /** Writes a copy to `path` while the database is written to. Does not block. Throws store. */
  copyTo(path: string): Promise<void> {
    return copyDatabase(this.#db, path);
  }

  /** Closes the database. No method may be called afterwards. Blocks. */
  close(): void {
    this.#tryMark();
    this.#db.close();
  }

  #readsEnds(db: DatabaseSync): ReadEnds {
    const ends = db.prepare(`SELECT not_after FROM certificates
      WHERE node = ? AND platform = ? AND origin IS NOT NULL AND not_after > ?`);
    return ({ platform, node }, after) => {
      this.#forgotAt = Math.max(this.#forgotAt, after.getTime() - SLACK_MS);
      return ends.all(node, platform, after.getTime()).map((row) => new Date(Number(row['not_after'])));
    };
  }

  #run({ name, at, args }: WriteCall): unknown {
    return (this.#writes[name] as (at: number, ...args: readonly unknown[]) => unknown)(at, ...args);
  }

  /** Once a minute, when nothing is left to prune: forgets in memory, and writes how far the database has come. */
  #pruned(outcome: Outcome, { at }: WriteCall): Outcome {
    if (outcome.error !== undefined || outcome.value !== 0) return outcome;
    try {
      const expired = at - SLACK_MS;
      this.#memory.derived.forgetExpired(new Date(expired));
      this.#forgotAt = expired;
      this.#mark();
      return outcome;
    } catch (error) {
      return { error: storeRefusal(error, this.#at.path) };
    }
  }

  /** The clock was set back: what it had made expire is valid again. The database keeps it, and is asked again. */
  #remember(now: number): void {
    this.#memory.derived.clear();
    this.#forgotAt = now;
  }

  /** What is committed holds, also where its generation cannot be written; upkeep tries again and tells. */
  #tryMark(): void {
    try {
      this.#mark();
    } catch {
      // See above.
    }
  }

  /** After the commit: a file that is behind the database only notices less. */
  #mark(): void {
    const newest = this.#newest();
    if (this.#at.generation !== undefined && newest > 0) writeGeneration(this.#at.generation, newest);
  }
}

function transactionOf(db: DatabaseSync, undo: Undo, files: readonly OwnFile[]): Transaction {
  const changes = db.prepare('SELECT total_changes() AS changes');
  const changed = () => changes.get()?.['changes'];
  return {
    begin: () => db.exec('BEGIN IMMEDIATE'),
    commit: () => {
      ensureSameFiles(files);
      db.exec('COMMIT');
      undo.keep();
    },
    rollback: () => {
      undo.backTo(0);
      db.exec('ROLLBACK');
    },
    mark: () => {
      const [steps, before] = [undo.mark(), changed()];
      return () => {
        undo.backTo(steps);
        return changed() === before;
      };
    },
  };
}
