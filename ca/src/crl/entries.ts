/**
 * Which certificates that are unexpired, or were a while ago, are revoked, by the authority that signed them. Reads the
 * store page by page, so that issuing goes on meanwhile, however many there are.
 */
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import type { MadeRevocation, Target } from '@chancery/shared/revocation/revocation.ts';
import { inForce, type RevocationSet, revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { crlEntryEnd, writeCrlEntry } from '@chancery/shared/x509/compose/crl.ts';
import type { AgentStore, CertificateStore, UnexpiredPage, UnexpiredPlace } from '../store/store.ts';
import { dateOf, type Entries } from './issuers.ts';

/** Matches every certificate. */
const ANYBODY: Target = { kind: 'pattern', value: '*' };
/** More new revocations than this are found faster by one reading of all certificates. */
const MAX_SINGLE = 16;
/** RFC 5280 section 4.1.2.2, as DER writes it: positive, without zeros in front, and 20 octets with the sign. */
const SERIAL = /^(?!00)(?![89a-f].{39})/;

export interface KeepSeconds {
  /** What was found is read anew after so long. */
  readonly keepSeconds: number;
  /** Certificates that ended less than so long ago are found, too. */
  readonly endedSeconds: number;
}

/** What is read of the store. */
export type RecordStore = Pick<AgentStore, 'certified'> & Pick<CertificateStore, 'issuance'>;

/** By the serial of an intermediate; an empty list for one without revoked certificates. */
export type EntriesOf = (issuer: string) => Entries;

/** What one reading of all certificates has found, and what was added since. */
interface Found {
  readonly since: Date;
  /** Of the revocations. */
  readonly numbers: Set<number>;
  /** Entries by the serial of the certificate, by the serial of its issuer. */
  readonly byIssuer: Map<string, Map<string, Uint8Array>>;
  /** As in `byIssuer`, of serials that are not on record, as after a restore: who issued them is not known. */
  readonly ofAny: Map<string, Uint8Array>;
}

/**
 * After a revocation nothing more is issued to its target, so what it matched at first is all that it matches. A new
 * revocation is looked up by itself then, among what an index finds; when one is gone, and now and then, all is read
 * anew.
 */
export class RevokedEntries {
  readonly #store: RecordStore;
  readonly #seconds: KeepSeconds;
  #found: Found | undefined;

  constructor(store: RecordStore, seconds: KeepSeconds) {
    this.#store = store;
    this.#seconds = seconds;
  }

  /** Those that a revocation in force at `now` matches, with some that have ended meanwhile. Throws store. */
  async of(set: RevocationSet<MadeRevocation>, now: Date): Promise<EntriesOf> {
    const standing = set.list.filter((each) => inForce(each, now));
    const found = this.#stillGood(standing, now) ?? newFound(now);
    const fresh = standing.filter(({ number }) => !found.numbers.has(number));
    // Until all is read, what was found is not whole.
    this.#found = undefined;
    const targets = fresh.length > MAX_SINGLE ? [ANYBODY] : fresh.map(({ target }) => target);
    for (const target of targets)
      await this.#read(target, revocationSet(fresh, set.sequence), { found, now });
    for (const each of fresh) await this.#readUnrecorded(each, found.ofAny);
    for (const { number } of fresh) found.numbers.add(number);
    this.#found = found;
    return (issuer) => {
      const entries = [...found.ofAny.values(), ...(found.byIssuer.get(issuer)?.values() ?? [])];
      return { count: entries.length, bytes: Buffer.concat(entries) };
    };
  }

  /** A serial that no certificate has harms nobody; one that is missing lets a stolen certificate go on. */
  async #readUnrecorded({ target, at, reason }: MadeRevocation, ofAny: Found['ofAny']): Promise<void> {
    if (target.kind !== 'serial' || !SERIAL.test(target.value)) return;
    if (ofAny.has(target.value) || (await this.#store.issuance(target.value)) !== undefined) return;
    const entry = writeCrlEntry(Buffer.from(target.value, 'hex'), crlEntryEnd(dateOf(at), reason));
    ofAny.set(target.value, entry);
  }

  #stillGood(standing: readonly MadeRevocation[], now: Date): Found | undefined {
    const found = this.#found;
    if (found === undefined) return undefined;
    const ageMs = now.getTime() - found.since.getTime();
    const numbers = new Set(standing.map(({ number }) => number));
    const isWhole = [...found.numbers].every((number) => numbers.has(number));
    return isWhole && ageMs >= 0 && ageMs < this.#seconds.keepSeconds * 1000 ? found : undefined;
  }

  async #read(
    target: Target,
    set: RevocationSet<MadeRevocation>,
    { found, now }: { readonly found: Found; readonly now: Date },
  ): Promise<void> {
    const ends = new Map<MadeRevocation, Uint8Array>();
    const endedAfter = addSeconds(now, -this.#seconds.endedSeconds);
    let after: UnexpiredPlace | undefined;
    do {
      const page: UnexpiredPage = await this.#store.certified({ now: endedAfter, target, after });
      for (const { id, serial, origin, node, issuer } of page.list) {
        const revocation = set.revoked({ id, serial, origin, node }, now);
        if (revocation === undefined) continue;
        const end = ends.get(revocation) ?? crlEntryEnd(dateOf(revocation.at), revocation.reason);
        ends.set(revocation, end);
        const entries = found.byIssuer.get(issuer) ?? new Map<string, Uint8Array>();
        // The first revocation that matched says why.
        if (!entries.has(serial)) entries.set(serial, writeCrlEntry(Buffer.from(serial, 'hex'), end));
        found.byIssuer.set(issuer, entries);
      }
      after = page.next;
    } while (after !== undefined);
  }
}

const newFound = (since: Date): Found => ({
  ...{ since, numbers: new Set<number>() },
  ...{ byIssuer: new Map<string, Map<string, Uint8Array>>(), ofAny: new Map<string, Uint8Array>() },
});

/** When the first of these revocations ends, and not before `time`; undefined if none ends from now on. */
export function nextEnd(
  set: RevocationSet,
  { now, time }: { readonly now: Date; readonly time: Date },
): Date | undefined {
  const ends = set.list.map(({ until }) => until?.getTime() ?? 0).filter((end) => end > now.getTime());
  if (ends.length === 0) return undefined;
  return new Date(
    Math.max(
      time.getTime(),
      ends.reduce((a, b) => Math.min(a, b)),
    ),
  );
}
