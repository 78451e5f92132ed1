/**
 * What the gateway reads inside a client's request for a resource, a prompt or a completion (2025-11-25 and 2026-07-28,
 * schema). A key that no revision has, or that belongs to features without rules (`inputResponses`, `requestState`),
 * is refused: what is decided is all that is forwarded.
 */
import { ensure } from '../ground/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../ground/json.ts';
import type { Request } from './message.ts';

/** Throws mcp_parse. */
export function uriOf({ method, params = {} }: Request): string {
  ensureKeys(params, ['uri', '_meta'], method);
  return textOf(params['uri'], `the uri of ${method}`);
}

export interface PromptUse {
  readonly name: string;
  /** Empty if it has none. */
  readonly arguments: JsonObject;
}

/** Throws mcp_parse. */
export function promptOf({ method, params = {} }: Request): PromptUse {
  ensureKeys(params, ['name', 'arguments', '_meta'], method);
  const { arguments: given = {} } = params;
  ensure(isJsonObject(given), 'mcp_parse', 'the arguments are not an object');
  return { name: textOf(params['name'], `the name of ${method}`), arguments: given };
}

export interface CompletionUse {
  /** What is completed: the name of a prompt, or the text of a template of resources. */
  readonly of: 'prompt' | 'template';
  readonly name: string;
  /** `argument` and `context` of the request. */
  readonly arguments: JsonObject;
}

/** Throws mcp_parse. */
export function completionOf({ method, params = {} }: Request): CompletionUse {
  ensureKeys(params, ['ref', 'argument', 'context', '_meta'], method);
  const { ref, argument, context } = params;
  ensure(isJsonObject(ref), 'mcp_parse', `the ref of ${method} is not an object`);
  ensure(isJsonObject(argument), 'mcp_parse', `the argument of ${method} is not an object`);
  ensureKeys(argument, ['name', 'value'], 'an argument to complete');
  ensure(
    context === undefined || isJsonObject(context),
    'mcp_parse',
    `the context of ${method} is not an object`,
  );
  const given = { argument, ...(context === undefined ? {} : { context }) };
  if (ref['type'] === 'ref/prompt') {
    ensureKeys(ref, ['type', 'name', 'title'], 'a reference to a prompt');
    return { of: 'prompt', name: textOf(ref['name'], 'the name of the prompt'), arguments: given };
  }
  ensure(ref['type'] === 'ref/resource', 'mcp_parse', `the ref of ${method} is of no known type`);
  ensureKeys(ref, ['type', 'uri'], 'a reference to a resource');
  return { of: 'template', name: textOf(ref['uri'], 'the uri of the template'), arguments: given };
}

function ensureKeys(given: JsonObject, keys: readonly string[], what: string): void {
  for (const key of Object.keys(given))
    ensure(keys.includes(key), 'mcp_parse', `${what} has a key other than ${keys.join(', ')}`);
}

/** A reader that ends a string at NUL, or writes it as UTF-8, would see another name. */
function textOf(found: Json | undefined, what: string): string {
  ensure(typeof found === 'string' && found !== '', 'mcp_parse', `${what} is missing, or is no text`);
  ensure(!found.includes('\0') && found.isWellFormed(), 'mcp_parse', `${what} has no UTF-8 form`);
  return found;
}
