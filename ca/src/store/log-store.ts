/** What the store keeps of the Merkle log: the order of its entries, and one checkpoint for each size. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import type { Decision } from '@chancery/shared/audit/leaves.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

export interface StoredEvent {
  readonly sequence: number;
  readonly at: Date;
  readonly event: AuditEvent;
}

export interface Leaves {
  /** The next entries, as text, in the order of the log. */
  readonly entries: readonly string[];
  /** The place after them: what follows is asked for with it. */
  readonly through: number;
  /** False if there was nothing after them. */
  readonly more: boolean;
}

export interface LogCheckpoint {
  /** How many entries the tree has. */
  readonly size: number;
  /** Hexadecimal. */
  readonly root: string;
  /** The place after its last entry. */
  readonly through: number;
  /** The signed note. */
  readonly note: string;
}

/** Events that no checkpoint covers yet. */
export interface Waiting {
  /** At most 100,000 are counted. */
  readonly events: number;
  /** When the oldest of them was written; undefined if there is none. */
  readonly since: Date | undefined;
}

/** All that is given must hold. */
export interface EntryQuery {
  /** A whole SPIFFE ID, serial number or code, anywhere in the event. */
  readonly words: readonly string[];
  /** Any part of the event's JSON; the case of ASCII letters does not count. Empty matches all. */
  readonly text: string;
  readonly decision: Decision | undefined;
  readonly type?: AuditEvent['type'] | undefined;
  /** Leaves out what gateways say about servers of others. */
  readonly withoutForeign?: boolean;
  /** Milliseconds since 1970: from `since` on, before `until`. */
  readonly since: number;
  readonly until: number;
  /** Where to go on: `place` of the page before; undefined for the beginning, or the end if it goes backwards. */
  readonly place: number | undefined;
  readonly backwards: boolean;
  /** At most 1000. */
  readonly limit: number;
}

export interface FoundEntry {
  /** Its index in the log; undefined if it is not integrated yet. */
  readonly index: number | undefined;
  /** The entry. */
  readonly text: string;
}

export interface FoundEntries {
  /** In the order that was asked for. There may be none, and more may come. */
  readonly found: readonly FoundEntry[];
  readonly place: number;
  /** The place after the newest event: what comes later is asked for with it, forwards. */
  readonly newest: number;
  /** False if all was looked at. */
  readonly more: boolean;
}

/** What may be pruned: entries before an index, and the events before a sequence, which are no more than those. */
export interface Prunable {
  readonly entries: number;
  readonly first: number;
}

/** Of the entries that may go next. */
export interface NextPruning {
  /** How many entries must still be signed before they may go, whatever their age. */
  readonly lacking: number;
  /** When the youngest of them was written, milliseconds since 1970; undefined if they are not all in the index. */
  readonly youngest: number | undefined;
}

/** What is known of the pruning, with what is due and what comes then. */
export interface FoundPruning extends Pruning {
  readonly due: Prunable | undefined;
  readonly next: NextPruning;
}

/** With the tree of those entries, as text. */
export interface Pruned extends Prunable {
  readonly tail: string;
}

/** How far the log is pruned. */
export interface Pruning extends Prunable {
  /** The sequence of the event that says so. */
  readonly announced: number;
  /** How many entries are gone. It is less than `entries` while they are being removed. */
  readonly done: number;
  /** The tree of `entries`, as it was announced; undefined if nothing was, or an older release did it. */
  readonly tail: string | undefined;
}

export interface LogStore {
  /** With what else is due: entries of before that time, by multiples of `unit`. */
  pruning(before?: Date, unit?: number): Promise<FoundPruning>;
  /**
   * Writes that it will be pruned, with its event and the tree of what goes. False if that changed meanwhile: `from` is
   * what was known.
   */
  announcePruning(from: number, to: Pruned, event: AuditEvent): Promise<boolean>;
  /** Removes events, at most `limit`, and what leads to them. Resolves with false if nothing was left. */
  pruneEvents(limit: number): Promise<boolean>;
  /** Looks at a bounded number of events. */
  search(query: EntryQuery): Promise<FoundEntries>;
  /** The index in the log of the event with this sequence; undefined if it is not integrated yet. */
  indexOf(sequence: number): Promise<number | undefined>;
  /**
   * Adds the next events, at most `limit`, to the index by which `search` finds them without reading on the way; what
   * is not in it yet is read. Resolves with whether there may be more.
   */
  indexEvents(limit: number): Promise<boolean>;
  /**
   * Entries after a place; 0 is the beginning. It looks at no more than `limit` events, and there may be none among
   * them. What was answered once never changes: no event appears before a
   * place that was answered.
   */
  leaves(after: number, limit: number): Promise<Leaves>;
  /** What is not in the log yet. */
  waiting(): Promise<Waiting>;
  /** The newest of at most `size` entries, or of all; undefined if there is none. */
  checkpoint(size?: number): Promise<LogCheckpoint | undefined>;
  /**
   * Writes a checkpoint where the newest has the size `from` (0: where there is none), and resolves with true when it
   * is durable. Writes nothing where another was made meanwhile: then false. So there is one for each size, for ever.
   */
  saveCheckpoint(from: number, checkpoint: LogCheckpoint): Promise<boolean>;
}

/** Where one gateway keeps its records until they are here; it numbers them from 1 on. */
export interface Spool {
  readonly reporter: SpiffeId;
  /** Hexadecimal. */
  readonly spool: string;
  /** The machine that reports now. Empty: not known. */
  readonly node?: string;
}

/** How far a spool has come. */
export interface Reported {
  /** The number of the newest record that is here; 0 for none. */
  readonly through: number;
  /** SHA-256 of that record as it was sent, hexadecimal; empty: not known. */
  readonly last: string;
}

export type ReportedCall = Extract<AuditEvent, { readonly type: 'call.recorded' }>;

export interface ReportStore {
  /** How far a spool has come; nothing of one that is not known. */
  reportedThrough(spool: Spool): Promise<Reported>;
  /**
   * Writes the events, whose numbers follow each other, in one transaction with how far the spool has come; resolves
   * with that when all is durable. Those that are here already are skipped: of two that report the same
   * records, each record is written once. `digests` are those of the records, as `Reported` has them: if the newest
   * record that is here has another one, two gateways write under the name of one spool, and nothing is written.
   * Throws out_of_order if numbers are missing before the first, unless the spool itself begins with it (`oldest`).
   */
  report(
    spool: Spool,
    oldest: number,
    events: readonly ReportedCall[],
    digests?: readonly string[],
  ): Promise<Reported>;
}
