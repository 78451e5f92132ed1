/**
 * Server-sent events (WHATWG HTML section 9.2), read piece by piece and written anew. Never waits for a
 * stream's end.
 */
import { asBuffer } from '../bytes.ts';
import { ensure } from '../errors.ts';

export interface SseEvent {
  readonly id: string | undefined;
  readonly event: string | undefined;
  /** Milliseconds until the client may come back. */
  readonly retry: number | undefined;
  /** Bytes, because the reader of messages checks their UTF-8. */
  readonly data: Uint8Array | undefined;
}

/** What keeps a connection alive, and nothing else. */
export const KEEP_ALIVE = ':\n\n';

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
/** An id comes back to us in a header. */
const ID = /^[!-~]{1,256}$/;

export interface SseSink {
  onEvent(event: SseEvent): void;
  onComment(): void;
}

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

  /** `maxBytes` bounds one event; more throws mcp_size. */
  constructor(sink: SseSink, maxBytes: number) {
    this.#sink = sink;
    this.#maxBytes = maxBytes;
  }

  /** Calls the sink for each event that this chunk completes. */
  push(chunk: Uint8Array): void {
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
      this.#hold(chunk.subarray(start));
      this.#line.push(chunk.subarray(start));
    }
  }

  #endLine(tail: Uint8Array): void {
    this.#hold(tail);
    const line = this.#line.length === 0 ? tail : Buffer.concat([...this.#line, tail]);
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
    else if (name === 'id' && ID.test(text(value))) this.#id = text(value);
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

  #hold(bytes: Uint8Array): void {
    this.#held += bytes.length;
    ensure(this.#held <= this.#maxBytes, 'mcp_size', `an event is larger than ${this.#maxBytes} bytes`);
  }
}

/** `data` is one line: JSON.stringify escapes every line end. */
export function writeEvent(event: Pick<SseEvent, 'id' | 'retry'>, data: string | undefined): string {
  const id = event.id === undefined ? '' : `id: ${event.id}\n`;
  const retry = event.retry === undefined ? '' : `retry: ${event.retry}\n`;
  return data === undefined ? `${id}${retry}data:\n\n` : `${id}${retry}event: message\ndata: ${data}\n\n`;
}

function joinLines(lines: readonly Uint8Array[]): Uint8Array {
  const [only] = lines;
  if (lines.length === 1 && only !== undefined) return only;
  return Buffer.concat(lines.flatMap((line, index) => (index === 0 ? [line] : [Uint8Array.of(LF), line])));
}

function text(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('utf8');
}
