/** Decides which part of a server's answer goes to the client that asked. */
import type { Era } from '@chancery/shared/mcp/era.ts';
import type { Id, Message, Response } from '@chancery/shared/mcp/message.ts';
import {
  emptyResult,
  type FreeText,
  filterTools,
  narrowError,
  narrowServer,
} from '@chancery/shared/mcp/results.ts';
import { resultOf } from '@chancery/shared/mcp/subscription.ts';
import { denial } from '../../wire/answer/reply.ts';
import type { PendingRequest } from '../sessions.ts';

export interface Narrowing {
  readonly era: Era;
  readonly freeText: FreeText;
  /** Whether the caller may call this tool. */
  readonly may: (tool: string) => boolean;
}

/** The result of an allowed call unchanged; of other answers, only what rules cover. Throws mcp_parse. */
export function narrowAnswer(
  asked: PendingRequest,
  response: Response,
  { era, freeText, may }: Narrowing,
): Response {
  const { id, result } = response;
  if (asked.method !== 'tools/call' && result === undefined) return narrowError(response);
  if (result === undefined) return response;
  // A question to the client in the shape of an answer (2026-07-28, "Multi Round-Trip Requests").
  const kind = result['resultType'];
  if (kind !== undefined && kind !== 'complete') {
    const reason = 'no kind of rule can allow a server to ask the client for input';
    return denial(id, { allow: false, rule: undefined, reason }, asked.recordId);
  }
  if (asked.method === 'tools/list') return { ...response, result: filterTools(result, may) };
  if (asked.method === 'initialize' || asked.method === 'server/discover')
    return { ...response, result: narrowServer(result, era, freeText) };
  if (asked.method !== 'tools/call') return { ...response, result: resultOf(asked, emptyResult(result)) };
  return response;
}

/** What a server sent instead of the answer to `asked`. */
export function notTheAnswer(message: Message | undefined, asked: Id | undefined): string {
  if (message?.kind !== 'response') return 'the MCP server answered with a call instead of a response';
  const [found, expected] = [message.id, asked].map((id) => JSON.stringify(id ?? null));
  return `the answer of the MCP server has the id ${found}; ${expected} is expected`;
}
