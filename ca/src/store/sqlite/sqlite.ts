/** The embedded store: what it is asked becomes plain values for the database, which runs here or on a thread. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { MadeRevocation, Target } from '@chancery/shared/revocation/revocation.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type {
  AuthorityRecord,
  Issuance,
  NodeName,
  RegistryRecord,
  RevocationDraft,
  Store,
  StoredEvent,
  TokenName,
} from '../store.ts';
import type { Asked } from './calls.ts';
import { openHere } from './here.ts';
import type { Reads } from './reads.ts';
import { eventOf, textOfEvent } from './rows.ts';
import type { Writes } from './writes.ts';

/**
 * Opens or makes the file, 0600, and brings its schema up to date, in this thread: for commands and tests. `generation`
 * is the file that says how far the database had come; a database that is older is refused. Throws store, file.
 */
export async function openSqlite(path: string, clock: Clock, generation?: string): Promise<Store> {
  return new SqliteStore(openHere({ path, generation, now: clock.now().getTime() }), clock);
}

type Rest<F> = F extends (at: number, ...rest: infer R) => unknown ? R : never;

class SqliteStore implements Store {
  readonly #asked: Asked;
  readonly #clock: Clock;

  constructor(asked: Asked, clock: Clock) {
    this.#asked = asked;
    this.#clock = clock;
  }

  record({ keySha256, ...issuance }: Issuance, event: AuditEvent): Promise<void> {
    return this.#write('record', { ...issuance, keySha256: hex(keySha256) }, textOfEvent(event));
  }

  issuance(serial: string) {
    return this.#read('issuance', serial);
  }

  issuedFrom(prefix: string) {
    return this.#read('issuedFrom', prefix);
  }

  issued({ id, limit }: { id?: SpiffeId; limit: number }) {
    return this.#read('issued', id, limit);
  }

  prune(time: Date): Promise<number> {
    return this.#write('prune', time.getTime());
  }

  certified(now: Date, target: Target) {
    return this.#read('certified', now.getTime(), target);
  }

  successions() {
    return this.#read('successions', this.#now());
  }

  authorities() {
    return this.#read('authorities');
  }

  saveAuthority({ certificate, ...record }: AuthorityRecord, event: AuditEvent): Promise<void> {
    return this.#write('saveAuthority', { ...record, certificate: hex(certificate) }, textOfEvent(event));
  }

  registry() {
    return this.#read('registry');
  }

  saveRegistry(record: RegistryRecord, event: AuditEvent): Promise<void> {
    return this.#write('saveRegistry', record, textOfEvent(event));
  }

  revocations() {
    return this.#read('revocations', this.#now());
  }

  revoke(draft: RevocationDraft, max: number): Promise<MadeRevocation> {
    return this.#write('revoke', draft, max);
  }

  lift(number: number, by: string): Promise<MadeRevocation> {
    return this.#write('lift', number, by);
  }

  nodeState(name: NodeName) {
    return this.#read('nodeState', name);
  }

  swapNodeState(name: NodeName, from: string | undefined, to: string): Promise<boolean> {
    return this.#write('swapNodeState', name, from, to);
  }

  bind(token: TokenName, keySha256: Uint8Array, until: Date): Promise<void> {
    return this.#write('bind', token, hex(keySha256), until.getTime());
  }

  append(event: AuditEvent): Promise<void> {
    return this.#write('append', textOfEvent(event));
  }

  async events(after: number, limit: number): Promise<readonly StoredEvent[]> {
    return (await this.#read('events', after, limit)).map(eventOf);
  }

  async newestRecordAt(): Promise<Date | undefined> {
    const at = await this.#read('newestRecordAt');
    return at === undefined ? undefined : new Date(at);
  }

  ensureOwnFiles(): void {
    this.#asked.ensureOwnFiles();
  }

  close(): Promise<void> {
    return this.#asked.close();
  }

  #read<K extends keyof Reads>(name: K, ...args: Parameters<Reads[K]>): Promise<ReturnType<Reads[K]>> {
    return this.#asked.call({ kind: 'read', name, args }) as Promise<ReturnType<Reads[K]>>;
  }

  #write<K extends keyof Writes>(name: K, ...args: Rest<Writes[K]>): Promise<ReturnType<Writes[K]>> {
    return this.#asked.call({ kind: 'write', name, at: this.#now(), args }) as Promise<ReturnType<Writes[K]>>;
  }

  #now(): number {
    return this.#clock.now().getTime();
  }
}
