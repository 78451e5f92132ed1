/**
 * The CRLs of this CA, one for each issuer, kept up to date: within a second of each revocation, and long before a list
 * ends. All of it follows from the store; what is here is what was signed last.
 */
import { equal } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock, earlier, whenSetBack } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { MadeRevocation } from '@chancery/shared/revocation/revocation.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { BACKDATE_SECONDS } from '../authority/profile.ts';
import type { KeyHomes } from '../keys/homes.ts';
import { isOffline } from '../keys/offline.ts';
import type { AuthorityStore, StoredAuthority } from '../store/store.ts';
import { type EntriesOf, nextEnd, type RecordStore, RevokedEntries } from './entries.ts';
import { importedList } from './imported.ts';
import { type CrlIssuer, type Entries, issuersOf, revokedIntermediates } from './issuers.ts';
import { type CrlDraft, type MadeCrl, signCrl } from './sign.ts';

export interface CrlDeps {
  readonly authorities: { readonly records: Source<readonly StoredAuthority[]> };
  readonly revocations: { readonly sets: Source<RevocationSet<MadeRevocation>> };
  readonly keys: KeyHomes;
  readonly store: RecordStore & Pick<AuthorityStore, 'rootCrls'>;
  /** Seconds from one list to its nextUpdate. */
  readonly ttl: number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Crls {
  /** Those in force. Throws unavailable before the first were made. */
  readonly lists: LiveValue<readonly MadeCrl[]>;
  /** Looks at once whether another list of an offline root has come. */
  wake(): void;
  /** Resolves when the work under way has ended. */
  close(): Promise<void>;
}

/** Changes within this time share one list. */
const GATHER_SECONDS = 0.25;
const RETRY_SECONDS = 15;
/** How long an entry may stay after the end of its revocation. */
const END_SECONDS = 60;
/** The part of a list's life after which there is a new one. */
const RENEW_AT = 0.4;
/** RFC 5280 section 5: an entry is on a list that was made after its certificate ended, so longer than RENEW_AT. */
const ENDED_PART = 0.5;
/** A root signs seldom, and its list is nearly always empty. */
const ROOT_TTL_SECONDS = 7 * 86_400;

/** Makes the first lists soon, and logs and repeats what fails: the CA does not wait for them. */
export function startCrls(deps: CrlDeps): Crls {
  const keeper = new CrlKeeper(deps);
  const stop = new AbortController();
  const stops = [deps.authorities.records, deps.revocations.sets].map((source) =>
    (source as Source<unknown>).onChange(() => keeper.wake()),
  );
  const running = keeper.run(stop.signal);
  return {
    lists: keeper.lists,
    wake: () => keeper.wake(),
    close: async () => {
      for (const each of stops) each();
      stop.abort();
      await running;
    },
  };
}

class CrlKeeper {
  readonly lists = new LiveValue<readonly MadeCrl[]>(
    () => new IdentityError('unavailable', 'the revocation lists are not made yet'),
  );
  readonly #deps: CrlDeps;
  readonly #revoked: RevokedEntries;
  /** Whether a list could not be made the last time, also where the one before is still in use. */
  #failed = false;
  #changed = Promise.withResolvers<void>();

  constructor(deps: CrlDeps) {
    this.#deps = deps;
    this.#revoked = new RevokedEntries(deps.store, {
      keepSeconds: deps.ttl * RENEW_AT,
      endedSeconds: deps.ttl * ENDED_PART,
    });
  }

  wake(): void {
    this.#changed.resolve();
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#changed = Promise.withResolvers<void>();
      const due = await this.#attempt();
      await this.#untilDue(due, signal);
    }
  }

  /** Returns when the next lists are due. */
  async #attempt(): Promise<Date> {
    const { clock, log } = this.#deps;
    try {
      return await this.#make();
    } catch (error) {
      log.error({ err: error }, 'the revocation lists (CRL) could not be made; trying again');
      return addSeconds(clock.now(), RETRY_SECONDS);
    }
  }

  async #untilDue(due: Date, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const wake = new AbortController();
    const until = AbortSignal.any([signal, wake.signal]);
    const nothing = (): void => {};
    try {
      await Promise.race([
        this.#changed.promise,
        clock.sleepUntil(due, until).catch(nothing),
        // Lists of a clock that was ahead are not valid yet for anybody else.
        whenSetBack(clock, until).catch(nothing),
      ]);
    } finally {
      wake.abort();
    }
    await clock.sleepUntil(addSeconds(clock.now(), GATHER_SECONDS), signal).catch(nothing);
  }

  async #make(): Promise<Date> {
    const { authorities, revocations, clock, ttl } = this.#deps;
    const [records, set, now] = [authorities.records.current(), revocations.sets.current(), clock.now()];
    const issuers = issuersOf(records, now);
    const revoked = await this.#revoked.of(set, now);
    this.#failed = false;
    const lists = await Promise.all(
      issuers.map((issuer) => this.#list(issuer, entriesOf(issuer, revoked, { records, now }), { set, now })),
    );
    const made = lists.filter((each) => each !== undefined);
    this.lists.publish(made);
    const renewAt = addSeconds(now, ttl * RENEW_AT);
    if (this.#failed) return earlier(renewAt, addSeconds(now, RETRY_SECONDS));
    // Certificates end one by one, and a list that names one for a while longer harms nobody.
    const ends = nextEnd(set, { now, time: addSeconds(now, END_SECONDS) });
    return ends === undefined ? renewAt : earlier(renewAt, ends);
  }

  /** The list in use if it will do, else a new one. Logs why there is none, and keeps the old one meanwhile. */
  async #list(
    issuer: CrlIssuer,
    entries: Entries,
    { set, now }: { readonly set: RevocationSet; readonly now: Date },
  ): Promise<MadeCrl | undefined> {
    const { ttl, log } = this.#deps;
    const before = this.lists.has()
      ? this.lists.current().find(({ serial }) => serial === issuer.serial)
      : undefined;
    if (isOffline(issuer)) return importedList(issuer, await this.#deps.store.rootCrls(), now);
    const isRoot = issuer.kind === 'root';
    if (isRoot && before !== undefined && isFresh(before, entries, now)) return before;
    const life = isRoot ? Math.max(ttl, ROOT_TTL_SECONDS) : ttl;
    const thisUpdate = addSeconds(now, -BACKDATE_SECONDS);
    const numbers = { sequence: set.sequence, before: before?.number };
    const draft = { issuer, entries, ...numbers, thisUpdate, nextUpdate: addSeconds(now, life) };
    try {
      return await this.#sign(draft);
    } catch (error) {
      this.#failed = true;
      log.error(
        { err: error, issuer: issuer.serial },
        'a revocation list (CRL) could not be made; trying again',
      );
      return before !== undefined && now < before.nextUpdate ? before : undefined;
    }
  }

  async #sign(draft: CrlDraft): Promise<MadeCrl | undefined> {
    const { kind, key } = draft.issuer;
    const home = this.#deps.keys[kind];
    // Of a root the key may be elsewhere: then nobody here can make its list.
    if (!(await home.has(key))) return undefined;
    return signCrl(draft, await home.load(key));
  }
}

const entriesOf = (
  { kind, serial, certificate }: CrlIssuer,
  revoked: EntriesOf,
  { records, now }: { readonly records: readonly StoredAuthority[]; readonly now: Date },
): Entries => (kind === 'root' ? revokedIntermediates(records, certificate, now) : revoked(serial));

/** Whether a list that is not made anew at each change may stay. */
function isFresh({ thisUpdate, nextUpdate, entries }: MadeCrl, wanted: Entries, now: Date): boolean {
  const renewAt = addSeconds(thisUpdate, ((nextUpdate.getTime() - thisUpdate.getTime()) / 1000) * RENEW_AT);
  return thisUpdate <= now && now < renewAt && equal(entries.bytes, wanted.bytes);
}
