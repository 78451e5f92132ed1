/** `mcp call NAME TOOL`: calls one tool, and prints what it gives. */
import { type ExitStatus, type Invocation, type Io, MisuseError } from '@chancery/shared/cli/program.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import type { Response } from '@chancery/shared/mcp/message.ts';
import { MAX_REQUEST_BYTES } from '../../mcp/upstream/upstream.ts';
import { serverIn } from '../connect.ts';
import { ensureServerName } from '../flags.ts';
import { type McpCommandDeps, withPolicy } from './deps.ts';

type Outcome = 'result' | 'tool_error' | 'denied' | 'error' | 'unknown';

const STATUS: Readonly<Record<Outcome, ExitStatus>> = {
  result: 0,
  denied: 1,
  error: 1,
  tool_error: 3,
  unknown: 4,
};
const USAGE = 'expected: mcp call NAME TOOL [JSON | KEY=VALUE... | -]';
const LIMITS = { code: 'mcp_parse', maxBytes: MAX_REQUEST_BYTES, maxDepth: 60, spelledFrom: 0 } as const;

interface Ended extends Partial<Pick<Response, 'result' | 'error'>> {
  readonly outcome: Outcome;
  /** Of a denial. */
  readonly reason?: string;
}

/** Exits as the outcome says. */
export async function call(invocation: Invocation, deps: McpCommandDeps, io: Io): Promise<ExitStatus> {
  const [server = '', tool = '', ...given] = invocation.positionals.slice(1);
  if (tool === '') throw new MisuseError(USAGE);
  ensureServerName(server);
  const sent = await argumentsOf(given, io);
  const ended = await withPolicy(invocation, deps, io, async (reach) => {
    serverIn(reach.policy, server);
    const client = reach.client(server);
    try {
      return endOf(await client.call(tool, sent));
    } catch (error) {
      if (!isRefusal(error, 'mcp_call')) throw error;
      return { outcome: 'denied', reason: error.message } as const;
    } finally {
      await client.close();
      io.progress?.('');
    }
  });
  if (invocation.has('json')) io.out(`${JSON.stringify(ended, null, 2)}\n`);
  else if (ended.outcome === 'result') io.out(`${textOf(ended.result ?? {})}\n`);
  else io.err(`chancery-agent: ${saysOf(ended)}\n`);
  return STATUS[ended.outcome];
}

function endOf({ result, error }: Response): Ended {
  if (error === undefined) return { outcome: result['isError'] === true ? 'tool_error' : 'result', result };
  const { outcome } = isJsonObject(error.data) ? error.data : ({} as JsonObject);
  return { outcome: outcome === 'unknown' ? 'unknown' : 'error', error };
}

function saysOf({ result, error, reason }: Ended): string {
  if (reason !== undefined) return `not allowed: ${reason}`;
  return error === undefined ? textOf(result ?? {}) : `${error.message} (${error.code})`;
}

/** Text of its content as it is; everything else as JSON. */
function textOf(result: JsonObject): string {
  const { content, structuredContent } = result;
  const parts = Array.isArray(content) ? content : [];
  if (parts.length === 0) return JSON.stringify(structuredContent ?? result, null, 2);
  return parts
    .map((part: Json) => {
      const { type, text } = isJsonObject(part) ? part : ({} as JsonObject);
      return type === 'text' && typeof text === 'string' ? text : JSON.stringify(part, null, 2);
    })
    .join('\n');
}

async function argumentsOf(given: readonly string[], io: Pick<Io, 'input'>): Promise<JsonObject> {
  const [only, ...more] = given;
  if (only === '-' && more.length === 0) return objectIn(await io.input(MAX_REQUEST_BYTES));
  if (only?.trimStart().startsWith('{') === true && more.length === 0) return objectIn(only);
  const pairs = given.map((pair) => {
    const at = pair.indexOf('=');
    if (at < 1) throw new MisuseError(`${pair}: not KEY=VALUE; ${USAGE}`);
    return [pair.slice(0, at), argumentIn(pair.slice(at + 1))] as const;
  });
  const twice = pairs.find(([key], at) => pairs.findIndex(([other]) => other === key) !== at);
  if (twice !== undefined) throw new MisuseError(`${twice[0]} is given twice`);
  return Object.fromEntries(pairs);
}

/** Read as a server would read it: the same limits as in a message. */
function objectIn(text: string): JsonObject {
  const value = jsonIn(text);
  if (value === undefined || !isJsonObject(value))
    throw new MisuseError('the arguments are not one JSON object');
  return value;
}

/** JSON where it is JSON (`3`, `true`, `["a"]`, `"3"`), else text. */
const argumentIn = (text: string): Json => jsonIn(text) ?? text;

function jsonIn(text: string): Json | undefined {
  try {
    return parseJson(utf8(text), LIMITS);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return undefined;
  }
}
