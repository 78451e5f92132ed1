/**
 * Two tools instead of many: `find_tools` searches what the servers listed, and `call_tool` calls one of them. Neither
 * name has a `__`, so no server's tool has it.
 */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject } from '@chancery/shared/ground/json.ts';

export const FIND = 'find_tools';
export const CALL = 'call_tool';
/** Models choose badly among more. */
const MANY = 60;
const MAX_FOUND = 20;
const MAX_QUERY = 1_024;
/** Of the schemas and descriptions in one answer, in characters. */
const MAX_ANSWER = 256 * 1024;

const TEXT = { type: 'string' };
const TWO: readonly JsonObject[] = [
  {
    name: FIND,
    title: 'Find tools',
    description: `Finds tools by words of their names and descriptions. Shows ${MAX_FOUND} at most, with schemas.`,
    inputSchema: { type: 'object', properties: { query: TEXT }, required: ['query'] },
    annotations: { readOnlyHint: true },
  },
  {
    name: CALL,
    title: 'Call a tool',
    description: `Calls a tool by its name as ${FIND} shows it, with arguments by its inputSchema.`,
    inputSchema: {
      type: 'object',
      properties: { name: TEXT, arguments: { type: 'object' } },
      required: ['name'],
    },
  },
];

/** The two tools. Undefined if there are not more than 60. */
export const insteadOf = (tools: number): readonly JsonObject[] | undefined =>
  tools > MANY ? TWO : undefined;

/** The result of `find_tools`: those first that have most of the words. Throws mcp_parse. */
export function foundIn(tools: readonly JsonObject[], params: JsonObject | undefined): JsonObject {
  const given = params?.['arguments'];
  const query = isJsonObject(given) ? given['query'] : undefined;
  ensure(typeof query === 'string', 'mcp_parse', `${FIND} needs the argument query, which is text`);
  ensure(query.length <= MAX_QUERY, 'mcp_parse', `the query has more than ${MAX_QUERY} characters`);
  const words = [...new Set(query.toLowerCase().split(/[^\p{L}\p{N}]+/u))].filter((word) => word !== '');
  const ranked = tools
    .map((tool) => ({ tool, rank: rankOf(tool, words) }))
    .filter(({ rank }) => rank > 0)
    .toSorted((a, b) => b.rank - a.rank);
  const found: JsonObject[] = [];
  let characters = 0;
  for (const { tool } of ranked.slice(0, MAX_FOUND)) {
    const { name = '', description = '', inputSchema = {} } = tool;
    characters += JSON.stringify({ name, description, inputSchema }).length;
    if (characters > MAX_ANSWER && found.length > 0) break;
    found.push({ name, description, inputSchema });
  }
  const text = JSON.stringify({ tools: found, matching: ranked.length });
  return { content: [{ type: 'text', text }] };
}

/** A word in the name counts more than one in the description. */
function rankOf({ name, title, description }: JsonObject, words: readonly string[]): number {
  const [called, about] = [String(name).toLowerCase(), `${title ?? ''} ${description ?? ''}`.toLowerCase()];
  return words.reduce((sum, word) => sum + (called.includes(word) ? 2 : about.includes(word) ? 1 : 0), 0);
}

/** The parameters of the call that `call_tool` asks for. Throws mcp_parse. */
export function realCall(params: JsonObject): JsonObject {
  const given = params['arguments'];
  ensure(isJsonObject(given), 'mcp_parse', `${CALL} needs the argument name`);
  const { name, arguments: own = {} } = given;
  ensure(
    typeof name === 'string' && isJsonObject(own),
    'mcp_parse',
    `${CALL} needs name, and arguments as an object`,
  );
  return { ...params, name, arguments: own };
}
