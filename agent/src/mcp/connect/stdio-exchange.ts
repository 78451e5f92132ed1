/** The requests of one stdio client at the gateway, and the session that its `initialize` began. */
import type { IncomingMessage } from 'node:http';
import { IdentityError, REFUSALS, refusalOf } from '@chancery/shared/errors.ts';
import { claimedVersion, headersFor } from '@chancery/shared/mcp/era.ts';
import {
  errorResponse,
  type Id,
  type Message,
  type Notification,
  type Request,
  type Response,
  readMessage,
  writeMessage,
} from '@chancery/shared/mcp/message.ts';
import { SseReader } from '@chancery/shared/mcp/sse.ts';
import { MAX_ANSWER_BYTES } from '../upstream/upstream.ts';
import { header, isEventStream, isJson, readBody } from '../wire/http-body.ts';
import type { Dialler } from './dial.ts';

export interface ExchangesOptions {
  readonly dialler: Dialler;
  /** To the client; false asks for a pause until `onDrain`. */
  write(message: Message): boolean;
  onDrain(resume: () => void): void;
}

interface Flight {
  readonly modern: boolean;
  readonly giveUp: () => void;
}

const ACCEPT = 'application/json, text/event-stream';
const CANCELLED = 'notifications/cancelled';

export class Exchanges {
  readonly #options: ExchangesOptions;
  readonly #flights = new Map<Id, Flight>();
  /** What the session began with, to begin it again when the gateway has lost it. */
  #initialize: Request | undefined;
  #session: string | undefined;
  #version: string | undefined;
  /** The last version a request claimed; notifications need not claim one. */
  #modern: string | undefined;
  #renewal: Promise<void> | undefined;

  constructor(options: ExchangesOptions) {
    this.#options = options;
  }

  /** Undefined before `initialize` and for a server without sessions. */
  get session(): string | undefined {
    return this.#session;
  }

  /** Resolves when the message has been answered, or taken; a failure is the client's answer, never a rejection. */
  async send(message: Message): Promise<void> {
    if (message.kind === 'notification' && this.#cancels(message)) return;
    if (message.kind === 'request' && message.method === 'initialize') this.#begin(message);
    try {
      await this.#post(message, true);
    } catch (error) {
      if (message.kind === 'request') this.#options.write(failureOf(message.id, error));
    }
  }

  /** The headers of whatever belongs to the legacy session. */
  sessionHeaders(): Record<string, string> {
    return {
      ...(this.#session === undefined ? {} : { 'mcp-session-id': this.#session }),
      ...(this.#version === undefined ? {} : { 'mcp-protocol-version': this.#version }),
    };
  }

  /** Passes what a stream of the gateway's says on to the client. Rejects when it breaks off. */
  stream(
    response: IncomingMessage,
    onMessage: (message: Message) => void,
    onId: (id: string) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      let flowing = true;
      const sink = {
        onEvent: ({ id, data }: { id: string | undefined; data: Uint8Array | undefined }) => {
          if (id !== undefined) onId(id);
          if (data === undefined || data.length === 0) return;
          const message = readMessage(data, MAX_ANSWER_BYTES);
          onMessage(message);
          flowing = this.#options.write(message);
        },
        onComment: () => {},
      };
      const reader = new SseReader(sink, MAX_ANSWER_BYTES);
      response.on('data', (chunk: Buffer) => {
        try {
          reader.push(chunk);
        } catch (error) {
          response.destroy();
          reject(error);
        }
        if (flowing) return;
        response.pause();
        this.#options.onDrain(() => response.resume());
      });
      response.once('end', resolve);
      response.once('close', () => reject(new IdentityError('mcp_upstream', 'the stream broke off')));
      response.once('error', reject);
    });
  }

  /** Gives up what is under way and tells the server that the session is over. */
  async end(): Promise<void> {
    for (const { giveUp } of this.#flights.values()) giveUp();
    if (this.#session === undefined) return;
    const headers = this.sessionHeaders();
    this.#session = undefined;
    await new Promise<void>((resolve) => {
      this.#options.dialler.send(
        { method: 'DELETE', headers, body: undefined },
        { onResponse: (response) => response.resume().once('close', resolve), onError: () => resolve() },
      );
    });
  }

  /** In the modern era HTTP cancels by closing the answer, so the notification that stdio has for it ends here. */
  #cancels({ method, params }: Notification): boolean {
    const id = params?.['requestId'];
    if (method !== CANCELLED || (typeof id !== 'string' && typeof id !== 'number')) return false;
    const flight = this.#flights.get(id);
    if (flight?.modern !== true) return false;
    flight.giveUp();
    this.#flights.delete(id);
    return true;
  }

  #begin(request: Request): void {
    this.#initialize = request;
    this.#session = this.#version = undefined;
  }

  async #post(message: Message, mayRenew: boolean): Promise<void> {
    const claimed = claimedVersion(message);
    if (claimed !== undefined) this.#modern = claimed;
    const response = await this.#reach(message, claimed !== undefined);
    if (response === undefined) return;
    const status = response.statusCode ?? 502;
    // 404 says that nothing was done, so the message may go again, in a new session.
    if (status === 404 && this.#session !== undefined && mayRenew) {
      response.resume();
      await this.#renew();
      return this.#post(message, false);
    }
    try {
      await this.#receive(message, response, status);
    } finally {
      if (message.kind === 'request') this.#flights.delete(message.id);
    }
  }

  /** Undefined when the client cancelled it meanwhile. */
  #reach(message: Message, modern: boolean): Promise<IncomingMessage | undefined> {
    const headers = {
      accept: ACCEPT,
      'content-type': 'application/json',
      ...this.#headersOf(message, modern),
    };
    return new Promise((resolve, reject) => {
      const abandon = this.#options.dialler.send(
        { method: 'POST', headers, body: writeMessage(message) },
        { onResponse: resolve, onError: reject },
      );
      const giveUp = (): void => {
        abandon();
        resolve(undefined);
      };
      if (message.kind === 'request') this.#flights.set(message.id, { modern, giveUp });
    });
  }

  #headersOf(message: Message, modern: boolean): Record<string, string> {
    if (modern) return headersFor(message);
    if (this.#initialize === undefined && this.#modern !== undefined)
      return { 'mcp-protocol-version': this.#modern };
    return this.sessionHeaders();
  }

  async #receive(message: Message, response: IncomingMessage, status: number): Promise<void> {
    const type = header(response, 'content-type');
    const session = header(response, 'mcp-session-id');
    const begins = message.kind === 'request' && message.method === 'initialize';
    if (begins && session !== undefined) this.#session = session;
    let answered = message.kind !== 'request';
    const answer = (given: Message): void => {
      if (given.kind !== 'response' || message.kind !== 'request' || given.id !== message.id) return;
      answered = true;
      if (begins) this.#version = versionIn(given);
    };
    if (status === 200 && isEventStream(type)) await this.stream(response, answer, () => {});
    else if (isJson(type)) {
      const given = readMessage(await readBody(response, MAX_ANSWER_BYTES), MAX_ANSWER_BYTES);
      // An error that names no request is about the one that was posted.
      const named = given.kind === 'response' && given.error !== undefined && message.kind === 'request';
      const shown = named ? { ...given, id: message.id } : given;
      answer(shown);
      if (message.kind === 'request') this.#options.write(shown);
    } else response.resume();
    if (!answered) throw new IdentityError('mcp_upstream', `no answer in HTTP ${status}`);
  }

  /** Begins the lost session again with what the client began it with; the client does not see the answer. */
  async #renew(): Promise<void> {
    const initialize = this.#initialize;
    if (initialize === undefined) throw new IdentityError('mcp_session', 'no session was begun');
    this.#renewal ??= this.#beginAgain(initialize).finally(() => {
      this.#renewal = undefined;
    });
    await this.#renewal;
  }

  async #beginAgain(initialize: Request): Promise<void> {
    this.#session = this.#version = undefined;
    const response = await this.#reach({ ...initialize, id: 'chancery-renewal' }, false);
    this.#flights.delete('chancery-renewal');
    const session = response === undefined ? undefined : header(response, 'mcp-session-id');
    response?.resume();
    if (session === undefined)
      throw refusalOf(undefined, 'mcp_session', 'the session could not be begun again');
    this.#session = session;
    const confirmed = await this.#reach(
      { kind: 'notification', method: 'notifications/initialized', params: undefined },
      false,
    );
    confirmed?.resume();
  }
}

function versionIn({
  result,
}: {
  readonly result: { readonly [key: string]: unknown } | undefined;
}): string | undefined {
  const version = result?.['protocolVersion'];
  return typeof version === 'string' ? version : undefined;
}

function failureOf(id: Id, error: unknown): Response {
  const { code } = refusalOf(error, 'internal', 'connect failed');
  return errorResponse(id, { code: -31502, message: REFUSALS[code].says });
}
