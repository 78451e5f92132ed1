/**
 * Server-sent events (WHATWG HTML section 9.2), read piece by piece and written anew. Never waits for a
 * stream's end.
 */
import { asBuffer } from '../ground/bytes.ts';
import { type Outline, OutlineReader } from './outline.ts';

export interface SseEvent {
  readonly id: string | undefined;
  readonly event: string | undefined;
  /** Milliseconds until the client may come back. */
  readonly retry: number | undefined;
  /** Bytes, because the reader of messages checks their UTF-8. */
  readonly data: Uint8Array | undefined;
}

/** A comment that keeps the connection alive. */
export const KEEP_ALIVE = ':\n\n';

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const BOM = Buffer.of(0xef, 0xbb, 0xbf);
/** About the memory of one view of bytes. */
const PIECE_BYTES = 128;

export interface SseSink {
  /** One whole event. */
  onEvent(event: SseEvent): void;
  /** A comment: a line that begins with a colon. */
  onComment(): void;
  /** An event was larger than the limit and was skipped. */
  onTooLarge(outlines: readonly Outline[]): void;
}

/** Of an event's type: only the default one carries messages (section 9.2.6: an empty type is the default one). */
export function carriesMessage({ event, data }: SseEvent): boolean {
  return (
    data !== undefined && data.length > 0 && (event === undefined || event === '' || event === 'message')
  );
}

/** `Last-Event-ID` is UTF-8 (section 9.2.3); Node writes a header's characters as bytes. */
export function lastEventHeader(id: string): string {
  return Buffer.from(id, 'utf8').toString('latin1');
}

/**
 * Parses one event stream. Calls its sink synchronously from `push`; an event that has not ended waits for the next
 * `push`.
 */
export class SseReader {
  readonly #sink: SseSink;
  readonly #maxBytes: number;
  #line: Uint8Array[] = [];
  #held = 0;
  #afterCr = false;
  #data: Uint8Array[] = [];
  #id: string | undefined;
  #event: string | undefined;
  #retry: number | undefined;
  #blank = true;
  /** The outline of an event that is too large: nothing else of it is kept. */
  #outline: OutlineReader | undefined;
  /** The first bytes of the stream, until it is known whether they are a byte order mark. */
  #begin: Buffer | undefined = Buffer.alloc(0);

  /** `maxBytes` bounds one event. */
  constructor(sink: SseSink, maxBytes: number) {
    this.#sink = sink;
    this.#maxBytes = maxBytes;
  }

  /** The memory of an incomplete event, with the cost of its pieces. */
  get held(): number {
    return this.#outline === undefined ? this.#held + PIECE_BYTES * this.#line.length : 0;
  }

  /** Calls the sink for each event that this chunk completes. */
  push(bytes: Uint8Array): void {
    const chunk = this.#begin === undefined ? bytes : this.#withoutBom(this.#begin, bytes);
    let start = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (byte !== LF && byte !== CR) continue;
      // CR LF is one end of line, also across chunks.
      if (!(byte === LF && this.#afterCr && at === start)) this.#endLine(chunk.subarray(start, at));
      this.#afterCr = byte === CR;
      start = at + 1;
    }
    if (start < chunk.length) {
      this.#afterCr = false;
      this.#add(chunk.subarray(start));
    }
  }

  /** One byte order mark may stand at the beginning of the stream (section 9.2.5). */
  #withoutBom(before: Buffer, bytes: Uint8Array): Uint8Array {
    const begin = Buffer.concat([before, bytes]);
    const first = begin.subarray(0, BOM.length);
    const open = first.length < BOM.length && BOM.subarray(0, first.length).equals(first);
    this.#begin = open ? begin : undefined;
    if (open) return new Uint8Array();
    return BOM.equals(first) ? begin.subarray(BOM.length) : begin;
  }

  #endLine(tail: Uint8Array): void {
    this.#add(tail);
    const blank = this.#blank;
    this.#blank = true;
    if (this.#outline !== undefined) {
      if (blank) this.#dispatchTooLarge(this.#outline);
      return;
    }
    const line = joinLine(this.#line);
    this.#line = [];
    if (line.length === 0) this.#dispatch();
    else if (line[0] === COLON) this.#comment(line);
    else this.#field(line);
  }

  #comment(line: Uint8Array): void {
    this.#held -= line.length;
    this.#sink.onComment();
  }

  #field(line: Uint8Array): void {
    const colon = line.indexOf(COLON);
    const name = text(colon === -1 ? line : line.subarray(0, colon));
    const value =
      colon === -1 ? new Uint8Array() : line.subarray(line[colon + 1] === SPACE ? colon + 2 : colon + 1);
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#event = text(value);
    else if (name === 'id' && isEventId(text(value))) this.#id = text(value);
    else if (name === 'retry' && /^[0-9]{1,9}$/.test(text(value))) this.#retry = Number(text(value));
  }

  #dispatch(): void {
    const data = this.#data.length === 0 ? undefined : joinLines(this.#data);
    const event = { id: this.#id, event: this.#event, retry: this.#retry, data };
    this.#held = 0;
    this.#data = [];
    this.#id = this.#event = this.#retry = undefined;
    if (data !== undefined || event.id !== undefined || event.retry !== undefined) this.#sink.onEvent(event);
  }

  #dispatchTooLarge(outline: OutlineReader): void {
    const event = { id: this.#id, event: this.#event, retry: this.#retry, data: undefined };
    this.#outline = undefined;
    this.#held = 0;
    this.#id = this.#event = this.#retry = undefined;
    if (event.id !== undefined || event.retry !== undefined) this.#sink.onEvent(event);
    this.#sink.onTooLarge(outline.finish());
  }

  /** A part of the line that is being read. */
  #add(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#blank = false;
    this.#held += bytes.length;
    if (this.#outline !== undefined) {
      this.#outline.push(bytes);
      return;
    }
    this.#line.push(bytes);
    if (this.#held <= this.#maxBytes) return;
    // Names of fields are outside the message, so they do not count.
    this.#outline = new OutlineReader();
    for (const each of [...this.#data, ...this.#line]) this.#outline.push(each);
    this.#data = [];
    this.#line = [];
  }
}

/** The client sends the id back in a header, which cannot hold control characters. An empty id resets it. */
export function isEventId(id: string): boolean {
  return id.length <= 1_024 && !/\p{Cc}|\ufffd/u.test(id.replaceAll('\t', ''));
}

function joinLine(parts: readonly Uint8Array[]): Uint8Array {
  const [only, more] = parts;
  return only !== undefined && more === undefined ? only : Buffer.concat(parts);
}

/** `data` is one line: JSON.stringify escapes every line end. */
export function writeEvent(event: Pick<SseEvent, 'id' | 'retry'>, data: string | undefined): string {
  const id = event.id === undefined ? '' : `id: ${event.id}\n`;
  const retry = event.retry === undefined ? '' : `retry: ${event.retry}\n`;
  return data === undefined ? `${id}${retry}data:\n\n` : `${id}${retry}event: message\ndata: ${data}\n\n`;
}

function joinLines(lines: readonly Uint8Array[]): Uint8Array {
  const [only] = lines;
  // Most events are one line, which needs no copy.
  if (lines.length === 1 && only !== undefined) return only;
  return Buffer.concat(lines.flatMap((line, index) => (index === 0 ? [line] : [Uint8Array.of(LF), line])));
}

function text(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('utf8');
}
