/**
 * Records of calls on their way to the CA: on disk until the CA has them. Each has a number. A write returns when the
 * kernel has the records, so that they outlast this process; `durable` waits for the disk. What is read for sending is
 * on the disk first, and each start names a new spool, so no number of a spool is ever used for two records.
 */
import { hash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { promisify } from 'node:util';
import { MAX_BATCH_BYTES, MAX_BATCH_RECORDS } from '@chancery/shared/audit/call-record.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { ensure, refusalOf } from '@chancery/shared/ground/errors.ts';
import { systemSentence } from '@chancery/shared/text/system-sentence.ts';
import { Instead } from './instead.ts';
import { writeLine } from './line.ts';
import { itemsFrom, type Place } from './reader.ts';
import { findSegments, makeSegment, renameSegments, type Segment } from './segments.ts';

export interface SpoolOptions {
  /** Made, 0700. No other process may use it. */
  readonly folder: string;
  /** Of all segments together. */
  readonly maxBytes: number;
}

/** Records in the order of their numbers; undefined stands for one that the disk has spoiled. */
export interface Batch {
  readonly first: number;
  readonly records: readonly (string | undefined)[];
  /** Whether more follow at once. */
  readonly more: boolean;
}

export interface Appending {
  /** Returns only when the records are on the disk. */
  readonly durable: boolean;
  /** Bytes that must stay free after it. */
  readonly spare: number;
}

/** A full spool is given back in so many parts. */
const PARTS = 16;
const MAX_SEGMENT_BYTES = 8 * 1024 * 1024;

const sync = promisify(fs.fdatasync);

/** The spool of one gateway, which closes it. */
export class Spool {
  /** Of what was sent in the place of records. */
  readonly instead: Instead;
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #segmentBytes: number;
  readonly #segments: Segment[];
  #bytes: number;
  #next: number;
  #through: number;
  #fd: number;
  /** Whether something was written since the last sync. */
  #isDirty = false;
  /** Where a write that failed could not be taken back. */
  #isTorn = false;
  #place: { readonly number: number; readonly from: Place } | undefined;
  #changed: () => void = () => {};

  /** Opens the spool, or makes it. Throws file. Blocks. */
  constructor({ folder, maxBytes }: SpoolOptions) {
    const { segments, next, fd } = findSegments(folder, newId());
    [this.#folder, this.#maxBytes, this.#next, this.#fd] = [folder, maxBytes, next, fd];
    this.instead = new Instead(folder);
    this.#segmentBytes = Math.min(MAX_SEGMENT_BYTES, Math.ceil(maxBytes / PARTS));
    this.#segments = [...segments];
    this.#bytes = segments.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#through = this.oldest - 1;
  }

  /** Names the spool of the oldest record, 16 bytes, hexadecimal: another one once the CA has all of that spool. */
  get id(): string {
    return (this.#segments[0] ?? this.#active).id;
  }

  /** The number of the oldest record that is still here, or of the next one. */
  get oldest(): number {
    return this.#segments[0]?.first ?? this.#next;
  }

  /** The number of the last record that the CA has. */
  get through(): number {
    return this.#through;
  }

  /** How many records the CA does not have yet. */
  get depth(): number {
    return this.#next - 1 - this.#through;
  }

  /** Of all its segments on the disk. */
  get bytes(): number {
    return this.#bytes;
  }

  get #active(): Segment {
    return this.#segments.at(-1) as Segment;
  }

  /** Those of the spool of the oldest record. */
  get #sent(): readonly Segment[] {
    const others = this.#segments.findIndex(({ id }) => id !== this.id);
    return others === -1 ? this.#segments : this.#segments.slice(0, others);
  }

  /** The number after the last one of that spool, so far. */
  get #end(): number {
    return this.#segments[this.#sent.length]?.first ?? this.#next;
  }

  /** Whether so many bytes have room. */
  hasRoom(bytes: number): boolean {
    return this.#bytes + bytes <= this.#maxBytes;
  }

  /** Writes all of them or none, by one write. Throws audit_spool. Blocks. */
  append(records: readonly string[], { durable, spare }: Appending): void {
    const text = records.map((json, index) => writeLine(this.#next + index, json)).join('');
    const size = Buffer.byteLength(text);
    const says = `${this.#folder} is full: the CA has not taken ${this.depth} records yet`;
    ensure(this.hasRoom(size + spare), 'audit_spool', says);
    try {
      this.#takeBack();
      if (this.#active.bytes > 0 && this.#active.bytes + size > this.#segmentBytes) this.#rotate();
      this.#isTorn = true;
      fs.writeFileSync(this.#fd, text);
      if (durable) fs.fdatasyncSync(this.#fd);
      this.#isTorn = false;
    } catch (error) {
      this.#quietlyTakeBack();
      const says = systemSentence(error) ?? String(error);
      throw refusalOf(error, 'audit_spool', `${this.#folder}: the call could not be recorded: ${says}`);
    }
    this.#isDirty ||= !durable;
    this.#active.bytes += size;
    this.#bytes += size;
    this.#next += records.length;
    this.#changed();
  }

  /** Waits for the disk. Rejects with what the file system says. */
  async sync(): Promise<void> {
    if (!this.#isDirty) return;
    this.#isDirty = false;
    let fd: number | undefined;
    try {
      // A copy: this segment may be closed meanwhile.
      fd = fs.openSync(this.#active.path, 'r');
      await sync(fd);
    } catch (error) {
      this.#isDirty = true;
      throw error;
    } finally {
      if (fd !== undefined) fs.closeSync(fd);
    }
  }

  /** The records of its spool after this number, at most so many; undefined for none. Blocks. */
  read(after: number, most = MAX_BATCH_RECORDS): Batch | undefined {
    const first = Math.max(after + 1, this.oldest);
    if (first >= this.#end) return undefined;
    const from = this.#place?.number === first ? this.#place.from : undefined;
    const records: (string | undefined)[] = [];
    let bytes = 0;
    for (const { json, after: place } of itemsFrom(this.#sent, this.#end, { number: first, from })) {
      bytes += json === undefined ? LOST_BYTES : Buffer.byteLength(json);
      if (records.length > 0 && bytes > MAX_BATCH_BYTES) break;
      records.push(json);
      this.#place = { number: first + records.length, from: place };
      if (records.length === most) break;
    }
    return { first, records, more: first + records.length < this.#next };
  }

  /** The oldest record that the CA does not have. Blocks. */
  oldestUnsent(): string | undefined {
    const place = this.#place;
    const json = this.depth === 0 ? undefined : this.read(this.#through)?.records[0];
    this.#place = place;
    return json;
  }

  /** The CA has all records of the spool up to this number: segments that have no others are removed. Blocks. */
  acknowledge(through: number): void {
    // It has come further than this: an older copy of the folder was put back.
    if (through >= this.#end) {
      this.beginAnew();
      return;
    }
    this.#through = Math.max(this.#through, through);
    while (this.#segments.length > 1 && (this.#segments[1]?.first ?? 0) <= through + 1) {
      const gone = this.#segments.shift();
      if (gone === undefined) return;
      fs.rmSync(gone.path, { force: true });
      this.#bytes -= gone.bytes;
    }
  }

  /** Resolves when there is something to read that was not there, or at the signal. */
  change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = resolve;
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** SHA-256 of the record with this number, hexadecimal; undefined if it is not here any more, or spoiled. Blocks. */
  digestOf(number: number): string | undefined {
    const place = this.#place;
    const json = number < this.oldest ? undefined : this.read(number - 1, 1)?.records[0];
    this.#place = place;
    return json === undefined ? undefined : hash('sha256', json, 'hex');
  }

  /** Closes the file. What is in the spool stays. */
  close(): void {
    fs.closeSync(this.#fd);
  }

  /**
   * As another spool: the CA takes these numbers for records that it has, and they are not the ones that are here. Some
   * of them may come to it twice. Blocks.
   */
  beginAnew(): void {
    renameSegments(this.#folder, this.#sent, newId());
    this.#through = this.oldest - 1;
    this.#place = undefined;
  }

  #rotate(): void {
    fs.fdatasyncSync(this.#fd);
    const { segment, fd } = makeSegment(this.#folder, this.#active.id, this.#next);
    fs.closeSync(this.#fd);
    this.#fd = fd;
    this.#segments.push(segment);
  }

  /** What a write that failed has left: the next record would be behind half of one. */
  #takeBack(): void {
    if (this.#isTorn) fs.ftruncateSync(this.#fd, this.#active.bytes);
    this.#isTorn = false;
  }

  #quietlyTakeBack(): void {
    try {
      this.#takeBack();
    } catch {
      // Tried again before the next write.
    }
  }
}

/** What stands for a spoiled record. */
const LOST_BYTES = 512;

const newId = (): string => hex(randomBytes(16));
