/** Passes on the event stream of an MCP server over HTTP, event by event. */
import type { IncomingMessage } from 'node:http';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import {
  errorResponse,
  type Id,
  type Message,
  type RpcError,
  readMessage,
} from '@chancery/shared/mcp/message.ts';
import { answeredIn, answersNameless, type Outline, outlinesOf } from '@chancery/shared/mcp/outline.ts';
import { carriesMessage, type SseEvent, SseReader } from '@chancery/shared/mcp/sse.ts';
import { underItsId } from '../numbering.ts';
import {
  type Back,
  badAnswer,
  MAX_ANSWER_BYTES,
  MAY_HAVE_ACTED,
  type Outbound,
  type Place,
} from '../upstream.ts';

/** What was asked: an answer is read by it. */
export interface Asking {
  readonly method: string;
  readonly era: Outbound['era'];
  /** The session that the request is in, or begins. */
  readonly session: string | undefined;
  /** The method of the request; undefined if the message is no request. */
  readonly asks: string | undefined;
  /** The id of that request. */
  readonly id: Id | undefined;
  /** The request resumes a stream. */
  readonly resumes: boolean;
  readonly back: Back;
  readonly skip: (what: string) => void;
  readonly onRedirect: (location: string | undefined) => void;
}

/** Passes each event to `asking.back` until the stream ends. Calls `fail` if the stream must not be passed on. */
export function receiveStream(
  response: IncomingMessage,
  asking: Asking,
  fail: (error: unknown) => void,
): void {
  const { back } = asking;
  back.open();
  const events = new Events(asking);
  let held = 0;
  const reader = new SseReader(
    {
      onEvent: (event) => events.take(event),
      onTooLarge: (outlines) => events.takeTooLarge(outlines),
      onComment: () => back.keepAlive(),
    },
    MAX_ANSWER_BYTES,
  );
  response.on('data', (chunk: Buffer) => {
    try {
      reader.push(chunk);
    } catch (error) {
      fail(error);
    }
    if (held !== reader.held) back.holding(reader.held);
    held = reader.held;
    if (events.flowing) return;
    // A slow client slows its server down instead of filling the gateway's memory.
    response.pause();
    back.onDrain(() => {
      // Until the next event, which may need many more pieces.
      events.flowing = true;
      response.resume();
    });
  });
  const over = (how: string): void => {
    if (!events.end())
      fail(new IdentityError('mcp_outcome', `the MCP server ${how} before the answer; ${MAY_HAVE_ACTED}`));
  };
  response.on('end', () => over('ended its stream'));
  response.on('close', () => {
    if (!response.complete) over('closed the connection');
  });
}

/** The events of one stream, as its client gets them. */
class Events {
  readonly #asking: Asking;
  /**
   * A client may resume a stream after an event with an id (2025-11-25, "Resumability"). The gateway allows that only
   * in a session; otherwise the end of the stream is final.
   */
  #resumable = false;
  /** An error without an id. The stream is for this request alone, so the error is about it if no answer comes. */
  #nameless: RpcError | undefined;
  /** The client can take more. */
  flowing = true;

  constructor(asking: Asking) {
    this.#asking = asking;
  }

  take(event: SseEvent): void {
    const { id, retry, data } = event;
    this.#took({ id, retry }, carriesMessage(event) && data !== undefined ? this.#read(data) : undefined);
  }

  takeTooLarge(outlines: readonly Outline[]): void {
    const says = `an event of more than ${MAX_ANSWER_BYTES} bytes`;
    const error = this.#unreadable(outlines, new IdentityError('mcp_size', says));
    if (error !== undefined) this.#took(NOWHERE, error);
  }

  /** False if there is no answer and none can come. */
  end(): boolean {
    const { asks, id, back } = this.#asking;
    const over = asks === undefined || back.answered || this.#resumable;
    const error = this.#nameless;
    if (over || error === undefined || back.isCancelled) {
      this.#drop();
      if (over) back.end();
      return over;
    }
    this.#nameless = undefined;
    this.#pass(NOWHERE, errorResponse(id, error));
    back.end();
    return true;
  }

  #took(place: Place, message: Message | undefined): void {
    const { era, session, id: asked, back } = this.#asking;
    const error = message?.kind === 'response' && message.id === undefined ? message.error : undefined;
    if (error !== undefined && asked !== undefined) {
      this.#drop();
      this.#nameless = bounded(error);
      // Nothing may follow this event, so no client may resume after it.
      this.#resumable = false;
      back.keepAlive();
      return;
    }
    const { id, retry } = place;
    this.#resumable ||= era === 'legacy' && session !== undefined && id !== undefined && id !== '';
    // An event of another type, or one that cannot be read, is not sent: some clients report an empty event as an
    // error.
    if (message === undefined && id === undefined && retry === undefined) back.keepAlive();
    else this.#pass(place, message);
  }

  #read(data: Uint8Array): Message | undefined {
    try {
      return underItsId(readMessage(data, MAX_ANSWER_BYTES, 'server'), this.#asking.id);
    } catch (error) {
      return this.#unreadable(outlinesOf(data), error);
    }
  }

  /** Fails the requests that this event answers. Returns the failure if it is an answer without an id. */
  #unreadable(outlines: readonly Outline[], error: unknown): Message | undefined {
    const bad = badAnswer(error);
    const { message } = bad;
    const failure = { code: -31502, message };
    const ids = answeredIn(outlines);
    for (const id of ids) {
      if (id === this.#asking.id) this.#asking.back.fail(bad);
      else this.#pass(NOWHERE, errorResponse(id, failure));
    }
    if (answersNameless(outlines)) return errorResponse(undefined, failure);
    if (ids.length === 0) this.#asking.skip(message);
    return undefined;
  }

  #pass(place: Place, message: Message | undefined): void {
    const { id, back } = this.#asking;
    if (message?.kind === 'response' && message.id === id) this.#drop();
    this.flowing = back.event(place, message);
  }

  /** Records an error without an id that is not about this request. */
  #drop(): void {
    const error = this.#nameless;
    this.#nameless = undefined;
    if (error !== undefined) this.#asking.back.event(NOWHERE, errorResponse(undefined, error));
  }
}

/** A small copy, which is kept while the stream is open; the message that it came in is not. */
function bounded({ code, message }: RpcError): RpcError {
  const kept = message.length > MAX_KEPT ? `${message.slice(0, MAX_KEPT)}...` : message;
  // Copied, because a part of a string keeps the whole string in memory.
  return { code, message: Buffer.from(kept).toString() };
}
/** In characters. */
const MAX_KEPT = 1_024;

const NOWHERE: Place = { id: undefined, retry: undefined };
