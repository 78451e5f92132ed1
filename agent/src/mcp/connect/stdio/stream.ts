/** An event stream of the gateway, read message by message for a stdio client. */
import type { IncomingMessage } from 'node:http';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { errorResponse, type Message, readMessage } from '@chancery/shared/mcp/message.ts';
import { answeredIn, type Outline, outlinesOf } from '@chancery/shared/mcp/outline.ts';
import { carriesMessage, type SseEvent, SseReader } from '@chancery/shared/mcp/sse.ts';
import { badAnswer, MAX_ANSWER_BYTES } from '../../upstream/upstream.ts';
import { brokeOff } from '../dial.ts';

export interface StreamSink {
  /** False asks for a pause until `onDrain`. */
  onMessage(message: Message): boolean;
  /** A place to resume from, and after how long the server wants that. */
  onPlace(id: string | undefined, retryMs: number | undefined): void;
  /** An unreadable message that belongs to no request, in words for the log. */
  onSkipped(what: string): void;
  /** Calls once, when the client has read enough. */
  onDrain(resume: () => void): void;
}

/** Resolves at the end of the stream. Rejects with mcp_outcome if it breaks off. */
export function readStream(response: IncomingMessage, sink: StreamSink): Promise<void> {
  let flowing = true;
  /** Fails only the requests that this message answers. */
  const unreadable = (outlines: readonly Outline[], error: unknown): void => {
    const { message } = badAnswer(error);
    const ids = answeredIn(outlines);
    if (ids.length === 0) sink.onSkipped(message);
    for (const id of ids) flowing = sink.onMessage(errorResponse(id, { code: -31502, message }));
  };
  const onEvent = (event: SseEvent): void => {
    const { data = new Uint8Array() } = event;
    if (event.id !== undefined || event.retry !== undefined) sink.onPlace(event.id, event.retry);
    if (!carriesMessage(event)) return;
    let message: Message;
    try {
      message = readMessage(data, MAX_ANSWER_BYTES, 'server');
    } catch (error) {
      unreadable(outlinesOf(data), error);
      return;
    }
    flowing = sink.onMessage(message);
  };
  const onTooLarge = (outlines: readonly Outline[]): void =>
    unreadable(outlines, new IdentityError('mcp_size', 'an event is too large'));
  const reader = new SseReader({ onEvent, onTooLarge, onComment: () => {} }, MAX_ANSWER_BYTES);
  return new Promise((resolve, reject) => {
    response.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      if (flowing) return;
      response.pause();
      sink.onDrain(() => {
        // Until the next event, which may need many more pieces.
        flowing = true;
        response.resume();
      });
    });
    const broken = (): void => reject(brokeOff());
    response.once('end', resolve);
    response.once('close', broken);
    response.once('error', broken);
  });
}
