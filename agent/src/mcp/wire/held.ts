/** Holds the beginning of an event stream for a moment, so that it leaves together with the first message. */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';

/**
 * How long the head of a stream, and events that only mark a place, wait for the first message. Most streams are one
 * mark and one answer, and each piece costs a wake-up on every machine on the way.
 */
const HOLD_MS = 5;

/** Delays the head of one event stream until its first message. Writes nothing before `open`. */
export class Held {
  readonly #res: ServerResponse;
  #headers: OutgoingHttpHeaders | undefined;
  #marks = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(res: ServerResponse) {
    this.#res = res;
  }

  /** True if the stream is open and its head is still held. */
  get holds(): boolean {
    return this.#headers !== undefined;
  }

  /** `briefly`: holds the head for a moment; else until it is released. */
  open(headers: OutgoingHttpHeaders, briefly: boolean): void {
    this.#headers = headers;
    if (briefly) this.#timer = setTimeout(() => this.release(), HOLD_MS);
  }

  /** Writes an event, which waits as long as the head. */
  write(event: string): void {
    if (this.#headers === undefined) this.#res.write(event);
    else this.#marks += event;
  }

  /** Writes what is held. Does nothing if nothing is. */
  release(): void {
    if (this.#headers === undefined) return;
    this.#res.writeHead(200, this.#headers);
    if (this.#marks === '') this.#res.flushHeaders();
    else this.#res.write(this.#marks);
    this.drop();
  }

  /** Drops what is held: the response is closed. */
  drop(): void {
    clearTimeout(this.#timer);
    this.#headers = undefined;
    this.#marks = '';
  }
}
