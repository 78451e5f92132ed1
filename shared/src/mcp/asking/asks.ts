/**
 * What a server asks of its client: requests in the legacy era, input requests in a result in the modern one
 * (2025-11-25 and 2026-07-28, "Client Features"). A client announces what it can answer; a server may use no other.
 */
import { ensure } from '../../ground/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../../ground/json.ts';
import { CAPABILITIES_KEY } from '../era.ts';
import type { Request, Response } from '../message.ts';
import { pick } from '../results.ts';

/** The kinds of questions. Each mode of an elicitation is a kind: a URL takes the user elsewhere. */
export type Asks = 'sampling' | 'elicitation' | 'elicitation-url' | 'roots';

/** The method of both modes. */
export const ELICIT = 'elicitation/create';

/**
 * Of a question, by its method and parameters. Undefined for any other, and for one that would be a task of the client,
 * whose end the server would ask for later.
 */
export function asksOf(method: string, params: JsonObject = {}): Asks | undefined {
  if (params['task'] !== undefined) return undefined;
  if (method === 'sampling/createMessage') return 'sampling';
  if (method === 'roots/list') return 'roots';
  if (method !== ELICIT) return undefined;
  const { mode = 'form' } = params;
  if (mode === 'form') return 'elicitation';
  return mode === 'url' ? 'elicitation-url' : undefined;
}

/** Whether a result has the form of an answer to questions of this kind. */
export function isAnswerTo(asks: Asks, result: Json | undefined): boolean {
  if (!isJsonObject(result)) return false;
  if (asks === 'roots') return Array.isArray(result['roots']);
  if (asks === 'sampling') return ['role', 'model'].every((key) => typeof result[key] === 'string');
  return ['accept', 'decline', 'cancel'].some((each) => each === result['action']);
}

/**
 * The request with those capabilities of its client that a server may use here, built anew: `lets` says of a kind
 * whether a rule may let the server ask. A server that knows this finds another way, while a refused question would
 * fail the call. In the legacy era `initialize` has them for the whole session, in the modern one each request.
 */
export function narrowClient(request: Request, lets: (asks: Asks) => boolean): Request {
  const { params } = request;
  const meta = params?.['_meta'];
  let narrowed = request;
  if (request.method === 'initialize') {
    const capabilities = capabilitiesOf(params?.['capabilities'], lets);
    narrowed = { ...request, params: { ...params, capabilities } };
  }
  if (!isJsonObject(meta) || meta[CAPABILITIES_KEY] === undefined) return narrowed;
  const capabilities = capabilitiesOf(meta[CAPABILITIES_KEY], lets);
  return {
    ...narrowed,
    params: { ...narrowed.params, _meta: { ...meta, [CAPABILITIES_KEY]: capabilities } },
  };
}

function capabilitiesOf(announced: Json | undefined, lets: (asks: Asks) => boolean): JsonObject {
  if (!isJsonObject(announced)) return {};
  const { sampling, roots } = announced;
  const elicitation = elicitationOf(announced['elicitation'], lets);
  return {
    ...(isJsonObject(sampling) && lets('sampling') ? { sampling: pick(sampling, ['context', 'tools']) } : {}),
    ...(elicitation === undefined ? {} : { elicitation }),
    ...(isJsonObject(roots) && lets('roots') ? { roots: pick(roots, ['listChanged']) } : {}),
  };
}

/** One that names no mode has forms (2025-11-25, "Elicitation", "Capabilities"). */
function elicitationOf(announced: Json | undefined, lets: (asks: Asks) => boolean): JsonObject | undefined {
  if (!isJsonObject(announced)) return undefined;
  const { form, url } = announced;
  const namesNone = form === undefined && url === undefined;
  const kept = {
    ...(isJsonObject(form) && lets('elicitation') ? { form } : {}),
    ...(isJsonObject(url) && lets('elicitation-url') ? { url } : {}),
  };
  if (namesNone) return lets('elicitation') ? {} : undefined;
  return Object.keys(kept).length === 0 ? undefined : kept;
}

/** The server has ended what it asked for by URL (2025-11-25, "Elicitation"). */
export const ELICITED = 'notifications/elicitation/complete';
/** An error that asks the user to open URLs before the call is made again (2025-11-25, "Elicitation"). */
const URL_ELICITATION_REQUIRED = -32042;

/** Whether an error is a question by URL. */
export const asksByUrl = ({ error }: Response): boolean => error?.code === URL_ELICITATION_REQUIRED;

/** Throws mcp_parse unless a client answers a question of this kind so: by its own error, or a result of that kind. */
export function ensureAnswers(asks: Asks, { result, error }: Response): void {
  const fits = error !== undefined || isAnswerTo(asks, result);
  ensure(fits, 'mcp_parse', `the response is no answer to a question of the server for ${asks}`);
}
