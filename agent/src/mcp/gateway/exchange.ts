/**
 * One HTTP request of one client and what comes back for it. Everything from the server passes here: answers only to
 * what was asked, lists filtered for this caller, and nothing said or asked that no rule lets through.
 */
import type { ServerResponse } from 'node:http';
import { IdentityError } from '@chancery/shared/errors.ts';
import {
  type Message,
  type Notification,
  type Request,
  type Response,
  writeMessage,
} from '@chancery/shared/mcp/message.ts';
import { type FreeText, narrowError } from '@chancery/shared/mcp/results.ts';
import { KEEP_ALIVE, writeEvent } from '@chancery/shared/mcp/sse.ts';
import { acknowledgesTools, LISTEN } from '@chancery/shared/mcp/subscription.ts';
import { decide } from '@chancery/shared/policy/decide.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { Source } from '@chancery/shared/source.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/svid.ts';
import { type Back, badAnswer, MAX_ANSWER_BYTES, type Place, type Upstream } from '../upstream/upstream.ts';
import { Held } from '../wire/held.ts';
import { inOnePiece } from '../wire/http-body.ts';
import { denial, refusalResponse, refuse, writeJson } from '../wire/reply.ts';
import { narrowAnswer, notTheAnswer } from './answers.ts';
import type { Bodies, Hold } from './bodies.ts';
import { mayAsk, told } from './judge.ts';
import type { Listeners } from './listeners.ts';
import type { CallRecorder } from './record.ts';
import type { Pending, Session, Sessions } from './sessions.ts';

/** What all exchanges of one gateway share. */
export interface Gate {
  readonly server: string;
  readonly policy: Source<Policy>;
  readonly recorder: CallRecorder;
  readonly sessions: Sessions;
  readonly upstream: Upstream;
  readonly freeText: FreeText;
  /** Of one message of a client. */
  readonly maxRequestBytes: number;
  readonly bodies: Bodies;
  readonly listeners: Listeners;
}

export interface ExchangeFacts {
  readonly peer: VerifiedSvid;
  readonly era: 'legacy' | 'modern';
  /** Without its parameters; undefined for a GET, a DELETE, a notification and a client's response. */
  readonly request: Request | undefined;
  readonly hold?: Hold;
  readonly session: Session | undefined;
  /** The session's, or this request's alone. */
  readonly pending: Pending;
}

export class Exchange implements Back {
  readonly #gate: Gate;
  readonly #res: ServerResponse;
  readonly #facts: ExchangeFacts;
  readonly #held: Held;
  #session: Session | undefined;
  /** The session that this request began. */
  #begun: Session | undefined;
  /** Its client may ask for the rest of the stream (2025-11-25, "Resumability and Redelivery"). */
  #resumable = false;
  #answered = false;
  #outcome: 'result' | 'error' | undefined;
  #opened = false;
  #subscribed = false;
  #owed: Notification | undefined;

  constructor(gate: Gate, res: ServerResponse, facts: ExchangeFacts) {
    this.#gate = gate;
    this.#res = res;
    this.#facts = facts;
    this.#held = new Held(res);
    if (facts.session !== undefined) this.#enter(facts.session);
    res.on('close', () => this.#closed());
    facts.hold?.onLost((reason) => this.fail(reason));
  }

  sent(): void {
    this.#facts.hold?.free();
  }

  onLost(listener: () => void): void {
    this.#facts.hold?.onLost(listener);
  }

  session(name: string): void {
    const { peer, pending } = this.#facts;
    const session = this.#gate.sessions.open(peer, name, pending);
    this.#enter(session);
    this.#begun = session;
    this.#res.setHeader('mcp-session-id', session.id);
  }

  #enter(session: Session): void {
    this.#session = session;
    session.open += 1;
  }

  answer(status: number, message: Message | undefined): void {
    if (this.#res.headersSent) return;
    const { request, session } = this.#facts;
    // The server has forgotten the session, and so do we: the client begins anew (2025-11-25).
    if (status === 404 && session !== undefined)
      this.#gate.sessions.close(session, 'the MCP server does not know it');
    if (message === undefined && request === undefined) {
      this.#res.writeHead(status, { 'content-length': 0 }).end();
      return;
    }
    this.#guard(() => {
      const text = message === undefined ? undefined : this.#passWhole(message);
      if (text === undefined) throw new IdentityError('mcp_upstream', notTheAnswer(message, request?.id));
      writeJson(this.#res, status, text);
    });
  }

  open(): void {
    if (this.#res.headersSent) return;
    this.#opened = true;
    this.#held.open({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    this.tell();
  }

  event(place: Place, message: Message | undefined): boolean {
    // What follows the answer, or a failure in the same piece.
    if (this.#res.writableEnded || this.#res.destroyed) return true;
    if (message !== undefined) this.#held.release();
    this.#resumable ||= this.#session !== undefined && place.id !== undefined && place.id !== '';
    inOnePiece(this.#res);
    this.#guard(() => {
      const text = message === undefined ? undefined : this.#pass(message);
      if (text === undefined && message !== undefined) return;
      const written = writeEvent(place, text);
      // The answer is the last thing on its stream (2025-11-25 and 2026-07-28, transports), so both leave together.
      if (this.#answered) this.#res.end(written);
      else this.#res.write(written);
    });
    // A server that speaks on one stream for many clients cannot wait for one of them.
    const unread = this.#res.writableLength;
    if (unread > MAX_UNREAD_BYTES) {
      this.#gate.recorder.dropped(this.#facts.peer, undefined, `the client has ${unread} bytes to read`);
      this.#res.destroy();
    }
    return this.#res.writableEnded || !this.#res.writableNeedDrain;
  }

  /** From the gateway itself; what comes before the stream is open is kept until it is. */
  tell(notification = this.#owed): void {
    const ready = this.#opened && (this.#facts.request?.method !== LISTEN || this.#subscribed);
    this.#owed = ready ? undefined : notification;
    if (ready && notification !== undefined) this.event(NOWHERE, notification);
  }

  keepAlive(): void {
    this.#held.release();
    if (!this.#res.writableEnded && !this.#res.destroyed) this.#res.write(KEEP_ALIVE);
  }

  end(): void {
    this.#held.release();
    this.#res.end();
  }

  get answered(): boolean {
    return this.#answered;
  }

  fail(error: IdentityError): void {
    const { peer, request, pending } = this.#facts;
    const unanswered = request !== undefined && !this.#answered;
    const asked = unanswered ? pending.get(request.id) : undefined;
    if (asked?.cancelled) this.cancelled();
    if (this.#res.destroyed || this.#res.writableEnded) return;
    this.#held.release();
    if (unanswered && pending.delete(request.id)) this.#outcome = 'error';
    if (asked !== undefined) this.#gate.recorder.unanswered(peer, asked, 'error', error.message);
    else if (unanswered || request === undefined) this.#gate.recorder.dropped(peer, undefined, error.message);
    if (!this.#res.headersSent) refuse(this.#res, error, request?.id);
    else if (unanswered) this.#res.end(writeEvent(NOWHERE, writeMessage(refusalResponse(error, request.id))));
    else this.#res.end();
  }

  cancelled(): void {
    this.#abandon();
    this.open();
    this.end();
  }

  #abandon(): void {
    const { peer, request, pending } = this.#facts;
    const asked = request === undefined ? undefined : pending.get(request.id);
    if (asked === undefined) return;
    pending.delete(asked.requestId);
    this.#gate.recorder.unanswered(peer, asked, 'abandoned');
  }

  onDrain(listener: () => void): void {
    this.#res.once('drain', listener);
  }

  onClose(listener: () => void): void {
    this.#res.once('close', listener);
  }

  /** What goes to the client for this message of the server's; undefined drops it. */
  #pass(message: Message): string | undefined {
    if (message.kind === 'response') return this.#passAnswer(message);
    const { recorder, upstream } = this.#gate;
    const [{ peer, era, request }, session] = [this.#facts, this.#session];
    if (message.kind === 'notification') {
      const said = told(message, request, this.#gate.freeText);
      if (said === undefined) recorder.dropped(peer, message, `a server may not send ${message.method}`);
      else recorder.told(peer, message);
      this.#subscribed ||= said !== undefined && acknowledgesTools(said);
      return said && writeMessage(said);
    }
    if (era === 'legacy' && session !== undefined && mayAsk(message.method)) {
      session.asked.add(message.id);
      recorder.told(peer, message);
      return writeMessage(message);
    }
    const reason = `no kind of rule can allow a server ${message.method}`;
    recorder.dropped(peer, message, reason);
    // The modern era knows no requests of a server's, and so no way to answer one.
    const refusal = denial(message.id, { allow: false, rule: undefined, reason }, 'none');
    if (era === 'legacy') upstream.refuse(session?.upstream, refusal);
    return undefined;
  }

  /** The body of an HTTP answer; an error in it is about the request that was posted, whatever id it names. */
  #passWhole(message: Message): string | undefined {
    const { peer, request } = this.#facts;
    if (message.kind !== 'response') {
      this.#gate.recorder.dropped(peer, message, 'a call in the place of an answer');
      return undefined;
    }
    if (message.error === undefined) return this.#passAnswer(message);
    if (request === undefined) return writeMessage(narrowError(message));
    return this.#passAnswer({ ...message, id: request.id });
  }

  #passAnswer(response: Response): string | undefined {
    const { peer, request, pending } = this.#facts;
    const asked = response.id === undefined ? undefined : pending.get(response.id);
    if (asked === undefined || response.id === undefined) {
      this.#gate.recorder.dropped(peer, response, 'an answer to nothing that was asked here');
      return undefined;
    }
    pending.delete(response.id);
    const passed = narrowAnswer(asked, response, {
      era: this.#facts.era,
      freeText: this.#gate.freeText,
      may: (tool) => this.#may(tool),
    });
    const text = writeMessage(passed);
    this.#gate.recorder.answered(peer, asked, passed, text);
    if (response.id !== request?.id) return text;
    this.#answered = true;
    this.#outcome = response.error === undefined ? 'result' : 'error';
    return text;
  }

  #may(tool: string): boolean {
    const { server, policy } = this.#gate;
    return decide(policy.current(), { caller: this.#facts.peer.id, server, tool }).allow;
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
    if (this.#session !== undefined) this.#session.open -= 1;
    // Nobody can ask for the answer any more, where it may not still come on a stream that resumes.
    if (!this.#resumable) this.#abandon();
    this.#endUnbegun();
  }

  /** Of a session that the server did not agree to, or whose id did not arrive, nobody makes use. */
  #endUnbegun(): void {
    const failed = this.#outcome === 'error';
    const arrived = this.#outcome === 'result' && this.#res.writableFinished;
    if (this.#begun === undefined || (!failed && (arrived || this.#resumable))) return;
    const why = failed ? 'its initialize failed' : 'its client left before it began';
    this.#gate.sessions.end((session) => session === this.#begun, why);
  }
}

/** Of what waits to be sent: two of the largest events. */
const MAX_UNREAD_BYTES = 2 * MAX_ANSWER_BYTES;
const NOWHERE: Place = { id: undefined, retry: undefined };
