/** The beginning of an event stream, which waits a moment for the first message to leave with. */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';

/**
 * So long the head of a stream, and events that only mark a place in it, wait for the first message to leave with: a
 * server's commonest stream is one mark and one answer, and each piece costs a wake-up on every machine on the way.
 */
const HOLD_MS = 5;

/** Delays the head of one event stream for its first message. Writes nothing before `open`. */
export class Held {
  readonly #res: ServerResponse;
  #headers: OutgoingHttpHeaders | undefined;
  #marks = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(res: ServerResponse) {
    this.#res = res;
  }

  /** Whether the stream is open, and its head has not left. */
  get holds(): boolean {
    return this.#headers !== undefined;
  }

  /** `briefly`: for a moment; else until it is released. */
  open(headers: OutgoingHttpHeaders, briefly: boolean): void {
    this.#headers = headers;
    if (briefly) this.#timer = setTimeout(() => this.release(), HOLD_MS);
  }

  /** An event, which waits as long as the head does. */
  write(event: string): void {
    if (this.#headers === undefined) this.#res.write(event);
    else this.#marks += event;
  }

  release(): void {
    if (this.#headers === undefined) return;
    this.#res.writeHead(200, this.#headers);
    if (this.#marks === '') this.#res.flushHeaders();
    else this.#res.write(this.#marks);
    this.drop();
  }

  /** The response is closed. */
  drop(): void {
    clearTimeout(this.#timer);
    this.#headers = undefined;
    this.#marks = '';
  }
}
