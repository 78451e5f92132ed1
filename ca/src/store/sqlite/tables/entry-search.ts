/** Looks for audit events, a bounded number of rows for each page: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { decisionOf, entryText } from '@chancery/shared/audit/leaves.ts';
import { isIndexed, saysWord } from '@chancery/shared/audit/words.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import type { EntryQuery, FoundEntries, FoundEntry } from '../../log-store.ts';
import { type EntryIndex, isRare, type Span, segmentAt, wordOfDecision } from './entry-index.ts';

/** Rows that one page reads, and bytes of them: about ten milliseconds. It ends with the rows that reach them. */
const WINDOW = 10_000;
const PAGE_BYTES = 2 * 1024 * 1024;
/** Rows that are read together. */
const TOGETHER = 32;
/** Between two events that are nearer, entries are counted. */
const NEAR = 128;
/** Rows that one page finds by the index and looks at, which takes as long, and segments of the index. */
const MAX_CANDIDATES = 1_000;
const MAX_SEGMENTS = 256;
/** Whatever its rows and words are like, a page ends after so long: writes wait for it. */
const PAGE_MS = 50;

type Row = Readonly<Record<string, unknown>>;

interface Found extends FoundEntry {
  readonly sequence: number;
}

interface Page {
  readonly found: readonly Found[];
  /** The last event that was looked at. */
  readonly place: number;
}

/** Prepares its statements once, on a connection that the caller owns. Every method blocks. */
export class EntrySearch {
  readonly #sql: ReturnType<typeof statements>;
  readonly #index: EntryIndex;
  readonly #monotonic: () => number;
  /** When the page ends, by the monotonic clock. */
  #end = 0;

  /** `monotonic` gives milliseconds that only grow. */
  constructor(db: DatabaseSync, index: EntryIndex, monotonic: () => number = () => performance.now()) {
    this.#sql = statements(db);
    this.#index = index;
    this.#monotonic = monotonic;
  }

  /** A page, and where the next one goes on. */
  search(asked: EntryQuery): FoundEntries {
    this.#end = this.#monotonic() + PAGE_MS;
    // Events are stored so.
    const query = { ...asked, words: asked.words.map(printable) };
    const newest = Number(this.#sql.newest.get()?.['newest'] ?? 0);
    const oldest = this.#oldest();
    const { backwards, place = backwards ? newest + 1 : 0 } = query;
    const { through } = this.#index.mark();
    const isIndexed = oldest <= through && (backwards ? place <= through + 1 : place < through);
    const [first, last] = isIndexed ? [oldest, through] : [Math.max(through + 1, oldest), newest];
    const span = backwards ? { first, last: place - 1 } : { first: Math.max(place + 1, first), last };
    if (span.first > span.last) return { found: [], place: backwards ? oldest : last, newest, more: false };
    const page = isIndexed ? this.#lookUp(query, span) : this.#read(query, span);
    const more = backwards ? page.place > oldest : page.place < newest;
    return { found: page.found.map(({ index, text }) => ({ index, text })), place: page.place, newest, more };
  }

  /** What is before it was pruned. */
  #oldest(): number {
    return Number(this.#sql.oldest.get()?.['oldest'] ?? 1);
  }

  #lookUp(query: EntryQuery, span: Span): Page {
    const words = query.words.filter(isIndexed);
    if (isRare(query.decision)) words.push(wordOfDecision(query.decision));
    if (words.length > 0) return this.#byWords(words, query, span);
    const begun = this.#index.from(span, query);
    return begun === undefined ? { found: [], place: endOf(span, query) } : this.#read(query, begun);
  }

  #byWords(words: readonly string[], query: EntryQuery, span: Span): Page {
    const { backwards, limit } = query;
    const found: Found[] = [];
    let [candidates, bytes] = [0, 0];
    let segment = segmentAt(backwards ? span.last : span.first, span);
    for (let segments = 1; ; segments += 1) {
      const [word = '', ...others] = this.#index.rarestFirst(words, segment);
      for (const sequence of this.#index.candidates(word, segment, query)) {
        if (this.#index.mayHave(others, sequence))
          bytes += this.#readSome(query, { first: sequence, last: sequence }, found);
        candidates += 1;
        if (found.length === limit || candidates === MAX_CANDIDATES || bytes >= PAGE_BYTES || this.#isLate())
          return { found, place: sequence };
      }
      const end = endOf(segment, query);
      if (end === endOf(span, query) || segments === MAX_SEGMENTS || this.#isLate())
        return { found, place: end };
      segment = segmentAt(backwards ? end - 1 : end + 1, span);
    }
  }

  /** The first window of the span. */
  #read(query: EntryQuery, { first, last }: Span): Page {
    const { backwards, limit } = query;
    const window = backwards
      ? { first: Math.max(first, last - WINDOW + 1), last }
      : { first, last: Math.min(last, first + WINDOW - 1) };
    const found: Found[] = [];
    let [rest, bytes] = [window, 0];
    for (;;) {
      const some = together(rest, query);
      bytes += this.#readSome(query, some, found);
      const last = found.at(-1)?.sequence;
      if (found.length === limit && last !== undefined) return { found, place: last };
      const place = endOf(some, query);
      if (bytes >= PAGE_BYTES || place === endOf(window, query) || this.#isLate()) return { found, place };
      rest = backwards ? { ...rest, last: place - 1 } : { ...rest, first: place + 1 };
    }
  }

  #isLate(): boolean {
    return this.#monotonic() >= this.#end;
  }

  /** Until there are as many as were asked for. Returns how many bytes the events of this span have. */
  #readSome(query: EntryQuery, { first, last }: Span, found: Found[]): number {
    for (const row of this.#rows(query, first, last)) {
      this.#keep(row, query, found);
      if (found.length === query.limit) break;
    }
    return Number(this.#sql.bytes.get(first, last)?.['bytes']);
  }

  #keep(row: Row, query: EntryQuery, found: Found[]): void {
    const [sequence, event] = [Number(row['sequence']), String(row['event'])];
    if (!matches(query, event)) return;
    const text = entryText(new Date(Number(row['at'])), event);
    found.push({ sequence, text, index: this.#indexOf(sequence, found.at(-1)) });
  }

  /** Undefined for an event that is not integrated yet, and for one that is not there. */
  indexOf(sequence: number): number | undefined {
    return this.#count(sequence, sequence) === 1 ? this.#indexOf(sequence, undefined) : undefined;
  }

  #rows({ words, text, type, since, until, backwards }: EntryQuery, from: number, to: number) {
    const statement = backwards ? this.#sql.backwards : this.#sql.forwards;
    const part = lowerCase(printable(JSON.stringify(text)).slice(1, -1));
    // Written by `append`: the type is the first field.
    const head = type === undefined ? '' : `{"type":"${type}",`;
    return statement.iterate(from, to, since, until, words[0] ?? '', part, head);
  }

  /** From the block of the index, the checkpoint that first has it, or a neighbour that was found before. */
  #indexOf(sequence: number, near: Found | undefined): number | undefined {
    const checkpoint = this.#sql.checkpoint.get(sequence);
    if (checkpoint === undefined) return undefined;
    if (near === undefined || Math.abs(near.sequence - sequence) > NEAR) {
      const index = this.#index.indexOf(sequence);
      if (index !== undefined) return index;
    }
    const [size, through] = [Number(checkpoint['size']), Number(checkpoint['through'])];
    if (near?.index === undefined || Math.abs(near.sequence - sequence) > through - sequence)
      return size - this.#count(sequence, through);
    if (near.sequence > sequence) return near.index - this.#count(sequence, near.sequence - 1);
    return near.index + this.#count(near.sequence, sequence - 1);
  }

  #count(from: number, to: number): number {
    return Number(this.#sql.count.get(from, to)?.['entries']);
  }
}

function matches({ words, decision, withoutForeign }: EntryQuery, event: string): boolean {
  if (!words.every((word) => saysWord(event, word))) return false;
  if (withoutForeign === true && isForeign(event)) return false;
  // Written by `append` from this very type.
  return decision === undefined || decisionOf(JSON.parse(event) as AuditEvent) === decision;
}

/** No value can forge the field: its quotes would be escaped. */
const isForeign = (event: string): boolean =>
  event.startsWith('{"type":"call.recorded",') && event.includes('"foreign":true,');

/** As SQLite's lower(): letters of ASCII. */
const lowerCase = (text: string): string => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());

/** The first rows of a span, in the order of the query. */
function together({ first, last }: Span, { backwards }: EntryQuery): Span {
  return backwards
    ? { first: Math.max(first, last - TOGETHER + 1), last }
    : { first, last: Math.min(last, first + TOGETHER - 1) };
}

/** Where the search of a span ends. */
const endOf = ({ first, last }: Span, { backwards }: EntryQuery): number => (backwards ? first : last);

function statements(db: DatabaseSync) {
  const rows = (order: string) =>
    db.prepare(`SELECT sequence, at, event FROM audit
      WHERE sequence BETWEEN ?1 AND ?2 AND leaf = 1 AND at >= ?3 AND at < ?4
        AND substr(event, 1, length(?7)) = ?7 AND instr(event, ?5) > 0
        AND (?6 = '' OR instr(lower(event), ?6) > 0) ORDER BY sequence ${order}`);
  return {
    oldest: db.prepare('SELECT min(sequence) AS oldest FROM audit'),
    newest: db.prepare('SELECT max(sequence) AS newest FROM audit'),
    forwards: rows('ASC'),
    backwards: rows('DESC'),
    checkpoint: db.prepare(
      'SELECT size, through FROM checkpoints WHERE through >= ? ORDER BY through LIMIT 1',
    ),
    bytes: db.prepare('SELECT total(octet_length(event)) AS bytes FROM audit WHERE sequence BETWEEN ? AND ?'),
    count: db.prepare('SELECT count(*) AS entries FROM audit WHERE sequence BETWEEN ? AND ? AND leaf = 1'),
  };
}
