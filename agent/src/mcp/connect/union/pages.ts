/** The lists of all servers as one, in pages: servers by name, and each server's entries in its own order. */
import { createHash } from 'node:crypto';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { JsonObject } from '@chancery/shared/ground/json.ts';
import type { ListMethod } from '@chancery/shared/mcp/lists.ts';
import type { Listed } from './catalog.ts';
import { LISTS } from './shown.ts';

/** Entries, and characters of their JSON, in a page. */
const PAGE = { entries: 500, characters: 4 * 1024 * 1024 } as const;
/** The page after `cursor`, as the result of the list. Throws mcp_parse if the entry of the cursor is gone. */
export function pageOf(method: ListMethod, lists: readonly Listed[], cursor: string | undefined): JsonObject {
  const { member, key } = LISTS[method];
  const all = lists.flatMap(({ entries }) => entries);
  const from = cursor === undefined ? 0 : all.findIndex((each) => markOf(each[key]) === cursor) + 1;
  ensure(
    cursor === undefined || from > 0,
    'mcp_parse',
    'the cursor is of a list that has changed: list again',
  );
  const page: JsonObject[] = [];
  let characters = 0;
  for (const each of all.slice(from, from + PAGE.entries)) {
    characters += JSON.stringify(each).length;
    if (page.length > 0 && characters > PAGE.characters) break;
    page.push(each);
  }
  const last = page.at(-1)?.[key];
  const more = from + page.length < all.length && typeof last === 'string';
  return { [member]: page, ...(more ? { nextCursor: markOf(last) } : {}) };
}

/** A cursor names the last entry of the page before. */
const markOf = (name: unknown): string =>
  createHash('sha256').update(String(name), 'utf8').digest('base64url');
