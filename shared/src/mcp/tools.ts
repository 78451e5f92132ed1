/** What the gateway reads inside a client's call of a tool. */
import { ensure } from '../ground/errors.ts';
import { isJsonObject, type JsonObject } from '../ground/json.ts';
import type { Request } from './message.ts';

export interface ToolUse {
  readonly tool: string;
  readonly arguments: JsonObject;
  /** The call with these arguments: those that are null are none. */
  readonly forwarded: Request;
}

/** `task` belongs to a feature without rules, so it is refused, too. Answers are read before this (rounds.ts). */
const CALL_KEYS = new Set(['name', 'arguments', '_meta']);

/** Throws mcp_parse. A call whose tool cannot be read is refused; it never counts as a call of no tool. */
export function callOf(request: Request): ToolUse {
  const { params = {} } = request;
  for (const key of Object.keys(params))
    ensure(
      CALL_KEYS.has(key),
      'mcp_parse',
      'params of tools/call has a key other than name, arguments and _meta',
    );
  const { name } = params;
  ensure(typeof name === 'string' && name !== '', 'mcp_parse', 'tools/call names no tool');
  // A reader that ends a string at NUL, or writes it as UTF-8, would see another tool.
  ensure(!name.includes('\0') && name.isWellFormed(), 'mcp_parse', 'the name of the tool has no UTF-8 form');
  const given = params['arguments'] ?? {};
  ensure(isJsonObject(given), 'mcp_parse', 'the arguments are not an object');
  const forwarded =
    params['arguments'] === null ? { ...request, params: { ...params, arguments: given } } : request;
  return { tool: name, arguments: given, forwarded };
}
