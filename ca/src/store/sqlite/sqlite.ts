/**
 * The embedded store: one SQLite file, one process. WAL and synchronous FULL, so what was answered survives
 * the power.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import type { Holder } from '@chancery/shared/evidence/several.ts';
import { equal } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { MadeRevocation, Target } from '@chancery/shared/revocation/revocation.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type {
  AuthorityRecord,
  Certified,
  Issuance,
  RecordedIssuance,
  RegistryRecord,
  RevocationDraft,
  Store,
  StoredEvent,
  StoredRevocations,
  Succession,
  TokenName,
} from '../store.ts';
import { ensureNotOlder, writeGeneration } from './file/generation.ts';
import { openDatabase, storeRefusal } from './file/open.ts';
import { sameFiles } from './file/same-files.ts';
import { GroupCommit } from './group-commit.ts';
import { Guests } from './holders/guests.ts';
import { KeyHolders } from './holders/key-holders.ts';
import { RevocationTable } from './revocation-table.ts';
import {
  authorityOf,
  eventOf,
  fromHex,
  insertIssuance,
  issuanceOf,
  serialsFrom,
  successionOf,
  textOfEvent,
} from './rows.ts';
import { statements } from './statements.ts';

/**
 * Opens or makes the file, 0600, and brings its schema up to date. `generation` is the file that says how far the
 * database had come; a database that is older is refused. Throws store, file.
 */
export function openSqlite(path: string, clock: Clock, generation?: string): Store {
  const db = openDatabase(path);
  try {
    return new SqliteStore(db, { path, clock, generation });
  } catch (error) {
    db.close();
    throw error;
  }
}

interface SqliteDeps {
  readonly path: string;
  readonly clock: Clock;
  readonly generation: string | undefined;
}

class SqliteStore implements Store {
  readonly #path: string;
  readonly #generation: string | undefined;
  readonly #ensureOwnFiles: () => void;
  readonly #db: DatabaseSync;
  readonly #clock: Clock;
  readonly #group: GroupCommit;
  readonly #sql: ReturnType<typeof statements>;
  readonly #revocations: RevocationTable;
  readonly #keys = new KeyHolders();
  readonly #guests = new Guests();

  constructor(db: DatabaseSync, { path, clock, generation }: SqliteDeps) {
    this.#path = path;
    this.#generation = generation;
    this.#ensureOwnFiles = sameFiles(path);
    this.#db = db;
    this.#clock = clock;
    this.#sql = statements(db);
    if (generation !== undefined) ensureNotOlder(generation, this.#newest());
    this.#revocations = new RevocationTable(db);
    for (const row of this.#sql.unexpired.iterate(clock.now().getTime())) {
      const { keySha256, notAfter, ...held } = issuanceOf(row);
      this.#keys.add(keySha256, held, { notAfter, now: clock.now() });
      this.#guests.load({ ...held, notAfter });
    }
    this.#group = new GroupCommit(
      {
        begin: () => db.exec('BEGIN IMMEDIATE'),
        commit: () => {
          this.#ensureOwnFiles();
          db.exec('COMMIT');
        },
        rollback: () => db.exec('ROLLBACK'),
      },
      (error) => storeRefusal(error, path),
    );
    this.#mark();
  }

  async record(issuance: Issuance, event: AuditEvent): Promise<void> {
    const until = { notAfter: issuance.notAfter, now: this.#clock.now() };
    const claim = this.#keys.claim(issuance.keySha256, issuance, until);
    const uncount = this.#guests.add(issuance, until.now);
    try {
      await this.#group.write(() => {
        // Here and not before: two nodes may come with one key while neither is on record.
        claim.take();
        insertIssuance(this.#sql.certificate, issuance, this.#now());
        this.#audit(event);
      });
    } catch (error) {
      claim.release();
      uncount();
      throw error;
    }
    claim.keep();
  }

  append(event: AuditEvent): Promise<void> {
    return this.#group.write(() => this.#audit(event));
  }

  async events(after: number, limit: number): Promise<readonly StoredEvent[]> {
    return this.#read(() => this.#sql.events.all(after, limit).map((row) => eventOf(row)));
  }

  async newestRecordAt(): Promise<Date | undefined> {
    const row = this.#read(() => this.#sql.newestEvent.get());
    return row && new Date(Number(row['at']));
  }

  async issuance(serial: string): Promise<RecordedIssuance | undefined> {
    const row = this.#read(() => this.#sql.bySerial.get(fromHex(serial)));
    return row && issuanceOf(row);
  }

  async issuedFrom(prefix: string): Promise<readonly RecordedIssuance[]> {
    return this.#read(() => this.#sql.between.all(...serialsFrom(prefix)).map(issuanceOf));
  }

  async successions(): Promise<readonly Succession[]> {
    return this.#read(() => this.#sql.successions.all(this.#now()).map(successionOf));
  }

  async issued({ id, limit }: { id?: SpiffeId; limit: number }): Promise<readonly RecordedIssuance[]> {
    const { newest, newestOf } = this.#sql;
    return this.#read(() => (id === undefined ? newest.all(limit) : newestOf.all(id, limit)).map(issuanceOf));
  }

  async keyHeldElsewhere(keySha256: Uint8Array, holder: Holder, now: Date): Promise<boolean> {
    return this.#keys.isElsewhere(keySha256, holder, now);
  }

  async prune(time: Date): Promise<number> {
    this.#keys.forgetExpired(this.#clock.now());
    this.#guests.forgetExpired(this.#clock.now());
    let pruned = 0;
    await this.#group.write(() => {
      this.#sql.pruneTokens.run(this.#now());
      pruned = Number(this.#sql.prune.run(time.getTime()).changes);
    });
    this.#mark();
    return pruned;
  }

  ensureOwnFiles(): void {
    this.#ensureOwnFiles();
  }

  async authorities(): Promise<readonly AuthorityRecord[]> {
    return this.#read(() => this.#sql.authorities.all().map(authorityOf));
  }

  saveAuthority(record: AuthorityRecord, event: AuditEvent): Promise<void> {
    const { serial, kind, certificate, notAfter } = record;
    return this.#marked(() => {
      this.#sql.authority.run(fromHex(serial), kind, certificate, notAfter.getTime());
      this.#audit(event);
    });
  }

  async registry(): Promise<RegistryRecord | undefined> {
    const row = this.#read(() => this.#sql.registry.get());
    return row && { version: Number(row['version']), resources: String(row['resources']) };
  }

  saveRegistry(record: RegistryRecord, event: AuditEvent): Promise<void> {
    return this.#marked(() => {
      const last = Number(this.#sql.registry.get()?.['version'] ?? 0);
      ensure(
        record.version === last + 1,
        'store',
        `registry is at version ${last}, not ${record.version - 1}`,
      );
      this.#sql.saveRegistry.run(record.version, record.resources, this.#now());
      this.#audit(event);
    });
  }

  advance(platform: string, node: string, next: (previous: string | undefined) => string): Promise<void> {
    return this.#group.write(() => {
      const row = this.#sql.node.get(platform, node);
      this.#sql.saveNode.run(platform, node, next(row && String(row['state'])));
    });
  }

  bind({ platform, id }: TokenName, keySha256: Uint8Array, until: Date): Promise<void> {
    return this.#group.write(() => {
      const bound = this.#sql.token.get(platform, id)?.['key_sha256'];
      const same = bound === undefined || (bound instanceof Uint8Array && equal(bound, keySha256));
      ensure(same, 'jti_replay', `token ${id} of ${platform} was used with another key`);
      this.#sql.saveToken.run(platform, id, keySha256, until.getTime());
    });
  }

  async revocations(): Promise<StoredRevocations> {
    return this.#read(() => this.#revocations.inForce(this.#clock.now()));
  }

  async certified(now: Date, target: Target): Promise<readonly Certified[]> {
    return this.#read(() => [...this.#revocations.certified(now, target)]);
  }

  revoke(draft: RevocationDraft, event: (made: MadeRevocation) => AuditEvent): Promise<MadeRevocation> {
    return this.#audited(() => this.#revocations.insert(draft, this.#clock.now()), event);
  }

  lift(number: number, by: string, event: (lifted: MadeRevocation) => AuditEvent): Promise<MadeRevocation> {
    return this.#audited(() => this.#revocations.lift(number, by, this.#clock.now()), event);
  }

  async close(): Promise<void> {
    this.#group.flush();
    this.#tryMark();
    this.#db.close();
  }

  /** Writes, and an event of what was written, in one transaction. */
  async #audited<T>(write: () => T, event: (written: T) => AuditEvent): Promise<T> {
    // A transaction that is tried again writes again.
    const written: T[] = [];
    await this.#marked(() => {
      const each = write();
      this.#audit(event(each));
      written.push(each);
    });
    const last = written.at(-1);
    if (last === undefined) throw new TypeError('nothing was written');
    return last;
  }

  /** As the group's `write`, for what must not be lost unnoticed. */
  async #marked(write: () => void): Promise<void> {
    await this.#group.write(write);
    this.#tryMark();
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
    if (this.#generation !== undefined && newest > 0) writeGeneration(this.#generation, newest);
  }

  #newest(): number {
    return this.#read(() => Number(this.#sql.newestEvent.get()?.['sequence'] ?? 0));
  }

  #now(): number {
    return this.#clock.now().getTime();
  }

  #audit(event: AuditEvent): void {
    this.#sql.audit.run(this.#now(), textOfEvent(event));
  }

  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw storeRefusal(error, this.#path);
    }
  }
}
