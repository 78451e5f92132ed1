/**
 * Builds answers other than the result of an allowed call anew from what the revisions define (2025-11-25 and
 * 2026-07-28, schema): any other member could name a tool that the list leaves out.
 */
import { isJsonObject, type JsonObject } from '../ground/json.ts';
import type { Era } from './era.ts';
import type { Response } from './message.ts';
import { LISTED, type Listed } from './subscription.ts';

/** The free text that a server may send, besides the results of calls. */
export interface FreeText {
  readonly instructions: boolean;
  /** Log messages, and the request that sets their level. */
  readonly logs: boolean;
}

/** 2026-07-28, "Results": members of every result, and who answers. */
const RESULT = ['resultType', 'ttlMs', 'cacheScope'] as const;
const SERVER_INFO_KEY = 'io.modelcontextprotocol/serverInfo';
const SERVER = ['protocolVersion', 'supportedVersions', 'serverInfo'] as const;

/** The capabilities of a server without those that no rule can allow yet, so that clients do not ask for them. */
export function narrowServer(result: JsonObject, about: Promising): JsonObject {
  const { capabilities, instructions } = result;
  const announced = isJsonObject(capabilities) ? capabilities : {};
  return {
    ...pick(result, SERVER),
    ...(capabilities === undefined ? {} : { capabilities: narrowCapabilities(announced, about) }),
    ...(about.free.instructions && typeof instructions === 'string' ? { instructions } : {}),
    ...common(result),
  };
}

/** What a caller may learn of a server. */
export interface Promising {
  readonly era: Era;
  readonly free: FreeText;
  /** Whether a rule may allow the caller anything of this kind. */
  readonly lets: (
    kind: 'resource' | 'prompt' | 'completion' | 'subscription' | 'task' | 'logging',
  ) => boolean;
}

/** What of a capability the client learns; undefined if it does not learn of it. */
type Promised = (announced: JsonObject, about: Promising) => JsonObject | undefined;

/**
 * Legacy clients always learn that a list changes, since the gateway tells them when rules change. In the modern era
 * they are told on a subscription, which the server must support.
 */
function changing(announced: JsonObject, { era }: Promising): JsonObject {
  return era === 'legacy' ? { listChanged: true } : pick(announced, ['listChanged']);
}

const CAPABILITIES: Readonly<Record<string, Promised>> = {
  tools: changing,
  resources(resources, about) {
    if (!about.lets('resource')) return undefined;
    const subscribe = about.lets('subscription') ? pick(resources, ['subscribe']) : {};
    return { ...subscribe, ...changing(resources, about) };
  },
  prompts: (prompts, about) => (about.lets('prompt') ? changing(prompts, about) : undefined),
  completions: (_completions, { lets }) => (lets('completion') ? {} : undefined),
  // In the modern era tasks are an extension, which nothing here carries.
  tasks: (tasks, { era, lets }) =>
    era === 'legacy' && lets('task')
      ? { ...pick(tasks, ['list', 'cancel']), ...tasksOfTools(tasks) }
      : undefined,
  logging: (_logging, { free, lets }) => (free.logs && lets('logging') ? {} : undefined),
};

/** Of calls of tools alone. */
function tasksOfTools({ requests }: JsonObject): JsonObject {
  const tools = isJsonObject(requests) ? requests['tools'] : undefined;
  return isJsonObject(tools) ? { requests: { tools: pick(tools, ['call']) } } : {};
}

function narrowCapabilities(announced: JsonObject, about: Promising): JsonObject {
  const kept = Object.entries(CAPABILITIES).flatMap(([name, promised]) => {
    const own = announced[name];
    const told = isJsonObject(own) ? promised(own, about) : undefined;
    return told === undefined ? [] : [[name, told]];
  });
  return Object.fromEntries(kept);
}

/** The lists whose changes a narrowed answer to `initialize` promises. */
export function promisedIn({ capabilities }: JsonObject): ReadonlySet<Listed> {
  const told = isJsonObject(capabilities) ? capabilities : {};
  const changes = (name: string): boolean => isJsonObject(told[name]) && told[name]['listChanged'] === true;
  return new Set(LISTED.filter((listed) => changes(`${listed}s`)));
}

/** The result of what has none of its own, such as `ping`. */
export function emptyResult(result: JsonObject): JsonObject {
  return common(result);
}

/** An error that is not a call's: of its data, which version to take instead. */
export function narrowError(response: Response): Response {
  const { error } = response;
  if (error === undefined) return response;
  const { code, message, data } = error;
  const versions = isJsonObject(data) ? pick(data, ['supported', 'requested']) : {};
  const kept = Object.keys(versions).length > 0 ? { data: versions } : {};
  return { ...response, error: { code, message, ...kept } };
}

/** What every result may have. */
export function common(result: JsonObject): JsonObject {
  const meta = result['_meta'];
  const server = isJsonObject(meta) ? meta[SERVER_INFO_KEY] : undefined;
  return {
    ...pick(result, RESULT),
    ...(server === undefined ? {} : { _meta: { [SERVER_INFO_KEY]: server } }),
  };
}

/** These members, where they are there. */
export function pick(from: JsonObject, keys: readonly string[]): JsonObject {
  return Object.fromEntries(
    keys.flatMap((key) => {
      const value = Object.hasOwn(from, key) ? from[key] : undefined;
      return value === undefined ? [] : [[key, value]];
    }),
  );
}
