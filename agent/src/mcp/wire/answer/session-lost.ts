/**
 * Recognizes a session that a server no longer knows. The specification says 404 (2025-11-25, "Session Management").
 * The reference server answers 400 with a JSON-RPC error about the session, and the Python SDK before 2.0 answers 400
 * with a sentence about it.
 */
import { asBuffer, withoutBom } from '@chancery/shared/ground/bytes.ts';
import {
  errorResponse,
  type Id,
  type Message,
  type Response,
  type RpcError,
} from '@chancery/shared/mcp/message.ts';

/** More than a sentence. */
const MAX_SENTENCE = 1_024;
/** An error with its data. */
const MAX_ERROR = 64 * 1_024;
const SPEAKS_OF_IT = /session|not initialized/i;

/** An answer to a request that named a session. */
export interface Answered {
  readonly status: number;
  readonly message: Message | undefined;
  /** Used if no message in it can be read. */
  readonly body?: Uint8Array;
  /** The id of the request that it answers. */
  readonly id: Id | undefined;
}

/** True if the answer says that the server no longer knows the session, and not that it refuses the request. */
export function isSessionLost({ status, message, body = new Uint8Array(), id }: Answered): boolean {
  const answer = message === undefined ? errorIn(body) : message.kind === 'response' ? message : undefined;
  const { code, message: text = '' } = answer?.error ?? {};
  const spoken = SPEAKS_OF_IT.test(text);
  // An error with the id of the request and another text is about that request, as in 2026-07-28.
  const isOwn = id !== undefined && answer?.id !== undefined && String(answer.id) === String(id);
  if (status === 404) return code === undefined || !isOwn || code === -32001 || spoken;
  if (status !== 400) return false;
  // Any other 400 is about the request, such as an unknown version.
  if (answer === undefined && message === undefined)
    return body.length === 0 || SPEAKS_OF_IT.test(sentenceIn(body));
  return (code === -32000 || code === -32001) && spoken;
}

/** The error in a body that is not a message by our rules: its code has more than 32 bits, or it has no version. */
function errorIn(body: Uint8Array): { readonly id: unknown; readonly error: RpcError } | undefined {
  if (body.length > MAX_ERROR) return undefined;
  try {
    const value: unknown = JSON.parse(asBuffer(withoutBom(body)).toString('utf8'));
    const { id, error } = Object(value);
    const { code, message } = Object(error);
    return typeof code === 'number' && typeof message === 'string'
      ? { id, error: { code, message } }
      : undefined;
  } catch {
    return undefined;
  }
}

function sentenceIn(body: Uint8Array): string {
  return body.length > MAX_SENTENCE ? '' : asBuffer(body).toString('utf8');
}

/** The error that servers of the SDKs send, and that their clients look for. */
export function sessionLost(): Response {
  return errorResponse(undefined, { code: -32001, message: 'the session is not known: begin a new one' });
}
