/**
 * A session that a server does not know any more. The specification says 404 (2025-11-25, "Session Management"); the
 * reference server and others made after it answer 400 with a JSON-RPC error that speaks of the session.
 */
import { errorResponse, type Message, type Response } from '@chancery/shared/mcp/message.ts';

/** Of an answer to what named a session. */
export function isSessionLost(status: number, message: Message | undefined): boolean {
  if (status === 404) return true;
  if (status !== 400 || message?.kind !== 'response' || message.error === undefined) return false;
  const { code, message: text } = message.error;
  return (code === -32000 || code === -32001) && /session|not initialized/i.test(text);
}

/** What the SDKs' servers say of it, and their clients look for. */
export function sessionLost(): Response {
  return errorResponse(undefined, { code: -32001, message: 'the session is not known: begin a new one' });
}
