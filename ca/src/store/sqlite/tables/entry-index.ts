/**
 * Finds audit events by word and by time without reading all of them: part of the SQLite store. The index is filled
 * after the events, in bounded steps, up to a mark; what is after the mark has to be read. It leads to candidates,
 * which the caller looks at. Words are kept by segments of the log: what is written together lies together on the disk.
 */
import { hash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { type Decision, decisionOf } from '@chancery/shared/audit/leaves.ts';
import { indexedWords } from '@chancery/shared/audit/words.ts';

/** Events by sequence: the times of a block are known, the words of a segment have one place. */
export const BLOCK = 256;
export const SEGMENT = 65_536;

/** One step ends with the event that reaches one of them: about twenty milliseconds of the database. */
const STEP_WORDS = 2_000;
const STEP_LENGTH = 512 * 1024;

/** How far the index is: the last event, and how many entries there are up to it. */
export interface Mark {
  readonly through: number;
  readonly entries: number;
}

/** Milliseconds since 1970: from `since` on, before `until`. */
export interface Times {
  readonly since: number;
  readonly until: number;
}

/** Sequences: from the first to the last. */
export interface Span {
  readonly first: number;
  readonly last: number;
}

export interface Ordered extends Times {
  readonly backwards: boolean;
}

interface Block {
  readonly entries: number;
  readonly from: number;
  readonly to: number;
}

/** Prepares its statements once, on a connection that the caller owns. Every method blocks. */
export class EntryIndex {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#sql = statements(db);
  }

  /** Blocks. */
  mark(): Mark {
    const row = this.#sql.mark.get();
    return { through: Number(row?.['through'] ?? 0), entries: Number(row?.['entries'] ?? 0) };
  }

  /** Adds the next events in the caller's transaction: at most `limit`, and bounded. False if there were no more. */
  fill(limit: number): boolean {
    let { through, entries } = this.mark();
    let [rows, words, length] = [0, 0, 0];
    const blocks = new Map<number, Block>();
    const hashed = remembered(hashOf);
    for (const row of this.#sql.rows.iterate(through, limit)) {
      through = Number(row['sequence']);
      rows += 1;
      if (row['leaf'] !== 1) continue;
      const [block, at, event] = [blockOf(through), Number(row['at']), String(row['event'])];
      const known = blocks.get(block) ?? { entries, from: at, to: at };
      blocks.set(block, { ...known, from: Math.min(known.from, at), to: Math.max(known.to, at) });
      for (const word of wordsOf(event)) {
        this.#sql.insertWord.run(segmentOf(through), hashed(word), through);
        words += 1;
      }
      entries += 1;
      length += event.length;
      if (words >= STEP_WORDS || length >= STEP_LENGTH) break;
    }
    for (const [block, { entries: before, from, to }] of blocks)
      this.#sql.insertBlock.run(block, before, from, to);
    if (rows > 0) this.#sql.setMark.run(through, entries);
    return rows === limit || words >= STEP_WORDS || length >= STEP_LENGTH;
  }

  /** The index in the log of an entry at or before the mark. */
  indexOf(sequence: number): number | undefined {
    const block = blockOf(sequence);
    const before = this.#sql.block.get(block)?.['entries'];
    if (before === undefined) return undefined;
    return Number(before) + Number(this.#sql.count.get(block * BLOCK, sequence - 1)?.['entries']);
  }

  /** Events of a span with this word, and perhaps others. The span is part of one segment. */
  *candidates(word: string, span: Span, { backwards, ...times }: Ordered): Iterable<number> {
    const { first, last } = this.#within(span, times) ?? NONE;
    const statement = backwards ? this.#sql.wordBackwards : this.#sql.wordForwards;
    for (const row of statement.iterate(segmentOf(first), hashOf(word), first, last, hashOf(TO_BE_READ)))
      yield Number(row['sequence']);
  }

  /** The words, the rarest of this span's segment first. */
  rarestFirst(words: readonly string[], { first }: Span): readonly string[] {
    if (words.length < 2) return words;
    const count = (word: string) => Number(this.#sql.few.get(segmentOf(first), hashOf(word))?.['found']);
    return words
      .map((word) => ({ word, found: count(word) }))
      .sort((a, b) => a.found - b.found)
      .map(({ word }) => word);
  }

  /** Whether the event may have all of these words. */
  mayHave(words: readonly string[], sequence: number): boolean {
    const has = (word: string) => this.#sql.hasWord.get(segmentOf(sequence), hashOf(word), sequence);
    return has(TO_BE_READ) !== undefined || words.every((word) => has(word) !== undefined);
  }

  /** The span without the blocks at its beginning or its end that have no event of these times. */
  from(span: Span, { since, until, backwards }: Ordered): Span | undefined {
    const statement = backwards ? this.#sql.blockBackwards : this.#sql.blockForwards;
    const block = statement.get(blockOf(span.first), blockOf(span.last), since, until)?.['block'];
    if (block === undefined) return undefined;
    return backwards
      ? { ...span, last: Math.min(span.last, Number(block) * BLOCK + BLOCK - 1) }
      : { ...span, first: Math.max(span.first, Number(block) * BLOCK) };
  }

  /** As `from`, at both ends. */
  #within(span: Span, times: Times): Span | undefined {
    const begun = this.from(span, { ...times, backwards: false });
    return begun && this.from(begun, { ...times, backwards: true });
  }
}

const NONE: Span = { first: 0, last: -1 };

const blockOf = (sequence: number): number => Math.floor(sequence / BLOCK);
const segmentOf = (sequence: number): number => Math.floor(sequence / SEGMENT);

/** The segment of this event, as far as it is in the span. */
export function segmentAt(sequence: number, { first, last }: Span): Span {
  const begin = segmentOf(sequence) * SEGMENT;
  return { first: Math.max(begin, first), last: Math.min(begin + SEGMENT - 1, last) };
}

/** Six bytes: an event that only has a word with the same hash is a candidate, and nothing worse. */
const hashOf = (word: string): number => hash('sha256', word, 'buffer').readUIntBE(0, 6);

/** The same function for one step: calls of a minute have the same caller, server and certificates. */
function remembered(of: typeof hashOf): typeof hashOf {
  const known = new Map<string, number>();
  return (word) => {
    const value = known.get(word) ?? of(word);
    known.set(word, value);
    return value;
  };
}

function wordsOf(text: string): Iterable<string> {
  // Written by `append` from this very type.
  const event = JSON.parse(text) as AuditEvent;
  const decision = decisionOf(event);
  const words = indexedWords(text, event) ?? [TO_BE_READ];
  return isRare(decision) ? [...words, wordOfDecision(decision)] : words;
}

/** Most events are allowed: reading finds those as fast. */
export const isRare = (decision: Decision | undefined): decision is Decision =>
  decision !== undefined && decision !== 'allowed';

/** No event has it: a text has no space in a word. */
export const wordOfDecision = (decision: Decision): string => `decision ${decision}`;

/** In place of the words of an event that has too many: it may have every word. */
const TO_BE_READ = 'to be read';

function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  const word = 'SELECT sequence FROM audit_words WHERE segment = ?1 AND sequence BETWEEN ?3 AND ?4 AND word';
  const words = (order: string) => sql(`${word} = ?2 UNION ${word} = ?5 ORDER BY sequence ${order}`);
  const ofTimes = 'block BETWEEN ?1 AND ?2 AND to_at >= ?3 AND from_at < ?4';
  const block = (order: string) =>
    sql(`SELECT block FROM audit_blocks WHERE ${ofTimes} ORDER BY block ${order} LIMIT 1`);
  return {
    mark: sql('SELECT through, entries FROM audit_mark'),
    setMark: sql('UPDATE audit_mark SET through = ?, entries = ?'),
    rows: sql('SELECT sequence, at, event, leaf FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?'),
    insertWord: sql('INSERT OR IGNORE INTO audit_words VALUES (?, ?, ?)'),
    insertBlock: sql(`INSERT INTO audit_blocks VALUES (?, ?, ?, ?) ON CONFLICT (block) DO UPDATE
      SET from_at = min(from_at, excluded.from_at), to_at = max(to_at, excluded.to_at)`),
    block: sql('SELECT entries FROM audit_blocks WHERE block = ?'),
    count: sql('SELECT count(*) AS entries FROM audit WHERE sequence BETWEEN ? AND ? AND leaf = 1'),
    wordForwards: words('ASC'),
    wordBackwards: words('DESC'),
    few: sql(
      'SELECT count(*) AS found FROM (SELECT 1 FROM audit_words WHERE segment = ? AND word = ? LIMIT 256)',
    ),
    hasWord: sql('SELECT 1 FROM audit_words WHERE segment = ? AND word = ? AND sequence = ?'),
    blockForwards: block('ASC'),
    blockBackwards: block('DESC'),
  };
}
