/**
 * How a caller asks a gateway which tools of a server it may call: `POST /chancery/allowed/NAME`. The answer says of a
 * tool what a call of it would say, and calls nothing.
 */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';

export const ALLOWED = '/chancery/allowed/';
/** Tools of one question. */
export const MAX_ASKED = 500;
/** Of a question: 500 names that a rule can allow fit in. */
export const MAX_ASKED_BYTES = 256 * 1024;
/** Of an answer: a reason names the caller and the tool. */
export const MAX_TOLD_BYTES = 4 * 1024 * 1024;

export interface Told {
  readonly tool: string;
  /** `maybe`: it depends on the arguments of the call, or on its session. */
  readonly may: 'yes' | 'maybe' | 'no';
  /** Of a no: what the denial of a call says. */
  readonly reason?: string | undefined;
  readonly rule?: string | undefined;
}

export interface Allowed {
  /** Whether any rule may allow any tool. */
  readonly any: boolean;
  /** In the order of the question. */
  readonly tools: readonly Told[];
}

/** The body of the question. */
export const writeAsked = (tools: readonly string[]): string => JSON.stringify({ tools });

/** Throws mcp_parse. */
export function readAsked(body: Uint8Array): readonly string[] {
  const json = parseJson(body, { code: 'mcp_parse', maxBytes: MAX_ASKED_BYTES, maxDepth: 3 });
  const list = isJsonObject(json) && Object.keys(json).length === 1 ? json['tools'] : undefined;
  ensure(Array.isArray(list), 'mcp_parse', 'the question is not one list of tools');
  ensure(
    list.length <= MAX_ASKED,
    'mcp_parse',
    `the question names ${list.length} tools, at most ${MAX_ASKED}`,
  );
  return list.map((name: Json) => {
    ensure(typeof name === 'string' && name !== '', 'mcp_parse', 'a tool has no name');
    return name;
  });
}

/** The body of the answer. */
export const writeAllowed = (allowed: Allowed): string => JSON.stringify(allowed);

/** Throws mcp_parse unless it answers a question about these tools. */
export function readAllowed(body: Uint8Array, asked: readonly string[]): Allowed {
  const json = parseJson(body, { code: 'mcp_parse', maxBytes: MAX_TOLD_BYTES, maxDepth: 4 });
  const { any, tools } = isJsonObject(json) ? json : ({} as JsonObject);
  const fits = typeof any === 'boolean' && Array.isArray(tools) && tools.length === asked.length;
  ensure(fits, 'mcp_parse', 'the gateway does not say which tools are allowed');
  return { any, tools: tools.map((each: Json, at) => toldIn(each, asked[at])) };
}

function toldIn(json: Json, asked: string | undefined): Told {
  const { tool, may, reason, rule } = isJsonObject(json) ? json : ({} as JsonObject);
  const isAnswer = may === 'yes' || may === 'maybe' || may === 'no';
  ensure(
    isAnswer && tool === asked && asked !== undefined,
    'mcp_parse',
    'the gateway answers another question',
  );
  const text = (value: Json | undefined): string | undefined =>
    typeof value === 'string' ? value : undefined;
  return { tool: asked, may, reason: text(reason), rule: text(rule) };
}
