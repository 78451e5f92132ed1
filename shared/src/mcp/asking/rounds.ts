/**
 * Questions of a server in the shape of a result, and the request that answers them (2026-07-28, "Multi Round-Trip
 * Requests"): the client makes its request again, with its answers and the state that the result had.
 */
import { ensure } from '../../ground/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../../ground/json.ts';
import type { Request } from '../message.ts';
import { common } from '../results.ts';
import { type Asks, asksOf } from './asks.ts';

const INPUT_REQUIRED = 'input_required';
/** The requests that a server may answer so. */
const IN_ROUNDS = new Set(['tools/call', 'prompts/get', 'resources/read']);
/** More questions at once than any user answers. */
const MAX_QUESTIONS = 32;
const MAX_KEY = 128;
const MAX_STATE = 1024 * 1024;
/** What a gateway adds to a state. */
const MAX_SEAL = 128 * 1024;

/** Whether a result asks the client instead of ending the request. */
export const isInputRequired = (method: string, result: JsonObject): boolean =>
  IN_ROUNDS.has(method) && result['resultType'] === INPUT_REQUIRED;

/** One question. */
export interface InputRequest {
  /** The server's name for it. */
  readonly key: string;
  readonly method: string;
  readonly params: JsonObject;
  /** Undefined for a question that there is not. */
  readonly asks: Asks | undefined;
}

export interface InputRequired {
  readonly questions: readonly InputRequest[];
  readonly state: string | undefined;
}

/** Throws mcp_parse. */
export function readInputRequired(result: JsonObject): InputRequired {
  const { inputRequests, requestState } = result;
  const isAsking = inputRequests !== undefined || requestState !== undefined;
  ensure(isAsking, 'mcp_parse', 'a result that needs input has neither inputRequests nor requestState');
  ensureState(requestState, MAX_STATE);
  return { questions: entriesOf(inputRequests, 'inputRequests').map(readQuestion), state: requestState };
}

function readQuestion([key, found]: readonly [string, Json]): InputRequest {
  ensure(isJsonObject(found), 'mcp_parse', 'an input request is not an object');
  const { method, params = {} } = found;
  ensure(typeof method === 'string', 'mcp_parse', 'an input request has no method');
  ensure(isJsonObject(params), 'mcp_parse', 'the params of an input request are not an object');
  return { key, method, params, asks: asksOf(method, params) };
}

/** The result as the client gets it: nothing but these questions, and the state. */
export function writeInputRequired(
  result: JsonObject,
  questions: readonly InputRequest[],
  requestState: string,
): JsonObject {
  const asked = questions.map(({ key, method, params }) => [key, { method, params }] as const);
  const inputRequests =
    result['inputRequests'] === undefined ? {} : { inputRequests: Object.fromEntries(asked) };
  return { ...common(result), ...inputRequests, requestState };
}

/** What a client answers: by the server's names of the questions. */
export type Answers = readonly (readonly [key: string, answer: Json])[];

/** A request that answers questions. */
export interface Retry {
  /** The request without the answers. */
  readonly request: Request;
  readonly answers: Answers;
  readonly state: string | undefined;
}

/** Undefined for a request that answers nothing. Throws mcp_parse. */
export function readRetry(request: Request): Retry | undefined {
  const { inputResponses, requestState, ...params } = request.params ?? {};
  if (inputResponses === undefined && requestState === undefined) return undefined;
  if (!IN_ROUNDS.has(request.method)) return undefined;
  ensureState(requestState, MAX_STATE + MAX_SEAL);
  return {
    request: { ...request, params },
    answers: entriesOf(inputResponses, 'inputResponses'),
    state: requestState,
  };
}

/** The request with these answers, and the state that its server gave. */
export function withAnswers(request: Request, answers: Answers, state: string | undefined): Request {
  const inputResponses = answers.length === 0 ? {} : { inputResponses: Object.fromEntries(answers) };
  return {
    ...request,
    params: { ...request.params, ...inputResponses, ...(state === undefined ? {} : { requestState: state }) },
  };
}

function entriesOf(found: Json | undefined, name: string): readonly (readonly [string, Json])[] {
  if (found === undefined) return [];
  ensure(isJsonObject(found), 'mcp_parse', `${name} is not an object`);
  const entries = Object.entries(found);
  ensure(entries.length <= MAX_QUESTIONS, 'mcp_parse', `${name} has more than ${MAX_QUESTIONS} members`);
  const isShort = entries.every(([key]) => key.length <= MAX_KEY);
  ensure(isShort, 'mcp_parse', `${name} has a name of more than ${MAX_KEY} characters`);
  return entries;
}

function ensureState(found: Json | undefined, most: number): asserts found is string | undefined {
  if (found === undefined) return;
  ensure(typeof found === 'string', 'mcp_parse', 'requestState is not a string');
  ensure(found.length <= most, 'mcp_parse', `requestState has more than ${most} characters`);
  ensure(found.isWellFormed(), 'mcp_parse', 'requestState has no UTF-8 form');
}
