/** The stream for messages that a legacy server sends unasked. It is open as long as the session. */
import type { IncomingMessage } from 'node:http';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { lastEventHeader } from '@chancery/shared/mcp/sse.ts';
import type { Dialler } from '../dial.ts';
import type { Exchanges } from './exchange.ts';

export interface StdioListenOptions {
  readonly dialler: Dialler;
  readonly clock: Clock;
  readonly exchanges: Exchanges;
  /** Called after each end of the stream, and when it cannot be opened. */
  readonly onEnd?: () => void;
}

const FIRST_WAIT_SECONDS = 1;
const LONGEST_WAIT_SECONDS = 30;

/** Opens the stream again whenever it ends: after 1 s, doubling to 30 s. `stop` ends this. */
export class StdioListen {
  readonly #options: StdioListenOptions;
  readonly #stopped = new AbortController();
  #running = false;
  #giveUp: (() => void) | undefined;

  constructor(options: StdioListenOptions) {
    this.#options = options;
  }

  /** Opens the stream, and opens it again after each end, until `stop` or a 405. Does nothing the second time. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  /** Ends the stream for good. */
  stop(): void {
    this.#stopped.abort();
    this.#giveUp?.();
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    let last: { readonly id: string; readonly session: string | undefined } | undefined;
    let wait = FIRST_WAIT_SECONDS;
    while (!this.#stopped.signal.aborted) {
      // An event id of a lost session is no place in the next one.
      const resumable = last?.session === this.#options.exchanges.session;
      const response = await this.#open(resumable ? last?.id : undefined);
      // The server has no such stream, or the session is gone: the next request finds out.
      if (response?.statusCode === 405) return;
      if (response?.statusCode === 200) {
        wait = FIRST_WAIT_SECONDS;
        const { session } = this.#options.exchanges;
        const seen = (id: string | undefined): void => {
          if (id !== undefined) last = { id, session };
        };
        await this.#options.exchanges.stream(response, seen).catch(() => {});
      } else response?.resume();
      if (!this.#stopped.signal.aborted) this.#options.onEnd?.();
      await clock.sleepUntil(addSeconds(clock.now(), wait), this.#stopped.signal).catch(() => {});
      wait = Math.min(wait * 2, LONGEST_WAIT_SECONDS);
    }
  }

  #open(last: string | undefined): Promise<IncomingMessage | undefined> {
    const { dialler, exchanges } = this.#options;
    const place: Record<string, string> =
      last === undefined || last === '' ? {} : { 'last-event-id': lastEventHeader(last) };
    const headers = { accept: 'text/event-stream', ...exchanges.sessionHeaders(), ...place };
    return new Promise((resolve) => {
      this.#giveUp = dialler.send(
        { method: 'GET', headers, body: undefined },
        { onResponse: resolve, onError: () => resolve(undefined) },
      );
    });
  }
}
