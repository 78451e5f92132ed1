/** What the gateway reads inside a client's call of a tool. */
import { ensure } from '../ground/errors.ts';
import { isJsonObject, type JsonObject } from '../ground/json.ts';
import type { Request } from './message.ts';
import { askedTask } from './tasks.ts';

export interface ToolUse {
  readonly tool: string;
  readonly arguments: JsonObject;
  /** The call with these arguments: those that are null are none. */
  readonly forwarded: Request;
  /** Whether the call is to be made as a task. */
  readonly isTask: boolean;
}

/** Answers are read before this (rounds.ts). */
const CALL_KEYS = new Set(['name', 'arguments', '_meta']);
/** Of revisions that have tasks. */
const TASK_KEY = 'task';

/** `mayTask` where the era has tasks. Throws mcp_parse. A call whose tool cannot be read never counts as no call. */
export function callOf(request: Request, mayTask = false): ToolUse {
  const { params = {} } = request;
  for (const key of Object.keys(params))
    ensure(
      CALL_KEYS.has(key) || (mayTask && key === TASK_KEY),
      'mcp_parse',
      'params of tools/call has a key other than name, arguments and _meta',
    );
  const { name } = params;
  ensure(typeof name === 'string' && name !== '', 'mcp_parse', 'tools/call names no tool');
  // A reader that ends a string at NUL, or writes it as UTF-8, would see another tool.
  ensure(!name.includes('\0') && name.isWellFormed(), 'mcp_parse', 'the name of the tool has no UTF-8 form');
  const given = params['arguments'] ?? {};
  ensure(isJsonObject(given), 'mcp_parse', 'the arguments are not an object');
  const use = { tool: name, arguments: given };
  const withGiven = params['arguments'] === null ? { ...params, arguments: given } : params;
  const asked = params[TASK_KEY];
  if (asked === undefined) return { ...use, isTask: false, forwarded: { ...request, params: withGiven } };
  const task = askedTask(asked);
  return { ...use, isTask: true, forwarded: { ...request, params: { ...withGiven, task } } };
}
