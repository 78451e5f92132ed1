/** The lists of one server, read to their end within bounds, and its own names by their shown ones. */
import { createHash } from 'node:crypto';
import { isJsonObject, type JsonObject } from '@chancery/shared/ground/json.ts';
import type { ListMethod } from '@chancery/shared/mcp/lists.ts';
import type { Response } from '@chancery/shared/mcp/message.ts';
import type { Asked } from './link.ts';
import { LISTS, shownEntry } from './shown.ts';

/** Of one list of one server. What is beyond is not shown, and the log says so. */
const LIST_BOUNDS = { pages: 64, entries: 4_096, characters: 16 * 1024 * 1024 } as const;

export interface Listed {
  /** In the server's order, without those that have the shown name of another. */
  readonly entries: readonly JsonObject[];
  /** The server's own name of each entry, by its shown name. */
  readonly own: ReadonlyMap<string, string>;
  /** Shown names that two names of the server have. Neither is shown. */
  readonly twins: ReadonlySet<string>;
  /** Changes with any entry. */
  readonly digest: string;
  /** Undefined if all was read. */
  readonly leftOut: string | undefined;
}

export const NOTHING: Listed = {
  entries: [],
  own: new Map(),
  twins: new Set(),
  digest: '',
  leftOut: undefined,
};

/** Asks for all pages. Resolves with the server's error if it answers with one. */
export async function readList(
  server: string,
  method: ListMethod,
  ask: (asked: Asked) => Promise<Response>,
): Promise<Listed | Response> {
  const reading = new Reading(server, method);
  let cursor: string | undefined;
  for (let page = 0; page < LIST_BOUNDS.pages; page += 1) {
    const answer: Response = await ask({ method, params: cursor === undefined ? undefined : { cursor } });
    if (answer.result === undefined) return answer;
    const next = answer.result['nextCursor'];
    if (!reading.add(answer.result) || typeof next !== 'string') return reading.listed();
    cursor = next;
  }
  return reading.listed(`only ${LIST_BOUNDS.pages} pages are read`);
}

/** The pages of one list that were read so far. */
class Reading {
  readonly #server: string;
  readonly #method: ListMethod;
  readonly #found: { readonly shown: string; readonly entry: JsonObject }[] = [];
  readonly #own = new Map<string, string>();
  readonly #twins = new Set<string>();
  readonly #digest = createHash('sha256');
  #characters = 0;
  #leftOut: string | undefined;

  constructor(server: string, method: ListMethod) {
    this.#server = server;
    this.#method = method;
  }

  /** False if no more may be read. */
  add(result: JsonObject): boolean {
    const listed = result[LISTS[this.#method].member];
    for (const each of Array.isArray(listed) ? listed : []) {
      const found = shownEntry(this.#server, this.#method, each);
      if (found === undefined) continue;
      const text = JSON.stringify(found.entry);
      this.#characters += text.length;
      this.#leftOut = beyond(this.#found.length, this.#characters);
      if (this.#leftOut !== undefined) return false;
      const known = this.#own.get(found.shown);
      if (known !== undefined && known !== found.own) this.#twins.add(found.shown);
      if (known !== undefined) continue;
      this.#digest.update(text, 'utf8');
      this.#own.set(found.shown, found.own);
      this.#found.push(found);
    }
    return true;
  }

  listed(leftOut = this.#leftOut): Listed {
    const twins = this.#twins;
    for (const twin of twins) this.#own.delete(twin);
    const [twin] = twins;
    return {
      entries: this.#found.flatMap(({ shown, entry }) => (twins.has(shown) ? [] : [entry])),
      own: this.#own,
      twins,
      digest: this.#digest.update([...twins].join(), 'utf8').digest('hex'),
      leftOut: leftOut ?? (twin === undefined ? undefined : `two of its names would be ${twin}`),
    };
  }
}

function beyond(entries: number, characters: number): string | undefined {
  if (entries >= LIST_BOUNDS.entries) return `only ${LIST_BOUNDS.entries} entries are read`;
  return characters > LIST_BOUNDS.characters
    ? `only ${LIST_BOUNDS.characters} characters are read`
    : undefined;
}

/** Whether it is a list, and not the server's error. */
export const isListed = (read: Listed | Response): read is Listed => 'entries' in read;

/** The parameters of a list that asks for a page; undefined for the first. */
export function cursorOf(params: JsonObject | undefined): string | undefined {
  const cursor = isJsonObject(params) ? params['cursor'] : undefined;
  return typeof cursor === 'string' ? cursor : undefined;
}
