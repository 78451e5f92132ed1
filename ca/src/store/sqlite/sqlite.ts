/** The embedded store: what it is asked becomes plain values for the database, which runs here or on a thread. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { isLeaf } from '@chancery/shared/audit/leaves.ts';
import type { Node } from '@chancery/shared/evidence/node.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { AllAuthorities, JwtKeyRecord } from '../jwt-store.ts';
import type { EntryQuery, LogCheckpoint, Pruned, ReportedCall, Spool, StoredEvent } from '../log-store.ts';
import type { Countersigner, RequestBounds, RequestDraft, SignOff } from '../operator-store.ts';
import type { HandedBack } from '../recovery-store.ts';
import type { AskedIntermediate, CrossDraft, RootCrl } from '../request-store.ts';
import type {
  AuthorityMove,
  AuthorityRecord,
  ChangedRevocation,
  HoldingsQuery,
  Issuance,
  Numbered,
  RecordedIssuance,
  RegistryRecord,
  RevocationDraft,
  Store,
  StoredAuthority,
  TokenName,
  UnexpiredQuery,
  Unused,
} from '../store.ts';
import type { Taint } from '../taint-store.ts';
import type { Database } from './calls.ts';
import type { OnMigrating } from './file/migrating.ts';
import { openHere } from './here.ts';
import { arrivedJwtKey, jwtRowOf } from './jwt/jwt-table.ts';
import { LateEvents } from './late-events.ts';
import type { Reads } from './reads.ts';
import { RecentIssuances } from './recent.ts';
import { crlRowOf, rootCrlOf } from './tables/asked-table.ts';
import {
  arrived,
  arrivedAuthority,
  crossText,
  eventOf,
  rowOf,
  successionsOf,
  textOfEvent,
} from './tables/rows.ts';
import { openOnThread } from './thread/thread.ts';
import type { Writes } from './writes.ts';

/**
 * Opens or makes the file, 0600, and brings its schema up to date, in this thread: for commands and tests. `generation`
 * is the file that says how far the database had come; a database that is older is refused. Throws store, file.
 */
export async function openSqlite(path: string, clock: Clock, generation?: string): Promise<Store> {
  return new SqliteStore(openHere({ path, generation, now: clock.now().getTime() }), clock);
}

/** As `openSqlite`, with the database on a thread of its own: for a CA that serves. */
export async function openSqliteThread(
  path: string,
  clock: Clock,
  generation?: string,
  onMigrating: OnMigrating = () => {},
): Promise<Store> {
  const at = { path, generation, now: clock.now().getTime() };
  return new SqliteStore(await openOnThread(at, onMigrating), clock);
}

type Rest<F> = F extends (at: number, ...rest: infer R) => unknown ? R : never;

class SqliteStore implements Store {
  readonly lost: Promise<IdentityError>;
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #recent = new RecentIssuances();
  #changes: Promise<unknown> = Promise.resolve();
  readonly #later: LateEvents;

  readonly life = () => this.#read('life');
  readonly recovery = () => this.#read('recovery', this.#now());
  readonly handBack = (handed: HandedBack) => this.#inOrder(() => this.#write('handBack', handed));
  readonly endHold = (reason: string, by: string) => this.#write('endHold', reason, by);
  readonly registry = () => this.#read('registry');
  readonly nodeState = (node: Node) => this.#read('nodeState', node);
  readonly swapNodeState = (node: Node, from: string | undefined, to: string) =>
    this.#write('swapNodeState', node, from, to);
  readonly revocations = () => this.#read('revocations', this.#now());
  readonly nodeStates = (platform: string, prefix: string) => this.#read('nodeStates', platform, prefix);
  readonly resourcesAt = (time: Date) => this.#read('resourcesAt', time.getTime());
  readonly identityUses = (below: number | undefined) => this.#read('identityUses', below);
  readonly releaseNode = (node: Node, from: string, why: Pick<SignOff, 'reason' | 'by'>) =>
    this.#write('releaseNode', node, from, why);
  readonly authorityRequests = () => this.#read('authorityRequests');
  readonly askForAuthority = (request: AskedIntermediate, event: AuditEvent) =>
    this.#write('askForAuthority', request, textOfEvent(event));
  readonly answerAuthorityRequest = (label: string, record: AuthorityRecord, event: AuditEvent) =>
    this.#inOrder(() => this.#write('answerAuthorityRequest', label, rowOf(record), textOfEvent(event)));
  readonly dropAuthorityRequest = (label: string, event: AuditEvent) =>
    this.#write('dropAuthorityRequest', label, textOfEvent(event));
  readonly rootCrls = async () => (await this.#read('rootCrls')).map(rootCrlOf);
  readonly saveRootCrl = (crl: RootCrl, event: AuditEvent) =>
    this.#write('saveRootCrl', crlRowOf(crl), textOfEvent(event));
  readonly saveCross = ({ chain, ...draft }: CrossDraft, event: AuditEvent) =>
    this.#inOrder(() => this.#write('saveCross', { ...draft, chain: crossText(chain) }, textOfEvent(event)));
  readonly saveJwtKey = (record: JwtKeyRecord, event: AuditEvent) =>
    this.#inOrder(() => this.#write('saveJwtKey', jwtRowOf(record), textOfEvent(event)));
  readonly moveJwtKeys = (moves: readonly AuthorityMove[], event: AuditEvent) =>
    this.#inOrder(() => this.#write('moveJwtKeys', moves, textOfEvent(event)));
  readonly taintJwtKey = (taint: Taint, event: AuditEvent) =>
    this.#inOrder(() => this.#write('taintJwtKey', taint, textOfEvent(event)));
  readonly holdings = (query: HoldingsQuery) => this.#read('holdings', query);
  readonly successions = async (limit: number) =>
    successionsOf(await this.#read('successions', this.#now(), limit));
  readonly indexOf = (sequence: number) => this.#read('indexOf', sequence);
  readonly search = (query: EntryQuery) => this.#read('search', query);
  readonly leaves = (after: number, limit: number) => this.#read('leaves', after, limit);
  readonly waiting = () => this.#read('waiting');
  readonly checkpoint = (size?: number) => this.#read('checkpoint', size);
  readonly saveCheckpoint = (from: number, made: LogCheckpoint) => this.#write('saveCheckpoint', from, made);
  readonly reportedThrough = (spool: Spool) => this.#read('reportedThrough', spool);
  readonly report = (
    spool: Spool,
    oldest: number,
    events: readonly ReportedCall[],
    digests: readonly string[] = [],
  ) => this.#write('report', spool, oldest, { events, digests });
  readonly pruneEvents = (limit: number) => this.#write('pruneEvents', limit);
  readonly indexEvents = (limit: number) => this.#write('indexEvents', limit);
  readonly signOffs = () => this.#read('signOffs');
  readonly signOff = (made: SignOff) => this.#write('signOff', made);
  readonly requests = () => this.#read('requests', this.#now());
  readonly request = (draft: RequestDraft, max: RequestBounds) => this.#write('request', draft, max);
  readonly countersign = (number: number, by: Countersigner) => this.#write('countersign', number, by);
  readonly withdraw = (number: number, by: Countersigner) => this.#write('withdraw', number, by);
  readonly useRequest = (digest: string, person: SpiffeId) => this.#write('useRequest', digest, person);

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.lost = database.lost;
    this.#clock = clock;
    this.#later = new LateEvents(database);
  }

  async record(issuance: Issuance, event: AuditEvent): Promise<void> {
    const recordedAt = this.#clock.now();
    const row = { ...issuance, keySha256: hex(issuance.keySha256) };
    await this.#write('record', row, textOfEvent(event));
    this.#recent.keep({ ...issuance, recordedAt });
  }

  async issuance(serial: string): Promise<RecordedIssuance | undefined> {
    const known = this.#recent.get(serial);
    if (known !== undefined) return known;
    const read = await this.#read('issuance', serial);
    if (read === undefined) return undefined;
    const found = arrived(read);
    this.#recent.keep(found);
    return found;
  }

  async issuedFrom(prefix: string): Promise<readonly RecordedIssuance[]> {
    return (await this.#read('issuedFrom', prefix)).map(arrived);
  }

  async issued({ id, limit }: { id?: SpiffeId; limit: number }): Promise<readonly RecordedIssuance[]> {
    if (id === undefined) return (await this.#read('issued', limit)).map(arrived);
    const found: RecordedIssuance[] = [];
    let below: number | undefined;
    do {
      const page = await this.#read('issuedTo', id, limit - found.length, below);
      found.push(...page.list.map(arrived));
      ({ below } = page);
    } while (below !== undefined && found.length < limit);
    return found;
  }

  async prune(time: Date): Promise<number> {
    const pruned = await this.#write('prune', time.getTime());
    if (pruned > 0) this.#recent.forget();
    return pruned;
  }

  certified({ now, target, after }: UnexpiredQuery) {
    return this.#read('certified', now.getTime(), target, after);
  }

  copyTo(path: string): Promise<void> {
    return this.#database.copyTo(path);
  }

  async authorities(): Promise<readonly StoredAuthority[]> {
    return (await this.#read('authorities')).map(arrivedAuthority);
  }

  async allAuthorities(): Promise<AllAuthorities> {
    const { authorities, jwtKeys } = await this.#read('allAuthorities');
    return { authorities: authorities.map(arrivedAuthority), jwtKeys: jwtKeys.map(arrivedJwtKey) };
  }

  saveAuthority(record: AuthorityRecord, event: AuditEvent): Promise<Numbered> {
    return this.#inOrder(() => this.#write('saveAuthority', rowOf(record), textOfEvent(event)));
  }

  moveAuthorities(moves: readonly AuthorityMove[], event: AuditEvent, unused?: Unused) {
    const vouches = event.type === 'authority.moved' && event.voucher !== undefined;
    const about = { vouches, unused };
    return this.#inOrder(() => this.#write('moveAuthorities', moves, textOfEvent(event), about));
  }

  taintAuthority(taint: Taint, event: AuditEvent) {
    return this.#inOrder(() => this.#write('taintAuthority', taint, textOfEvent(event)));
  }

  saveRegistry(record: RegistryRecord, event: AuditEvent): Promise<Numbered> {
    return this.#inOrder(() => this.#write('saveRegistry', record, textOfEvent(event)));
  }

  revoke(draft: RevocationDraft, max: number): Promise<ChangedRevocation> {
    return this.#inOrder(() => this.#write('revoke', draft, max));
  }

  lift(number: number, by: string): Promise<ChangedRevocation> {
    return this.#inOrder(() => this.#write('lift', number, by));
  }

  bind(token: TokenName, keySha256: Uint8Array, until: Date): Promise<void> {
    return this.#write('bind', token, hex(keySha256), until.getTime());
  }

  append(event: AuditEvent): Promise<void> {
    return this.#write('append', textOfEvent(event), isLeaf(event));
  }

  appendSoon(event: AuditEvent): void {
    this.#later.add({ at: this.#now(), text: textOfEvent(event), leaf: isLeaf(event) });
  }

  onEventsLost(tell: (error: unknown, events: number) => void): void {
    this.#later.onLost(tell);
  }

  async events(after: number, limit: number): Promise<readonly StoredEvent[]> {
    return (await this.#read('events', after, limit)).map(eventOf);
  }

  pruning(before = new Date(0), unit = 1) {
    return this.#read('pruning', before.getTime(), unit);
  }

  announcePruning(from: number, to: Pruned, event: AuditEvent): Promise<boolean> {
    return this.#write('announcePruning', from, to, textOfEvent(event));
  }

  async newestRecordAt(): Promise<Date | undefined> {
    const at = await this.#read('newestRecordAt');
    return at === undefined ? undefined : new Date(at);
  }

  waitedSeconds(): number {
    return this.#database.waitedSeconds();
  }

  ensureOwnFiles(): void {
    this.#database.ensureOwnFiles();
  }

  async close(): Promise<void> {
    const written = this.#later.write();
    await this.#database.close();
    await written;
  }

  /** A change of state. The next one is asked for after the answer to this one, so its answer comes in a later turn. */
  #inOrder<T>(change: () => Promise<T>): Promise<T> {
    const changed = this.#changes.then(change);
    this.#changes = changed.catch(() => {});
    return changed;
  }

  #read<K extends keyof Reads>(name: K, ...args: Parameters<Reads[K]>): Promise<ReturnType<Reads[K]>> {
    return this.#database.call({ kind: 'read', name, args }) as Promise<ReturnType<Reads[K]>>;
  }

  #write<K extends keyof Writes>(name: K, ...args: Rest<Writes[K]>): Promise<ReturnType<Writes[K]>> {
    void this.#later.write();
    return this.#database.call({ kind: 'write', name, at: this.#now(), args }) as Promise<
      ReturnType<Writes[K]>
    >;
  }

  #now(): number {
    return this.#clock.now().getTime();
  }
}
