/** The beginning of an event stream, which waits a moment for the first message to leave with. */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';

/**
 * So long the head of a stream, and events that only mark a place in it, wait for the first message to leave with: a
 * server's commonest stream is one mark and one answer, and each piece costs a wake-up on every machine on the way.
 */
const HOLD_MS = 5;

export class Held {
  readonly #res: ServerResponse;
  #timer: NodeJS.Timeout | undefined;

  constructor(res: ServerResponse) {
    this.#res = res;
  }

  open(headers: OutgoingHttpHeaders): void {
    this.#res.cork();
    this.#res.writeHead(200, headers);
    this.#res.flushHeaders();
    this.#timer = setTimeout(() => this.release(), HOLD_MS);
  }

  release(): void {
    if (this.#timer === undefined) return;
    this.drop();
    this.#res.uncork();
  }

  /** The response is closed. */
  drop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
