/** Looks for audit events, a bounded number of rows for each page: part of the SQLite store. */
import type { DatabaseSync } from 'node:sqlite';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { decisionOf, entryText } from '@chancery/shared/audit/leaves.ts';
import type { EntryQuery, FoundEntries, FoundEntry } from '../../log-store.ts';

/** Rows that one page looks at: about ten milliseconds. */
const WINDOW = 10_000;

interface Found extends FoundEntry {
  readonly sequence: number;
}

/** Prepares its statements once, on a connection that the caller owns. Every method blocks. */
export class EntrySearch {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** A page, and where the next one goes on. */
  search(query: EntryQuery): FoundEntries {
    const newest = Number(this.#sql.newest.get()?.['newest'] ?? 0);
    const { backwards, limit } = query;
    const place = query.place ?? (backwards ? newest + 1 : 0);
    const end = backwards ? Math.max(place - WINDOW, 0) : Math.min(place + WINDOW, newest);
    const [from, to] = backwards ? [end, place - 1] : [place, end];
    const rows = this.#rows(query, from, to);
    const found: Found[] = [];
    for (const row of rows) {
      const [sequence, event] = [Number(row['sequence']), String(row['event'])];
      if (!matches(query, event)) continue;
      const text = entryText(new Date(Number(row['at'])), event);
      found.push({ sequence, text, index: this.#indexOf(sequence, found.at(-1)) });
      if (found.length === limit) break;
    }
    const last = found.length === limit ? found.at(-1)?.sequence : undefined;
    const next = last ?? (backwards ? end + 1 : Math.max(end, place));
    const more = backwards ? next > 1 : next < newest;
    return { found: found.map(({ index, text }) => ({ index, text })), place: next, newest, more };
  }

  /** Undefined for an event that is not integrated yet, and for one that is not there. */
  indexOf(sequence: number): number | undefined {
    return this.#count(sequence, sequence) === 1 ? this.#indexOf(sequence, undefined) : undefined;
  }

  #rows({ words, text, since, until, backwards }: EntryQuery, from: number, to: number) {
    const statement = backwards ? this.#sql.backwards : this.#sql.forwards;
    const like = `%${JSON.stringify(text)
      .slice(1, -1)
      .replace(/[\\%_]/g, '\\$&')}%`;
    return statement.iterate(from, to, since, until, words[0] ?? '', like);
  }

  /** From the checkpoint that first has it, or from a neighbour that was found before. */
  #indexOf(sequence: number, near: Found | undefined): number | undefined {
    const checkpoint = this.#sql.checkpoint.get(sequence);
    if (checkpoint === undefined) return undefined;
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

function matches({ words, decision }: EntryQuery, event: string): boolean {
  if (!words.every((word) => hasWord(event, word))) return false;
  // Written by `append` from this very type.
  return decision === undefined || decisionOf(JSON.parse(event) as AuditEvent) === decision;
}

/** Not as a part of a longer SPIFFE ID, number or code. */
function hasWord(text: string, word: string): boolean {
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1))
    if (!IN_WORD.test(text[at - 1] ?? '') && !IN_WORD.test(text[at + word.length] ?? '')) return true;
  return false;
}

const IN_WORD = /[\w./-]/;

function statements(db: DatabaseSync) {
  const rows = (order: string) =>
    db.prepare(`SELECT sequence, at, event FROM audit
      WHERE sequence > ?1 AND sequence <= ?2 AND leaf = 1 AND at >= ?3 AND at < ?4
        AND instr(event, ?5) > 0 AND event LIKE ?6 ESCAPE '\\' ORDER BY sequence ${order}`);
  return {
    newest: db.prepare('SELECT max(sequence) AS newest FROM audit'),
    forwards: rows('ASC'),
    backwards: rows('DESC'),
    checkpoint: db.prepare(
      'SELECT size, through FROM checkpoints WHERE through >= ? ORDER BY through LIMIT 1',
    ),
    count: db.prepare('SELECT count(*) AS entries FROM audit WHERE sequence BETWEEN ? AND ? AND leaf = 1'),
  };
}
