/**
 * Relays one request of a local client to the gateway, and passes the answer on as it arrives. If the connection to the
 * gateway ends early, the client still gets an end: the rest of a stream that can be resumed, else an error under the
 * id of its request, if what was already sent allows one.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import { type Id, writeMessage } from '@chancery/shared/mcp/message.ts';
import { askedIn, outlinesOf } from '@chancery/shared/mcp/outline.ts';
import { lastEventHeader, writeEvent } from '@chancery/shared/mcp/sse.ts';
import { refusalResponse, refuse } from '../wire/answer/reply.ts';
import { EventTail } from '../wire/event-tail.ts';
import { chosenHeaders, header, inOnePiece, isEventStream } from '../wire/http-body.ts';
import { brokeOff, type Dialler, type Posted } from './dial.ts';

const TO_CLIENT = ['content-type', 'content-length', 'cache-control', 'mcp-session-id', 'allow'];
/** Resumptions in a row that brought nothing new. */
export const MAX_RESUMPTIONS = 5;
const NOWHERE = { id: undefined, retry: undefined };

/**
 * Sends one request to the gateway and passes the answer on. It starts in the constructor and ends with the response.
 * It never throws: errors go to the client.
 */
export class Relay {
  readonly #dialler: Dialler;
  readonly #posted: Posted;
  readonly #res: ServerResponse;
  /** Set for an answer that is an event stream. */
  #tail: EventTail | undefined;
  #giveUp: () => void;
  /** The connection of this request has ended. */
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
    // This cancels in the modern era, and not in the legacy era. The gateway knows which.
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

  /** Does what `pipe` does, which costs far more than one answer needs. */
  #pass(response: IncomingMessage): void {
    const res = this.#res;
    response.on('data', (chunk: Buffer) => {
      // The head waits for the body, so that an error can still be sent if no body comes.
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

  /** Called once for each connection. */
  #over(error: IdentityError): void {
    if (this.#ended || this.#res.destroyed) return;
    this.#ended = true;
    if (!this.#resume(error)) void this.#fail(error);
  }

  /** Asks for the rest of a legacy stream (2025-11-25, "Resumability and Redelivery"). False if it cannot. */
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
    const told = refusalOf(await this.#dialler.explain(error), 'internal', 'connect failed');
    if (res.destroyed) return;
    const id = this.#id();
    if (!res.headersSent) refuse(res, told, id);
    // Half an answer, or a stream without an answer, can only be cut: that is how the client knows.
    else if (this.#tail === undefined || id === undefined) res.destroy();
    else if (this.#tail.answers(id)) res.end();
    else res.end(this.#tail.giveUpEvent() + writeEvent(NOWHERE, writeMessage(refusalResponse(told, id))));
  }

  /** The id of the request in the body, which is otherwise not read here. */
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
