/** One HTTP request of one client, and its answer. Everything that the server sends for it passes here. */
import type { ServerResponse } from 'node:http';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { type Message, type Notification, writeMessage } from '@chancery/shared/mcp/message.ts';
import { KEEP_ALIVE, writeEvent } from '@chancery/shared/mcp/sse.ts';
import { LISTEN } from '@chancery/shared/mcp/subscription.ts';
import { type Back, badAnswer, type Place } from '../../upstream/upstream.ts';
import { dataOf, refusalResponse, refuse, writeJson } from '../../wire/answer/reply.ts';
import { Held } from '../../wire/held.ts';
import { inOnePiece } from '../../wire/http-body.ts';
import type { Hold } from '../bodies.ts';
import type { Unanswered } from '../records/record.ts';
import type { Session } from '../sessions.ts';
import { notTheAnswer } from './answers.ts';
import type { ExchangeFacts, Gate } from './gate.ts';
import { Passing } from './passing.ts';

/** Writes the answer to one HTTP request as the upstream calls back. It ends when its response is closed. */
export class Exchange implements Back {
  readonly #gate: Gate;
  readonly #res: ServerResponse;
  readonly #facts: ExchangeFacts;
  readonly #held: Held;
  readonly #passing: Passing;
  readonly #wrote: () => void;
  readonly #arrived: () => void;
  /** Frees the place of the session that this request may begin. */
  readonly #unreserve: (() => void) | undefined;
  /** The hold on the body, once the message passes. */
  #hold: Hold | undefined;
  /** The session that this request began. */
  #begun: Session | undefined;
  /** The client may ask for the rest of the stream (2025-11-25, "Resumability and Redelivery"). */
  #resumable = false;
  #opened = false;
  /** Bytes that the upstream holds of incomplete messages. */
  #partial = 0;
  /** Of the gateway itself, until the stream is open and the subscription acknowledged. */
  readonly #owed = new Set<Notification>();

  constructor(gate: Gate, res: ServerResponse, facts: ExchangeFacts) {
    this.#gate = gate;
    this.#res = res;
    this.#facts = facts;
    this.#held = new Held(res);
    this.#passing = new Passing(gate, facts);
    const lose = (reason: string): void => this.#unread(reason);
    const ifOpen = (bytes: number): number => (res.destroyed ? 0 : bytes);
    this.#wrote = gate.unread.count(facts.peer.id, () => ifOpen(res.writableLength), lose);
    this.#arrived = gate.arriving.count(facts.peer.id, () => ifOpen(this.#partial), lose);
    if (facts.session !== undefined) this.#use(facts.session);
    if (facts.request?.method === 'initialize') this.#unreserve = gate.sessions.reserve(facts.peer.id);
    this.onClose(() => this.#closed());
  }

  /** The message passes: from now on this answers it, and holds its body for the server. */
  enter(hold: Hold): void {
    this.#hold = hold;
    hold.onLost((reason) => this.fail(reason));
    if (this.#res.closed) this.#left();
  }

  /** `Back.sent`: frees the body of the request. */
  sent(): void {
    this.#hold?.free();
  }

  /** `Back.onLost`. */
  onLost(listener: () => void): void {
    this.#hold?.onLost(listener);
  }

  /** `Back.session`: opens a session of the gateway for it, and sends its id with the answer. */
  session(name: string): void {
    const { peer, pending } = this.#facts;
    this.#unreserve?.();
    const session = this.#gate.sessions.open(peer, name, pending);
    this.#use(session);
    this.#begun = session;
    this.#res.setHeader('mcp-session-id', session.id);
  }

  /** A session whose `initialize` failed is over, without a word to its client. */
  #failed(): void {
    this.#passing.outcome = 'error';
    if (!this.#res.headersSent) this.#res.removeHeader('mcp-session-id');
  }

  #use(session: Session): void {
    this.#passing.session = session;
    session.open += 1;
  }

  /** `Back.answer`: the whole answer, as JSON. Does nothing once an answer has begun. */
  answer(status: number, message: Message | undefined): void {
    if (this.#isBegun) return;
    this.#answerWith(status, message);
    const { session } = this.#facts;
    // The server has forgotten the session, so the gateway does, too: the client begins a new one (2025-11-25).
    if (status === 404 && session !== undefined)
      this.#gate.sessions.close(session, 'the MCP server does not know it');
  }

  #answerWith(status: number, message: Message | undefined): void {
    const { request } = this.#facts;
    if (message === undefined && request === undefined) {
      this.#res.writeHead(status, { 'content-length': 0 }).end();
      return;
    }
    this.#guard(() => {
      const text = message === undefined ? undefined : this.#passing.passWhole(message);
      if (text === undefined) throw new IdentityError('mcp_upstream', notTheAnswer(message, request?.id));
      if (this.#passing.outcome === 'error') this.#failed();
      writeJson(this.#res, status, text);
      this.#wrote();
    });
  }

  get #isBegun(): boolean {
    return this.#res.headersSent || this.#held.holds;
  }

  /** `Back.open`: begins an event stream. Does nothing once an answer has begun. */
  open(): void {
    if (this.#isBegun) return;
    this.#opened = true;
    // The answer to `initialize` says whether there is a session, so the head waits for it.
    this.#held.open(
      { 'content-type': 'text/event-stream', 'cache-control': 'no-store' },
      this.#begun === undefined,
    );
    this.#tellOwed();
  }

  /** `Back.event`: writes one event. False asks for a pause until `onDrain`. */
  event(place: Place, message: Message | undefined): boolean {
    // Events after the answer, or after a failure in the same piece, are dropped.
    if (this.#res.writableEnded || this.#res.destroyed) return true;
    this.#resumable ||= this.#passing.session !== undefined && place.id !== undefined && place.id !== '';
    inOnePiece(this.#res);
    this.#guard(() => {
      const text = message === undefined ? undefined : this.#passing.pass(message);
      if (text === undefined && message !== undefined) return;
      if (this.#passing.outcome === 'error') this.#failed();
      if (message !== undefined) this.#held.release();
      this.#held.write(writeEvent(place, text));
      // The answer is the last event of its stream (2025-11-25 and 2026-07-28, transports), so answer and end leave
      // together.
      if (this.#passing.answered) this.#res.end();
      // This event may have acknowledged a subscription.
      else this.#tellOwed();
    });
    // A server that writes for many clients on one stream cannot wait for one of them.
    this.#wrote();
    return this.#res.writableEnded || !this.#res.writableNeedDrain;
  }

  /**
   * Sends a notification of the gateway itself. It is kept until the stream is open and the subscription acknowledged.
   */
  tell(notification: Notification): void {
    this.#owed.add(notification);
    this.#tellOwed();
  }

  #tellOwed(): void {
    const isAgreed = this.#facts.request?.method !== LISTEN || this.#passing.agreed !== undefined;
    if (!this.#opened || !isAgreed) return;
    for (const notification of this.#owed) {
      this.#owed.delete(notification);
      if (this.#res.writableEnded || this.#res.destroyed) return;
      this.#guard(() => {
        const text = this.#passing.own(notification);
        if (text === undefined) return;
        this.#held.release();
        this.#held.write(writeEvent(NOWHERE, text));
      });
    }
    this.#wrote();
  }

  /** `Back.keepAlive`: writes a comment, so that nobody on the way closes an idle stream. */
  keepAlive(): void {
    if (this.#held.holds && this.#begun !== undefined) return;
    this.#held.release();
    if (!this.#res.writableEnded && !this.#res.destroyed) this.#res.write(KEEP_ALIVE);
  }

  /** `Back.end`: ends the event stream. */
  end(): void {
    this.#held.release();
    this.#res.end();
  }

  /** `Back.isCancelled`. */
  get isCancelled(): boolean {
    const { request, pending } = this.#facts;
    return request !== undefined && pending.get(request.id)?.cancelled === true;
  }

  /** `Back.answered`. */
  get answered(): boolean {
    return this.#passing.answered;
  }

  /** `Back.fail`: answers the request with an error and records it. Does nothing once the response has ended. */
  fail(error: IdentityError): void {
    const { peer, request, pending } = this.#facts;
    const unanswered = request !== undefined && !this.#passing.answered;
    const asked = unanswered ? pending.get(request.id) : undefined;
    if (asked?.cancelled) this.cancelled();
    if (this.#res.destroyed || this.#res.writableEnded) return;
    if (unanswered && pending.delete(request.id)) this.#failed();
    this.#held.release();
    const outcome = error.code === 'mcp_outcome' ? 'unknown' : 'error';
    const data = dataOf(error, asked?.recordId);
    if (asked !== undefined) this.#gate.recorder.unanswered(peer, asked, outcome, error.message);
    else if (unanswered || request === undefined) this.#gate.recorder.dropped(peer, undefined, error.message);
    if (!this.#res.headersSent) refuse(this.#res, error, request?.id, data);
    else if (unanswered)
      this.#res.end(writeEvent(NOWHERE, writeMessage(refusalResponse(error, request.id, data))));
    else this.#res.end();
  }

  /** `Back.cancelled`: ends the response without an answer. */
  cancelled(): void {
    this.#abandon();
    this.open();
    this.end();
  }

  #abandon(outcome: Unanswered = 'abandoned', detail?: string): void {
    const { peer, request, pending } = this.#facts;
    // Before the message passes, its id may belong to another request, which waits for its own answer.
    const asked = request === undefined || this.#hold === undefined ? undefined : pending.get(request.id);
    if (asked === undefined) return;
    pending.delete(asked.requestId);
    this.#gate.recorder.unanswered(peer, asked, outcome, detail);
  }

  /** `Back.holding`: bytes count against the share of the caller. */
  holding(bytes: number): void {
    this.#partial = bytes;
    this.#arrived();
  }

  /** The client does not read, or the server sends no end: others need the memory that this holds. */
  #unread(reason: string): void {
    this.#gate.recorder.dropped(this.#facts.peer, undefined, reason);
    if (!this.#resumable) this.#abandon('unknown', reason);
    this.#res.destroy();
  }

  /** `Back.onDrain`: calls once, when the client has read enough. */
  onDrain(listener: () => void): void {
    this.#res.once('drain', listener);
  }

  /** `Back.onClose`: calls once, also if the response has closed already. */
  onClose(listener: () => void): void {
    if (this.#res.closed) queueMicrotask(listener);
    else this.#res.once('close', listener);
  }

  #guard(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.fail(badAnswer(error));
    }
  }

  #closed(): void {
    this.#held.drop();
    this.#wrote();
    this.#arrived();
    this.#unreserve?.();
    if (this.#passing.session !== undefined) this.#passing.session.open -= 1;
    this.#left();
    this.#passing.ended();
    this.#endUnbegun();
  }

  /** The client is gone. Unless it can resume the stream, nobody gets the answer any more. */
  #left(): void {
    const { cut } = this.#facts.call;
    if (!this.#resumable) this.#abandon(cut === undefined ? 'abandoned' : 'unknown', cut);
  }

  /** Ends a session that the server refused, or whose id did not reach the client: nobody can use it. */
  #endUnbegun(): void {
    const failed = this.#passing.outcome === 'error';
    const arrived = this.#passing.outcome === 'result' && this.#res.writableFinished;
    if (this.#begun === undefined || (!failed && (arrived || this.#resumable))) return;
    const why = failed ? 'its initialize failed' : 'its client left before it began';
    this.#gate.sessions.end((session) => session === this.#begun, why);
  }
}

const NOWHERE: Place = { id: undefined, retry: undefined };
