/**
 * What a client of the union is shown of one server. Names, titles and URIs begin with the server's registered name, so
 * that no server can look like another.
 */
import { isJsonObject, type Json, type JsonObject } from '@chancery/shared/ground/json.ts';
import { asksByUrl, ELICIT, ELICITED } from '@chancery/shared/mcp/asking/asks.ts';
import type { ListMethod } from '@chancery/shared/mcp/lists.ts';
import { LOG } from '@chancery/shared/mcp/logging.ts';
import type { Notification, Response, RpcError } from '@chancery/shared/mcp/message.ts';
import { UPDATED } from '@chancery/shared/mcp/subscription.ts';
import { shownName, shownUri } from '@chancery/shared/mcp/union-name.ts';

interface Kind {
  /** The member of the result that has the entries. */
  readonly member: string;
  /** The member of an entry that says what it is. */
  readonly key: string;
  show(server: string, own: string): string;
}

export const LISTS: Readonly<Record<ListMethod, Kind>> = {
  'tools/list': { member: 'tools', key: 'name', show: shownName },
  'prompts/list': { member: 'prompts', key: 'name', show: shownName },
  'resources/list': { member: 'resources', key: 'uri', show: shownUri },
  'resources/templates/list': { member: 'resourceTemplates', key: 'uriTemplate', show: shownUri },
};

/** Whether it is the method of a list. */
export const isList = (method: string): method is ListMethod => Object.hasOwn(LISTS, method);

/** An entry of a list under its shown name. Undefined if it has no name. */
export function shownEntry(
  server: string,
  method: ListMethod,
  entry: Json,
): { readonly own: string; readonly shown: string; readonly entry: JsonObject } | undefined {
  const { key, show } = LISTS[method];
  const own = isJsonObject(entry) ? entry[key] : undefined;
  if (!isJsonObject(entry) || typeof own !== 'string' || own === '') return undefined;
  const shown = show(server, own);
  const { annotations } = entry;
  const labelled = {
    ...labels(server, entry, key === 'name' ? ['title'] : ['title', 'name']),
    ...(isJsonObject(annotations)
      ? { annotations: { ...annotations, ...labels(server, annotations, ['title']) } }
      : {}),
    ...withUi(server, entry),
  };
  return { own, shown, entry: { ...entry, ...labelled, [key]: shown } };
}

/** A title is what people see instead of the name. */
function labels(server: string, from: JsonObject, keys: readonly string[]): JsonObject {
  const found = keys.flatMap((key) => {
    const text = from[key];
    return typeof text === 'string' ? [[key, `${server}: ${text}`]] : [];
  });
  return Object.fromEntries(found);
}

/** The page that a tool names as its own (MCP Apps, `_meta.ui.resourceUri`, and its older form). */
function withUi(server: string, { _meta: meta }: JsonObject): JsonObject {
  if (!isJsonObject(meta)) return {};
  const { ui } = meta;
  const page = isJsonObject(ui) ? ui['resourceUri'] : undefined;
  const older = meta['ui/resourceUri'];
  return {
    _meta: {
      ...meta,
      ...(isJsonObject(ui) && typeof page === 'string'
        ? { ui: { ...ui, resourceUri: shownUri(server, page) } }
        : {}),
      ...(typeof older === 'string' ? { 'ui/resourceUri': shownUri(server, older) } : {}),
    },
  };
}

/** The result of a request to one server, with its links and resources under their shown URIs. */
export function shownResult(server: string, result: JsonObject): JsonObject {
  const { content, contents, messages, inputRequests } = result;
  return {
    ...result,
    ...(Array.isArray(content) ? { content: content.map((each) => shownBlock(server, each)) } : {}),
    ...(Array.isArray(contents) ? { contents: contents.map((each) => shownBody(server, each)) } : {}),
    ...(Array.isArray(messages) ? { messages: messages.map((each) => shownTurn(server, each)) } : {}),
    ...(isJsonObject(inputRequests) ? { inputRequests: shownInputs(server, inputRequests) } : {}),
    ...withUi(server, result),
  };
}

/** The questions of a result that needs input. The client's answers have the same keys. */
function shownInputs(server: string, inputs: JsonObject): JsonObject {
  const shown = Object.entries(inputs).map(([key, each]) => {
    if (!isJsonObject(each)) return [key, each] as const;
    return [key, { ...each, ...shownQuestion(server, each) }] as const;
  });
  return Object.fromEntries(shown);
}

/** What a server asks the client for. The message of an elicitation is what the user sees. */
export function shownQuestion(
  server: string,
  { method, params }: { readonly method?: Json; readonly params?: Json | undefined },
): { readonly params?: JsonObject } {
  if (method === ELICIT) return { params: elicitation(server, isJsonObject(params) ? params : {}) };
  return isJsonObject(params) ? { params } : {};
}

/** One without a message would be shown as nobody's. */
function elicitation(server: string, params: JsonObject): JsonObject {
  const { message } = params;
  const lines = typeof message === 'string' ? message.split(LINE_ENDS) : undefined;
  // Each line, so that none of them can look like another server's.
  const shown = lines?.map((line) => `${server}: ${line}`).join('\n') ?? server;
  return { ...params, message: shown, ...ownElicitation(server, params) };
}

/** Servers do not see this id again, and two of them may have the same. */
function ownElicitation(server: string, { elicitationId: id }: JsonObject): JsonObject {
  return typeof id === 'string' ? { elicitationId: `${server}/${id}` } : {};
}

/** The error of a server. One may ask the user to open URLs. */
export function shownError(server: string, response: Response & { readonly error: RpcError }): RpcError {
  const { error } = response;
  const { data } = error;
  const elicitations = isJsonObject(data) ? data['elicitations'] : undefined;
  if (!asksByUrl(response) || !isJsonObject(data) || !Array.isArray(elicitations)) return error;
  const shown = elicitations.map((each) => (isJsonObject(each) ? elicitation(server, each) : each));
  return { ...error, data: { ...data, elicitations: shown } };
}

function shownTurn(server: string, turn: Json): Json {
  if (!isJsonObject(turn)) return turn;
  const { content } = turn;
  return {
    ...turn,
    ...(content === undefined ? {} : { content: shownBlock(server, content) }),
  };
}

/** A block of content (2025-11-25, "ContentBlock"). */
function shownBlock(server: string, block: Json): Json {
  if (!isJsonObject(block)) return block;
  if (block['type'] === 'resource_link')
    return { ...block, ...labels(server, block, ['title', 'name']), ...shownLink(server, block) };
  const { resource } = block;
  return resource === undefined ? block : { ...block, resource: shownBody(server, resource) };
}

const shownBody = (server: string, body: Json): Json =>
  isJsonObject(body) ? { ...body, ...shownLink(server, body) } : body;

function shownLink(server: string, { uri }: JsonObject): JsonObject {
  return typeof uri === 'string' ? { uri: shownUri(server, uri) } : {};
}

/** Every character at which some reader begins a new line (Unicode UAX 14). */
const LINE_ENDS = /\r\n|[\n\v\f\r\u0085\u2028\u2029]/;
/** Of one server. Models read all of them at once. */
const MAX_INSTRUCTIONS = 16_384;

/** The instructions of the servers. Each line is quoted, so that no server can write the label of another. */
export function joinedInstructions(servers: readonly { server: string; instructions: string }[]): string {
  return servers
    .map(({ server, instructions }) => {
      const lines = instructions.slice(0, MAX_INSTRUCTIONS).split(LINE_ENDS);
      const quoted = lines.map((line) => `> ${line}`);
      return [`Instructions of the MCP server ${server}, for its own tools only:`, ...quoted].join('\n');
    })
    .join('\n\n');
}

const TOLD = new Set(['notifications/progress', LOG, UPDATED, ELICITED]);

/** A server's notification for the client. Undefined for those that no client needs. */
export function shownNotification(server: string, notification: Notification): Notification | undefined {
  const { method, params = {} } = notification;
  if (!TOLD.has(method)) return undefined;
  const { logger } = params;
  const named = typeof logger === 'string' ? `${server}/${logger}` : server;
  const own =
    method === LOG ? { logger: named } : { ...shownLink(server, params), ...ownElicitation(server, params) };
  return { ...notification, params: { ...params, ...own } };
}
