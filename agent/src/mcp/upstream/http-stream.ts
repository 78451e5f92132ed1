/** An event stream of an MCP server over HTTP, passed on event by event. */
import type { IncomingMessage } from 'node:http';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import {
  errorResponse,
  type Id,
  type Message,
  type Response,
  readMessage,
} from '@chancery/shared/mcp/message.ts';
import { answeredIn, type Outline, outlinesOf } from '@chancery/shared/mcp/outline.ts';
import { carriesMessage, type SseEvent, SseReader } from '@chancery/shared/mcp/sse.ts';
import { underItsId } from './numbering.ts';
import {
  type Back,
  badAnswer,
  MAX_ANSWER_BYTES,
  MAY_HAVE_ACTED,
  type Outbound,
  type Place,
} from './upstream.ts';

/** What an answer is read by. */
export interface Asking {
  readonly method: string;
  readonly era: Outbound['era'];
  /** That it is in, or that it begins. */
  readonly session: string | undefined;
  /** The method of the request; undefined where none is made. */
  readonly asks: string | undefined;
  /** Of that request. */
  readonly id: Id | undefined;
  /** A stream that broke off is asked for again. */
  readonly resumes: boolean;
  readonly back: Back;
  readonly skip: (what: string) => void;
  readonly onRedirect: (location: string | undefined) => void;
}

/**
 * Passes each event to `asking.back` until the stream ends. `fail` is called where the stream must not be passed on.
 */
export function receiveStream(
  response: IncomingMessage,
  asking: Asking,
  fail: (error: unknown) => void,
): void {
  const { back, era, asks, skip } = asking;
  back.open();
  let flowing = true;
  // A client resumes a stream after an event with an id (2025-11-25, "Resumability"), and the gateway lets it only in a
  // session; otherwise its end is the end.
  let resumable = false;
  // Its stream is for this request alone, so that is what an error without an id is about, where no answer comes.
  let nameless: Response | undefined;
  const unreadable = (outlines: readonly Outline[], error: unknown): void => {
    const ids = answeredIn(outlines);
    const { message } = badAnswer(error);
    if (ids.length === 0) skip(message);
    for (const id of ids) flowing = back.event(NOWHERE, errorResponse(id, { code: -31502, message }));
  };
  const onEvent = (event: SseEvent): void => {
    const { id, retry, data } = event;
    resumable ||= era === 'legacy' && asking.session !== undefined && id !== undefined && id !== '';
    let message: Message | undefined;
    try {
      if (carriesMessage(event) && data !== undefined)
        message = underItsId(readMessage(data, MAX_ANSWER_BYTES, 'server'), asking.id);
    } catch (error) {
      unreadable(outlinesOf(data ?? new Uint8Array()), error);
    }
    if (message?.kind === 'response' && message.id === undefined && asking.id !== undefined) {
      nameless = { ...message, id: asking.id };
      message = undefined;
    }
    // An event of another type, or one that cannot be read, is no event to the client: some report an empty one.
    if (message === undefined && id === undefined && retry === undefined) back.keepAlive();
    else flowing = back.event({ id, retry }, message);
  };
  const onTooLarge = (outlines: readonly Outline[]): void =>
    unreadable(outlines, new IdentityError('mcp_size', `an event of more than ${MAX_ANSWER_BYTES} bytes`));
  const reader = new SseReader({ onEvent, onTooLarge, onComment: () => back.keepAlive() }, MAX_ANSWER_BYTES);
  response.on('data', (chunk: Buffer) => {
    try {
      reader.push(chunk);
    } catch (error) {
      fail(error);
    }
    if (flowing) return;
    // A slow client slows its server down instead of filling our memory.
    response.pause();
    back.onDrain(() => response.resume());
  });
  const over = (how: string): void => {
    if (nameless !== undefined && back.answered) skip('an error that names no request');
    if (asks === undefined || back.answered || resumable) back.end();
    else if (nameless !== undefined) {
      back.event(NOWHERE, nameless);
      back.end();
    } else
      fail(new IdentityError('mcp_upstream', `the MCP server ${how} before the answer; ${MAY_HAVE_ACTED}`));
  };
  response.on('end', () => over('ended its stream'));
  response.on('close', () => {
    if (!response.complete) over('closed the connection');
  });
}

const NOWHERE: Place = { id: undefined, retry: undefined };
