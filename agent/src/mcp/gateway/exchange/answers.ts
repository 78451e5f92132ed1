/** Decides which part of a server's answer goes to the client that asked. */
import type { JsonObject } from '@chancery/shared/ground/json.ts';
import type { Era } from '@chancery/shared/mcp/era.ts';
import { filterList, type ListMethod, ofThisCaller } from '@chancery/shared/mcp/lists.ts';
import type { Id, Message, Response } from '@chancery/shared/mcp/message.ts';
import { emptyResult, type FreeText, narrowError, narrowServer } from '@chancery/shared/mcp/results.ts';
import { LISTEN, resultOf } from '@chancery/shared/mcp/subscription.ts';
import { narrowCreated, narrowTask } from '@chancery/shared/mcp/tasks.ts';
import { type Kind, taskBy, type What } from '@chancery/shared/policy/call.ts';
import { denial } from '../../wire/answer/reply.ts';
import type { PendingRequest } from '../sessions.ts';

export interface Narrowing {
  readonly era: Era;
  readonly freeText: FreeText;
  /** Whether the caller may use this. */
  readonly may: (what: What) => boolean;
  /** Whether the caller may use something that this template of resources expands to. */
  readonly mayExpand: (template: string) => boolean;
  /** The tool that made this task of the caller. */
  readonly toolOf: (task: string) => string | undefined;
  /** Whether a rule may allow the caller anything of this kind. */
  readonly lets: (kind: Kind) => boolean;
}

/** What of a result goes to the client. Throws mcp_parse. */
type Narrow = (result: JsonObject, narrowing: Narrowing, asked: PendingRequest) => JsonObject;

const whole: Narrow = (result) => result;
const ofTask: Narrow = (result, _narrowing, asked) => narrowTask(result, asked.ofTask);
const ofServer: Narrow = (result, { era, freeText: free, lets }) =>
  ofThisCaller(narrowServer(result, { era, free, lets }));
const listOf =
  (method: ListMethod, kind: Kind): Narrow =>
  (result, { may }) =>
    filterList(method, result, (name) => may({ kind, name }));

/** By the method that was asked. Every other result is empty. */
const RESULTS: ReadonlyMap<string, Narrow> = new Map([
  [
    'tools/call',
    (result, _narrowing, { makesTask }) => (makesTask === true ? narrowCreated(result) : result),
  ],
  ['tools/list', listOf('tools/list', 'tool')],
  ['tasks/get', ofTask],
  ['tasks/cancel', ofTask],
  ['tasks/result', whole],
  [
    'tasks/list',
    (result, { may, toolOf }) =>
      filterList('tasks/list', result, (id) => {
        const tool = toolOf(id);
        return tool !== undefined && may(taskBy(tool));
      }),
  ],
  ['resources/list', listOf('resources/list', 'resource')],
  [
    'resources/templates/list',
    (result, { mayExpand }) => filterList('resources/templates/list', result, mayExpand),
  ],
  ['resources/read', ofThisCaller],
  ['prompts/list', listOf('prompts/list', 'prompt')],
  ['prompts/get', whole],
  ['completion/complete', whole],
  ['initialize', ofServer],
  ['server/discover', ofServer],
  [LISTEN, (result, _narrowing, asked) => resultOf(asked, emptyResult(result))],
] satisfies [string, Narrow][]);

/** The result of an allowed call unchanged; of other answers, only what rules cover. Throws mcp_parse. */
export function narrowAnswer(asked: PendingRequest, response: Response, narrowing: Narrowing): Response {
  const { id, result } = response;
  // What the caller may use answers with its own errors.
  if (result === undefined) return asked.what === undefined ? narrowError(response) : response;
  // A question in the place of an answer, where no server may ask one.
  const kind = result['resultType'];
  if (kind !== undefined && kind !== 'complete') {
    const reason = 'a server may not ask for input here';
    return denial(id, { allow: false, rule: undefined, reason }, asked.recordId);
  }
  const narrow = RESULTS.get(asked.method) ?? emptyResult;
  return { ...response, result: narrow(result, narrowing, asked) };
}

/** What a server sent instead of the answer to `asked`. */
export function notTheAnswer(message: Message | undefined, asked: Id | undefined): string {
  if (message?.kind !== 'response') return 'the MCP server answered with a call instead of a response';
  const [found, expected] = [message.id, asked].map((id) => JSON.stringify(id ?? null));
  return `the answer of the MCP server has the id ${found}; ${expected} is expected`;
}
