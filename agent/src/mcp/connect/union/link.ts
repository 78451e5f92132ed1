/**
 * One client's conversation with one server behind the union. Ids and progress tokens are numbers of this conversation,
 * so no server can see or use those of another.
 */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject } from '@chancery/shared/ground/json.ts';
import type { Id, Message, Notification, Request, Response } from '@chancery/shared/mcp/message.ts';
import { type Dialler, SERVER_MAY_HAVE_ACTED } from '../dial.ts';
import { Exchanges, type ExchangesOptions } from '../stdio/exchange.ts';
import { StdioListen } from '../stdio/listen.ts';

export interface LinkOptions extends Pick<ExchangesOptions, 'clock' | 'log' | 'onDrain' | 'full'> {
  readonly dialler: Dialler;
  /** A request or a notification of the server. False asks for a pause. */
  onMessage(message: Request | Notification): boolean;
  /** The server's own stream has ended, or could not be opened. It is opened again meanwhile. */
  onStreamEnd(): void;
}

interface Pending {
  readonly progressToken: Id | undefined;
  resolve(response: Response): void;
}

export interface Asked {
  readonly method: string;
  readonly params: JsonObject | undefined;
}

/** `end` ends its session and its streams. */
export class Link {
  readonly #options: LinkOptions;
  readonly #exchanges: Exchanges;
  readonly #listen: StdioListen;
  readonly #pending = new Map<Id, Pending>();
  #last = 0;
  #onIdle: (() => void) | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    const { clock, dialler } = options;
    this.#exchanges = new Exchanges({ ...options, write: (message) => this.#take(message) });
    const onEnd = (): void => options.onStreamEnd();
    this.#listen = new StdioListen({ dialler, clock, exchanges: this.#exchanges, onEnd });
  }

  /** Resolves with the server's answer, or with the error that connect gives instead. Rejects when `signal` aborts. */
  ask({ method, params }: Asked, signal?: AbortSignal): Promise<Response> {
    const id = ++this.#last;
    const { token: progressToken, params: own } = withToken(params, id);
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    if (signal?.aborted) return Promise.reject(signal.reason);
    this.#pending.set(id, { progressToken, resolve });
    const cancel = (): void => {
      if (!this.#pending.delete(id)) return;
      reject(signal?.reason);
      void this.tell({ method: 'notifications/cancelled', params: { requestId: id } });
    };
    signal?.addEventListener('abort', cancel, { once: true });
    void this.#exchanges.send({ kind: 'request', id, method, params: own }).finally(() => {
      signal?.removeEventListener('abort', cancel);
      if (this.#pending.delete(id)) reject(new IdentityError('mcp_outcome', GIVEN_UP));
      if (this.#pending.size === 0) this.#onIdle?.();
    });
    return promise;
  }

  /** Resolves when the notification is sent, or lost. */
  tell({ method, params }: Asked): Promise<void> {
    return this.#exchanges.send({ kind: 'notification', method, params });
  }

  /** Answers a request of the server. */
  answer(response: Response): Promise<void> {
    return this.#exchanges.send(response);
  }

  /** Opens the stream of a legacy session for what the server sends unasked. */
  listen(): void {
    this.#listen.start();
  }

  /** Resolves when no request is open. Stops the streams, so that none is begun by the server. */
  async idle(): Promise<void> {
    this.#listen.stop();
    if (this.#pending.size > 0)
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
  }

  /** Gives up open requests and ends the session at the server. */
  async end(): Promise<void> {
    this.#listen.stop();
    await this.#exchanges.end();
  }

  #take(message: Message): boolean {
    if (message.kind === 'response') {
      const asked = message.id === undefined ? undefined : this.#pending.get(message.id);
      if (message.id !== undefined) this.#pending.delete(message.id);
      asked?.resolve(message);
      return !this.#options.full();
    }
    if (message.method !== 'notifications/progress') return this.#options.onMessage(message);
    const token = message.params?.['progressToken'];
    const of = typeof token === 'string' ? Number(token) : token;
    const progressToken = typeof of === 'number' ? this.#pending.get(of)?.progressToken : undefined;
    // A token that is not of an open request would be progress of another server's call.
    if (progressToken === undefined) return true;
    return this.#options.onMessage({ ...message, params: { ...message.params, progressToken } });
  }
}

const GIVEN_UP = `the session with the MCP server ended before the answer; ${SERVER_MAY_HAVE_ACTED}`;

/** The client's progress token, and the parameters with ours instead. */
function withToken(params: JsonObject | undefined, own: number) {
  const meta = params?.['_meta'];
  const given = isJsonObject(meta) ? meta['progressToken'] : undefined;
  if (!isJsonObject(meta) || (typeof given !== 'string' && typeof given !== 'number'))
    return { token: undefined, params };
  return { token: given, params: { ...params, _meta: { ...meta, progressToken: own } } };
}
