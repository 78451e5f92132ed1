/**
 * Tasks: calls of tools that go on after their answer (2025-11-25, "Tasks"). A client asks for one with `task` beside
 * the arguments, and asks for its state and its result by the id that the server gave it. What a server says of a task
 * is built anew.
 */
import { ensure } from '../ground/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../ground/json.ts';
import type { Notification, Request } from './message.ts';
import { common, pick } from './results.ts';

/** What a server tells unasked of a task. */
export const TASK_STATUS = 'notifications/tasks/status';

/** Longer ids are refused: the gateway remembers each. */
const MAX_ID = 256;

/** The members of a task (schema, "Task"). */
const TASK = ['taskId', 'status', 'statusMessage', 'createdAt', 'lastUpdatedAt', 'ttl', 'pollInterval'];

/** What a client asks of a new task, built anew. Throws mcp_parse. */
export function askedTask(found: Json): JsonObject {
  ensure(isJsonObject(found), 'mcp_parse', 'the task of tools/call is not an object');
  for (const key of Object.keys(found))
    ensure(key === 'ttl', 'mcp_parse', 'the task of tools/call has a key other than ttl');
  const { ttl } = found;
  if (ttl === undefined) return {};
  ensure(
    typeof ttl === 'number' && ttl >= 0,
    'mcp_parse',
    'the ttl of a task is not a number of milliseconds',
  );
  return { ttl };
}

/** The id of the task that a request is about. Throws mcp_parse. */
export function taskIdOf({ method, params = {} }: Request): string {
  for (const key of Object.keys(params))
    ensure(['taskId', '_meta'].includes(key), 'mcp_parse', `${method} has a key other than taskId and _meta`);
  const { taskId } = params;
  ensure(isTaskId(taskId), 'mcp_parse', `the taskId of ${method} is missing, or is not an id`);
  return taskId;
}

export interface Created {
  readonly id: string;
  /** Milliseconds that the server keeps it, from its creation; undefined if it does not say. */
  readonly ttl: number | undefined;
}

/** The task that the result of a call names. Undefined if the server made none. Throws mcp_parse. */
export function createdIn({ task }: JsonObject): Created | undefined {
  if (!isJsonObject(task)) return undefined;
  const { taskId: id, ttl } = task;
  ensure(isTaskId(id), 'mcp_parse', 'the task of the MCP server has no id');
  return { id, ttl: typeof ttl === 'number' && ttl >= 0 ? ttl : undefined };
}

/** The result of a call that was asked for as a task: of a server that made none, the result. Throws mcp_parse. */
export function narrowCreated(result: JsonObject): JsonObject {
  if (createdIn(result) === undefined || !isJsonObject(result['task'])) return result;
  return { task: pick(result['task'], TASK), ...common(result) };
}

/** The state of the task of this id, as the result of a request about it. Throws mcp_parse. */
export function narrowTask(result: JsonObject, id: string | undefined): JsonObject {
  ensure(result['taskId'] === id, 'mcp_parse', 'the MCP server answered about another task');
  return { ...pick(result, TASK), ...common(result) };
}

/** The notification, and the id of the task that it is about; undefined if it names none. */
export function statusIn({
  kind,
  method,
  params,
}: Notification): { id: string; said: Notification } | undefined {
  const id = params?.['taskId'];
  if (params === undefined || !isTaskId(id)) return undefined;
  return { id, said: { kind, method, params: pick(params, TASK) } };
}

const isTaskId = (found: Json | undefined): found is string =>
  typeof found === 'string' && found !== '' && found.length <= MAX_ID && found.isWellFormed();
