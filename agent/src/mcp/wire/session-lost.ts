/**
 * A session that a server does not know any more. The specification says 404 (2025-11-25, "Session Management"). The
 * reference server answers 400 with a JSON-RPC error that speaks of the session, and the Python SDK before 2.0 answers
 * 400 with a sentence that does.
 */
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { errorResponse, type Message, type Response } from '@chancery/shared/mcp/message.ts';

/** More than a sentence. */
const MAX_SENTENCE = 1_024;
const SPEAKS_OF_IT = /session|not initialized/i;

/** Of an answer to what named a session; `body` is looked at where there is no message in it. */
export function isSessionLost(
  status: number,
  message: Message | undefined,
  body: Uint8Array = new Uint8Array(),
): boolean {
  if (status === 404) return true;
  if (status !== 400) return false;
  // Another 400 is about the request, such as a version that the server does not know.
  if (message === undefined) return body.length === 0 || SPEAKS_OF_IT.test(sentenceIn(body));
  if (message.kind !== 'response' || message.error === undefined) return false;
  const { code, message: text } = message.error;
  return (code === -32000 || code === -32001) && SPEAKS_OF_IT.test(text);
}

function sentenceIn(body: Uint8Array): string {
  return body.length > MAX_SENTENCE ? '' : asBuffer(body).toString('utf8');
}

/** What the SDKs' servers say of it, and their clients look for. */
export function sessionLost(): Response {
  return errorResponse(undefined, { code: -32001, message: 'the session is not known: begin a new one' });
}
