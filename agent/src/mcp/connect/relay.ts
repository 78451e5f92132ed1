/**
 * A request of a local client at the gateway. The answer is passed on as it comes. Where the connection to the gateway
 * ends before the answer is whole, the client still gets one: the rest of a stream that can be resumed, else an error
 * under the id of its request, as far as what has been sent leaves room for one.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import { type Id, writeMessage } from '@chancery/shared/mcp/message.ts';
import { askedIn, outlinesOf } from '@chancery/shared/mcp/outline.ts';
import { lastEventHeader, writeEvent } from '@chancery/shared/mcp/sse.ts';
import { refusalResponse, refuse } from '../wire/answer/reply.ts';
import { EventTail } from '../wire/event-tail.ts';
import { chosenHeaders, header, inOnePiece, isEventStream } from '../wire/http-body.ts';
import { brokeOff, type Dialler, type Posted, SERVER_MAY_HAVE_ACTED } from './dial.ts';

const TO_CLIENT = ['content-type', 'content-length', 'cache-control', 'mcp-session-id', 'allow'];
/** Of a stream in a row, without a new place on it. */
const MAX_RESUMPTIONS = 5;
const NOWHERE = { id: undefined, retry: undefined };

/**
 * Sends one request to the gateway and passes the answer on. It starts in the constructor and ends with the
 * response. It never throws: the client gets an error.
 */
export class Relay {
  readonly #dialler: Dialler;
  readonly #posted: Posted;
  readonly #res: ServerResponse;
  /** Of an answer that is an event stream. */
  #tail: EventTail | undefined;
  #giveUp: () => void;
  /** Its connection is known to have ended. */
  #ended = false;
  #resumedFrom: string | undefined;
  #resumptions = 0;

  constructor(dialler: Dialler, posted: Posted, res: ServerResponse) {
    this.#dialler = dialler;
    this.#posted = posted;
    this.#res = res;
    this.#giveUp = dialler.send(posted, {
      onResponse: (response) => this.#begin(response),
      onError: (error) => this.#over(error),
    });
    // In the modern era this cancels; in the legacy one the gateway knows that it does not.
    if (res.closed) this.#giveUp();
    else res.once('close', () => this.#giveUp());
  }

  #begin(response: IncomingMessage): void {
    if (isStream(response)) {
      this.#tail = new EventTail();
      this.#head(response);
      this.#res.flushHeaders();
    }
    this.#pass(response);
  }

  #head(response: IncomingMessage): void {
    if (this.#res.headersSent) return;
    inOnePiece(this.#res);
    this.#res.writeHead(response.statusCode ?? 502, chosenHeaders(response, TO_CLIENT, undefined));
  }

  /** As `pipe` would, which sets up and takes down far more than one answer needs. */
  #pass(response: IncomingMessage): void {
    const res = this.#res;
    response.on('data', (chunk: Buffer) => {
      // The head waits for the body: where that does not come, there is room for an error.
      this.#head(response);
      inOnePiece(res);
      this.#tail?.push(chunk);
      if (res.write(chunk)) return;
      response.pause();
      res.once('drain', () => response.resume());
    });
    response.on('end', () => {
      this.#head(response);
      res.end();
    });
    response.on('close', () => {
      if (!response.complete) this.#over(brokeOff());
    });
  }

  /** Of one connection, once. */
  #over(error: IdentityError): void {
    if (this.#ended || this.#res.destroyed) return;
    this.#ended = true;
    if (!this.#resume(error)) void this.#fail(error);
  }

  /** Whether the rest of a legacy stream is asked for (2025-11-25, "Resumability and Redelivery"). */
  #resume(error: IdentityError): boolean {
    const { method, headers } = this.#posted;
    const [place, id] = [this.#tail?.place, this.#id()];
    if (method !== 'POST' || place === undefined || headers['mcp-session-id'] === undefined) return false;
    if (id === undefined || this.#tail?.answers(id) === true) return false;
    if (place !== this.#resumedFrom) this.#resumptions = 0;
    this.#resumptions += 1;
    this.#resumedFrom = place;
    if (this.#resumptions > MAX_RESUMPTIONS) return false;
    const from = { accept: 'text/event-stream', 'last-event-id': lastEventHeader(place) };
    const named = ['mcp-session-id', 'mcp-protocol-version'].flatMap((name) => {
      const value = headers[name];
      return value === undefined ? [] : [[name, value]];
    });
    const resuming = { method: 'GET', headers: { ...from, ...Object.fromEntries(named) }, body: undefined };
    this.#giveUp = this.#dialler.send(resuming as Posted, {
      onResponse: (response) => this.#goOn(response, error),
      onError: () => void this.#fail(error),
    });
    return true;
  }

  #goOn(response: IncomingMessage, error: IdentityError): void {
    if (!isStream(response)) {
      response.on('error', () => {});
      response.resume();
      void this.#fail(error);
      return;
    }
    this.#ended = false;
    this.#res.write(this.#tail?.giveUpEvent() ?? '');
    this.#pass(response);
  }

  async #fail(error: IdentityError): Promise<void> {
    const res = this.#res;
    const told = await this.#explained(error);
    if (res.destroyed) return;
    const id = this.#id();
    if (!res.headersSent) refuse(res, told, id);
    // Of half an answer, or a stream that answers nothing, only the end of the connection tells.
    else if (this.#tail === undefined || id === undefined) res.destroy();
    else if (this.#tail.answers(id)) res.end();
    else res.end(this.#tail.giveUpEvent() + writeEvent(NOWHERE, writeMessage(refusalResponse(told, id))));
  }

  async #explained(error: IdentityError): Promise<IdentityError> {
    const told = refusalOf(await this.#dialler.explain(error), 'internal', 'connect failed');
    if (told === error || !this.#res.headersSent) return told;
    // The cause of the cut says nothing about the call that it cut.
    return new IdentityError('mcp_upstream', `${told.message}; ${SERVER_MAY_HAVE_ACTED}`);
  }

  /** Of the one request in a body that is otherwise not read here. */
  #id(): Id | undefined {
    const { body } = this.#posted;
    const bytes = typeof body === 'string' ? Buffer.from(body) : (body ?? new Uint8Array());
    const [id, another] = askedIn(outlinesOf(bytes));
    return another === undefined ? id : undefined;
  }
}

function isStream(response: IncomingMessage): boolean {
  return response.statusCode === 200 && isEventStream(header(response, 'content-type'));
}
