/** Answers of the gateway that are one HTTP body, and our own errors if there is none. */
import type { IncomingMessage } from 'node:http';
import { IdentityError, isRefusal, refusalOf } from '@chancery/shared/ground/errors.ts';
import {
  errorResponse,
  type Id,
  type Message,
  type Response,
  readMessage,
} from '@chancery/shared/mcp/message.ts';
import { badAnswer, MAX_ANSWER_BYTES } from '../../upstream/upstream.ts';
import { dataOf } from '../../wire/answer/reply.ts';
import { header, isEventStream, isJson, readBody } from '../../wire/http-body.ts';
import { brokeOff } from '../dial.ts';
import { readStream } from './stream.ts';

/** Discards the body of a response, so that its connection can be used again. Ignores its errors. */
export function drain(response: IncomingMessage): void {
  response.on('error', () => {});
  response.resume();
}

/** Undefined if the body is not JSON. Throws mcp_outcome. */
export async function jsonOf(response: IncomingMessage): Promise<Message | undefined> {
  if (!isJson(header(response, 'content-type'))) {
    drain(response);
    return undefined;
  }
  try {
    return readMessage(await readBody(response, MAX_ANSWER_BYTES), MAX_ANSWER_BYTES, 'server');
  } catch (error) {
    const whole = response.complete;
    response.destroy();
    throw whole || isRefusal(error, 'mcp_size') ? badAnswer(error) : brokeOff();
  }
}

/** The answer to a request of our own, which no client sees. */
export async function answerTo(id: Id, response: IncomingMessage): Promise<Response> {
  let answer: Message | undefined;
  const take = (message: Message): true => {
    if (message.kind === 'response' && message.id === id) answer = message;
    return true;
  };
  if (isEventStream(header(response, 'content-type')))
    await readStream(response, { onMessage: take, onPlace() {}, onSkipped() {}, onDrain() {} });
  else answer = await jsonOf(response);
  if (answer?.kind === 'response') return answer;
  throw new IdentityError(
    'mcp_upstream',
    `the session was lost; initialize gave HTTP ${response.statusCode}`,
  );
}

/** The client belongs to this user, and shows only the message of an error. */
export function failureOf(id: Id, error: unknown): Response {
  const refusal = isRefusal(error) ? error : refusalOf(error, 'internal', `connect failed: ${String(error)}`);
  return errorResponse(id, { code: -31502, message: refusal.message, data: dataOf(refusal) });
}
