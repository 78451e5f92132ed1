/** The requests of one stdio client at the gateway, and the session that its `initialize` began. */
import type { IncomingMessage } from 'node:http';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { claimedVersion, headersFor } from '@chancery/shared/mcp/era.ts';
import {
  type Id,
  type Message,
  type Notification,
  type Request,
  writeMessage,
} from '@chancery/shared/mcp/message.ts';
import { lastEventHeader } from '@chancery/shared/mcp/sse.ts';
import { CANCELLED, cancelledId } from '../../upstream/numbering.ts';
import { isSessionLost } from '../../wire/answer/session-lost.ts';
import { header, isEventStream } from '../../wire/http-body.ts';
import { skippedLog } from '../../wire/skipped.ts';
import { type Dialler, type Posted, SERVER_MAY_HAVE_ACTED } from '../dial.ts';
import { MAX_RESUMPTIONS } from '../relay.ts';
import { answerTo, drain, failureOf, jsonOf } from './answer.ts';
import { StdioSession } from './session.ts';
import { readStream } from './stream.ts';
import { TracedClient } from './traced.ts';

export interface ExchangesOptions {
  readonly dialler: Dialler;
  readonly clock: Clock;
  readonly log: Log;
  /** Writes to the client. False asks for a pause until `onDrain`. */
  write(message: Message): boolean;
  /** Calls once, when the client has read enough. */
  onDrain(resume: () => void): void;
  /** True if the client has too much to read: then no further answer is fetched for it. */
  readonly full: () => boolean;
}

interface Flight {
  readonly modern: boolean;
  readonly stop: AbortController;
}

const ACCEPT = 'application/json, text/event-stream';
/** The pause before a stream is resumed, if the server does not say. */
const RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;

/** Sends the messages of one stdio client. Answers go out by `write` of its options, in any order. */
export class Exchanges {
  readonly #options: ExchangesOptions;
  readonly #tracing: TracedClient;
  readonly #skip: (what: string) => void;
  readonly #flights = new Map<Id, Flight>();
  #session: StdioSession | undefined;
  /** The version of the last request that named one; notifications need not. */
  #modern: string | undefined;
  #renewal: Promise<void> | undefined;

  constructor(options: ExchangesOptions) {
    const { dialler } = options;
    this.#tracing = new TracedClient(dialler.spans, dialler.server);
    const write = (message: Message): boolean => {
      this.#tracing.answered(message);
      return options.write(message);
    };
    this.#options = { ...options, onDrain: (resume) => options.onDrain(resume), write };
    this.#skip = skippedLog(options.log, 'the gateway');
  }

  /** Undefined before `initialize` and for a server without sessions. */
  get session(): string | undefined {
    return this.#session?.id;
  }

  /** The headers of messages in the legacy session. */
  sessionHeaders(): Record<string, string> {
    return this.#session?.headers() ?? {};
  }

  /** Resolves when the message is answered or accepted. Never rejects: a failure is an answer to the client. */
  async send(read: Message): Promise<void> {
    const message = this.#tracing.asked(read);
    if (message.kind !== 'request') return this.#tell(message);
    if (message.method === 'initialize') this.#session = new StdioSession(message);
    const flight = { modern: claimedVersion(message) !== undefined, stop: new AbortController() };
    this.#flights.set(message.id, flight);
    try {
      await this.#ask(message, flight, true);
    } catch (failure) {
      const error = await this.#options.dialler.explain(failure);
      if (flight.stop.signal.aborted) return;
      this.#options.log.warn({ err: error, method: message.method }, 'a request failed');
      this.#options.write(failureOf(message.id, error));
    } finally {
      if (this.#flights.get(message.id) === flight) this.#flights.delete(message.id);
    }
  }

  /** Passes the messages of a gateway's stream to the client. Rejects if the stream breaks off. */
  stream(response: IncomingMessage, onPlace: (id: string | undefined) => void): Promise<void> {
    const { write, onDrain } = this.#options;
    return readStream(response, { onMessage: write, onPlace, onDrain, onSkipped: this.#skip });
  }

  /** Gives up open requests and tells the server that the session is over. */
  async end(): Promise<void> {
    for (const { stop } of this.#flights.values()) stop.abort();
    this.#tracing.close();
    if (this.session === undefined) return;
    const headers = this.sessionHeaders();
    this.#session = undefined;
    await this.#reach({ method: 'DELETE', headers, body: undefined }).then(drain, () => {});
  }

  async #tell(message: Exclude<Message, Request>): Promise<void> {
    const cancelled = message.kind === 'notification' ? this.#cancelledBy(message) : undefined;
    const claimed = claimedVersion(message);
    if (claimed !== undefined) this.#modern = claimed;
    // In the modern era HTTP cancels by closing the answer, so the notification of stdio is not forwarded.
    if (cancelled?.modern !== true)
      await this.#post(message, claimed !== undefined).then(drain, (error) =>
        this.#options.log.warn({ err: error }, 'a notification of the client was lost'),
      );
    // A cancelled request gets no answer (2025-11-25, "Cancellation"), so this does not wait.
    cancelled?.stop.abort();
  }

  #cancelledBy(notification: Notification): Flight | undefined {
    const id = notification.method === CANCELLED ? cancelledId(notification) : undefined;
    return id === undefined ? undefined : this.#flights.get(id);
  }

  async #ask(request: Request, flight: Flight, mayRenew: boolean): Promise<void> {
    const session = this.#session;
    if (flight.modern) this.#modern = claimedVersion(request);
    const before = session?.calls ?? 0;
    if (session !== undefined && request.method === 'tools/call') session.calls += 1;
    const response = await this.#post(request, flight.modern, flight.stop.signal);
    const status = response.statusCode ?? 502;
    if (status === 200 && isEventStream(header(response, 'content-type')))
      return this.#follow(request, response, flight);
    // Answers that the client does not read stay at the gateway, which bounds them.
    while (this.#options.full()) await new Promise<void>((resolve) => this.#options.onDrain(resolve));
    const answer = await jsonOf(response);
    const lost = session?.id !== undefined && isSessionLost({ status, message: answer, id: request.id });
    if (session === undefined || !lost) return this.#answerWith(request, response, answer);
    ensure(mayRenew, 'mcp_upstream', 'the MCP server does not keep its sessions');
    await this.#renew(session).catch((error: unknown) => {
      throw isRefusal(error, 'mcp_outcome') ? new IdentityError('mcp_upstream', NOT_MADE) : error;
    });
    // The call was not made, but the state of earlier calls may be gone: the client decides.
    ensure(request.method !== 'tools/call' || before === 0, 'mcp_upstream', LOST);
    return this.#ask(request, flight, false);
  }

  #answerWith(request: Request, response: IncomingMessage, answer: Message | undefined): void {
    const status = response.statusCode ?? 502;
    if (answer?.kind !== 'response') throw new IdentityError('mcp_upstream', `no answer in HTTP ${status}`);
    // An error without an id is about the request that was posted.
    const shown = answer.error === undefined ? answer : { ...answer, id: request.id };
    ensure(shown.id === request.id, 'mcp_upstream', 'the answer is to another request');
    this.#begun(request, header(response, 'mcp-session-id'), shown);
    this.#options.write(shown);
  }

  #begun(request: Request, id: string | undefined, answer: Message): void {
    const session = this.#session;
    if (session?.initialize === request.id && request.method === 'initialize' && answer.kind === 'response')
      session.begun(id, answer);
  }

  /** Resumes a stream that ends after an event with an id (2025-11-25, "Resumability"), until the answer has come. */
  async #follow(request: Request, first: IncomingMessage, flight: Flight): Promise<void> {
    const session = this.#session;
    const id = header(first, 'mcp-session-id');
    let answered = false;
    let place: string | undefined;
    let [retryMs, idle] = [RETRY_MS, 0];
    const { write, onDrain } = this.#options;
    const onMessage = (message: Message): boolean => {
      answered ||= message.kind === 'response' && message.id === request.id;
      idle = 0;
      if (answered) this.#begun(request, id, message);
      return write(message);
    };
    const onPlace = (at: string | undefined, retry: number | undefined): void => {
      if (at !== undefined && at !== place) idle = 0;
      place = at ?? place;
      retryMs = Math.min(retry ?? retryMs, LONGEST_RETRY_MS);
    };
    const sink = { onMessage, onPlace, onDrain, onSkipped: this.#skip };
    for (let response: IncomingMessage | undefined = first; ; idle += 1) {
      const broken = response && (await readStream(response, sink).catch((error: unknown) => error));
      if (answered || flight.stop.signal.aborted) return;
      const over = place === undefined || place === '' || flight.modern || session !== this.#session;
      if (over || idle >= MAX_RESUMPTIONS) throw broken ?? lostAnswer('the stream ended before the answer');
      response = await this.#resume(place ?? '', retryMs, flight.stop.signal);
    }
  }

  /** Undefined if it may work later. */
  async #resume(place: string, waitMs: number, signal: AbortSignal): Promise<IncomingMessage | undefined> {
    const { clock } = this.#options;
    await clock.sleepUntil(addSeconds(clock.now(), waitMs / 1000), signal);
    const from = { accept: 'text/event-stream', 'last-event-id': lastEventHeader(place) };
    const headers = { ...from, ...this.sessionHeaders() };
    const response = await this.#reach({ method: 'GET', headers, body: undefined }, signal);
    const status = response.statusCode ?? 502;
    if (status === 200 && isEventStream(header(response, 'content-type'))) return response;
    drain(response);
    if (status >= 500) return undefined;
    throw lostAnswer(`the answer cannot be fetched: resuming its stream gave HTTP ${status}`);
  }

  #post(message: Message, modern: boolean, signal?: AbortSignal): Promise<IncomingMessage> {
    const own = { accept: ACCEPT, 'content-type': 'application/json' };
    const headers = { ...own, ...this.#headersOf(message, modern) };
    return this.#reach({ method: 'POST', headers, body: writeMessage(message) }, signal);
  }

  #headersOf(message: Message, modern: boolean): Record<string, string> {
    if (modern) return headersFor(message);
    if (this.#session === undefined && this.#modern !== undefined)
      return { 'mcp-protocol-version': this.#modern };
    return this.sessionHeaders();
  }

  /** Rejects when the request is given up, also while its answer is read. */
  #reach(posted: Posted, signal?: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const giveUp = this.#options.dialler.send(posted, { onResponse: resolve, onError: reject });
      const onAbort = (): void => {
        giveUp();
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Begins a lost session again and tells the client, whose list of tools may be out of date. */
  async #renew(lost: StdioSession): Promise<void> {
    if (this.#session === lost)
      this.#renewal ??= this.#beginAgain(lost).finally(() => {
        this.#renewal = undefined;
      });
    await this.#renewal;
  }

  async #beginAgain(lost: StdioSession): Promise<void> {
    const fresh = new StdioSession(lost.again);
    const own = { accept: ACCEPT, 'content-type': 'application/json' };
    const body = writeMessage(fresh.again);
    const response = await this.#reach({ method: 'POST', headers: own, body });
    const answer = await answerTo(fresh.again.id, response);
    fresh.begun(header(response, 'mcp-session-id'), answer);
    const why = answer.error?.message ?? 'it speaks another version now';
    const same = answer.error === undefined && fresh.version === lost.version && fresh.id !== undefined;
    ensure(same, 'mcp_upstream', `the session was lost and could not be begun again: ${why}`);
    this.#session = fresh;
    const initialized = {
      kind: 'notification',
      method: 'notifications/initialized',
      params: undefined,
    } as const;
    await this.#post(initialized, false).then(drain);
    this.#options.log.warn({}, 'the MCP server lost the session; a new one was begun');
    this.#options.write({ ...initialized, method: 'notifications/tools/list_changed' });
  }
}

/** The stream that the answer would come in has ended for good. */
const lostAnswer = (says: string): IdentityError =>
  new IdentityError('mcp_outcome', `${says}; ${SERVER_MAY_HAVE_ACTED}`);

const NOT_MADE = [
  'the MCP server lost the session, and the connection to the gateway ended',
  'while a new one was begun: this call was not made',
].join(' ');
const LOST = [
  'the MCP server lost the session, and what earlier calls did in it may be gone; a new session was begun',
  'and this call was not made: make it again if it does not depend on them',
].join(' ');
