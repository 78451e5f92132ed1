/**
 * The lists of a server, built anew with what their caller may use (2025-11-25 and 2026-07-28, schema). Order and
 * cursor stay, so the pages after one are still right. A list is marked as this caller's own where the era knows caches
 * (2026-07-28, "cacheScope").
 */
import { ensure } from '../ground/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../ground/json.ts';
import { common, pick } from './results.ts';

/** Each entry is decided by each line of the caller's rules in one turn of the event loop. A server has pages. */
const MAX_ENTRIES = 10_000;

/** What every entry of a list may have. */
const ENTRY = ['title', 'description', 'icons', 'annotations', '_meta'];

interface Form {
  /** The member of the result that has the entries. */
  readonly member: string;
  /** The member of an entry that says what it is. */
  readonly name: string;
  readonly keys: readonly string[];
}

const LISTS = {
  'tools/list': { member: 'tools', name: 'name', keys: ['name', 'inputSchema', 'outputSchema', 'execution'] },
  'resources/list': { member: 'resources', name: 'uri', keys: ['uri', 'name', 'mimeType', 'size'] },
  'resources/templates/list': {
    member: 'resourceTemplates',
    name: 'uriTemplate',
    keys: ['uriTemplate', 'name', 'mimeType'],
  },
  'tasks/list': {
    member: 'tasks',
    name: 'taskId',
    keys: ['taskId', 'status', 'statusMessage', 'createdAt', 'lastUpdatedAt', 'ttl', 'pollInterval'],
  },
  'prompts/list': { member: 'prompts', name: 'name', keys: ['name', 'arguments'] },
} as const satisfies Readonly<Record<string, Form>>;

type Filtered = keyof typeof LISTS;
/** Of the lists that say what a server has. */
export type ListMethod = Exclude<Filtered, 'tasks/list'>;

/** The page without the entries that `shows` refuses, by their names or URIs. Throws mcp_parse. */
export function filterList(
  method: Filtered,
  result: JsonObject,
  shows: (name: string) => boolean,
): JsonObject {
  const { member, name, keys }: Form = LISTS[method];
  const entries = result[member];
  ensure(Array.isArray(entries), 'mcp_parse', `the result of ${method} has no ${member}`);
  const says = `a page of ${method} has ${entries.length} entries, at most ${MAX_ENTRIES} are read`;
  ensure(entries.length <= MAX_ENTRIES, 'mcp_parse', says);
  const kept = entries.flatMap((entry: Json) => {
    const named = isJsonObject(entry) ? entry[name] : undefined;
    ensure(
      isJsonObject(entry) && typeof named === 'string',
      'mcp_parse',
      `an entry of ${member} has no ${name}`,
    );
    return shows(named) ? [narrowEntry(entry, keys)] : [];
  });
  return ofThisCaller({ [member]: kept, ...pick(result, ['nextCursor']), ...common(result) });
}

function narrowEntry(entry: JsonObject, keys: readonly string[]): JsonObject {
  const kept = pick(entry, [...keys, ...ENTRY]);
  const { execution } = kept;
  return isJsonObject(execution) ? { ...kept, execution: pick(execution, ['taskSupport']) } : kept;
}

/** A result that depends on who asks: no cache may give it to another caller (2026-07-28, "cacheScope"). */
export function ofThisCaller(result: JsonObject): JsonObject {
  const cached = result['cacheScope'] !== undefined || result['ttlMs'] !== undefined;
  return cached ? { ...result, cacheScope: 'private' } : result;
}
