/** Reads HTTP messages within bounds, before they are parsed. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Weight } from '@chancery/shared/door/weights.ts';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';

/**
 * Counts the bytes of a body until they are freed: by `readBody` if that fails, else by the owner of the body. `lose`
 * is called if the incomplete body must give way to another.
 */
export type Weigh = (lose: (reason: IdentityError) => void) => Weight;

/** Throws mcp_size without reading further, mcp_parse if the body ends early, and what `weigh` throws. */
export function readBody(message: IncomingMessage, maxBytes: number, weigh?: Weigh): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const tooLarge = () => new IdentityError('mcp_size', `a body of more than ${maxBytes} bytes`);
    const declared = message.headers['content-length'];
    if (Number(declared ?? 0) > maxBytes) {
      reject(tooLarge());
      return;
    }
    const giveUp = (reason: IdentityError): void => {
      weight?.free();
      body.drop();
      reject(reason);
    };
    const weight = weigh?.(giveUp);
    const body = new Collected(Number(declared ?? maxBytes), (bytes) => weight?.add(bytes));
    message.on('data', (chunk: Buffer) => {
      try {
        if (body.size + chunk.length > maxBytes) throw tooLarge();
        body.take(chunk);
      } catch (error) {
        giveUp(refusalOf(error, 'mcp_size', 'the body could not be kept'));
      }
    });
    message.on('end', () => {
      resolve(body.bytes());
      // The message lives until it is answered, and its listeners with it.
      body.drop();
    });
    const endedEarly = (cause?: unknown): void =>
      giveUp(new IdentityError('mcp_parse', 'the body ended early', { cause }));
    message.on('error', endedEarly);
    message.on('close', () => {
      if (!message.complete) endedEarly();
    });
  });
}

/**
 * Collects a body in its own memory: each received piece may be one byte of a larger buffer, and would keep all of it.
 * Takes at most twice the bytes it has, and never more than `max`.
 */
class Collected {
  readonly #max: number;
  readonly #onGrow: (bytes: number) => void;
  #memory = Buffer.alloc(0);
  #dropped = false;
  size = 0;

  constructor(max: number, onGrow: (bytes: number) => void) {
    this.#max = max;
    this.#onGrow = onGrow;
  }

  take(piece: Buffer): void {
    if (this.#dropped) return;
    const size = this.size + piece.length;
    if (size > this.#memory.length) this.#grow(size);
    piece.copy(this.#memory, this.size);
    this.size = size;
  }

  #grow(size: number): void {
    // Most bodies arrive in one piece.
    const capacity = this.size === 0 ? size : Math.max(size, Math.min(2 * size, this.#max));
    this.#onGrow(capacity - this.#memory.length);
    const memory = Buffer.allocUnsafeSlow(capacity);
    this.#memory.copy(memory, 0, 0, this.size);
    this.#memory = memory;
  }

  drop(): void {
    this.#dropped = true;
    this.#memory = Buffer.alloc(0);
  }

  bytes(): Buffer {
    return this.#memory.subarray(0, this.size);
  }
}

/**
 * Throws mcp_media for another type, two types (Node keeps the first, the next reader may not), or a content coding.
 */
export function ensureJson(request: IncomingMessage): void {
  const { rawHeaders } = request;
  let types = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) if (isContentType(rawHeaders[at])) types += 1;
  ensure(types === 1, 'mcp_media', `${types} Content-Type headers`);
  ensure(
    isJson(request.headers['content-type']),
    'mcp_media',
    'the Content-Type is not application/json in UTF-8',
  );
  ensure(request.headers['content-encoding'] === undefined, 'mcp_media', 'the body has a Content-Encoding');
}

function isContentType(name: string | undefined): boolean {
  return name?.length === CONTENT_TYPE.length && name.toLowerCase() === CONTENT_TYPE;
}
const CONTENT_TYPE = 'content-type';

/**
 * RFC 9110 section 8.3.1. JSON has no parameters (RFC 8259 section 11), but a charset must be UTF-8 if it is present.
 */
export function isJson(type: string | undefined): boolean {
  if (type === undefined || !JSON_TYPE.test(type)) return false;
  const parameters = [...type.matchAll(PARAMETER)];
  return parameters.every(([, name, value]) => name?.toLowerCase() !== 'charset' || UTF8.test(value ?? ''));
}
const JSON_TYPE = /^application\/json[ \t]*(?:;[ \t]*(?:[^\s;,="]+=(?:[^\s;,="]+|"[^"\\]*")[ \t]*)?)*$/i;
const PARAMETER = /;[ \t]*([^\s;,="]+)=([^\s;,="]+|"[^"\\]*")/g;
const UTF8 = /^"?utf-?8"?$/i;

/** Whether a Content-Type is that of server-sent events, with any parameters. */
export function isEventStream(type: string | undefined): boolean {
  return type !== undefined && /^text\/event-stream[ \t]*(?:;|$)/i.test(type);
}

/** The value of a header that must not be repeated: Node joins repeated values with a comma, which none of ours has. */
export function header(message: IncomingMessage, name: string): string | undefined {
  const value = message.headers[name];
  return typeof value === 'string' ? value : undefined;
}

/** The headers with these names, or with this prefix if one is given. */
export function chosenHeaders(
  from: IncomingMessage,
  names: readonly string[],
  prefix: string | undefined,
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name in from.headers) {
    const value = header(from, name);
    const wanted = names.includes(name) || (prefix !== undefined && name.startsWith(prefix));
    if (wanted && value !== undefined) headers[name] = value;
  }
  return headers;
}

/**
 * Holds writes back until Node has handled everything from one read, so that the head, the events and the end of an
 * answer leave in one piece: each piece wakes the next process on the way.
 */
export function inOnePiece(res: ServerResponse): void {
  res.cork();
  // Runs after the queue of process.nextTick, and so after everything that Node has parsed.
  queueMicrotask(() => res.uncork());
}
