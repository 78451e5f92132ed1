/** HTTP messages, read with bounds before anything is made of them. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Weight } from '@chancery/shared/door/weights.ts';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';

/**
 * Counts what is held of a body until it is freed, by `readBody` where that fails and else by whoever has the body;
 * `lose` is for a body that is not whole and has to give way to another.
 */
export type Weigh = (lose: (reason: IdentityError) => void) => Weight;

/** Throws mcp_size without reading further, mcp_parse where the body ends early, and what `weigh` throws. */
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
      // The message, and with it these listeners, lives until it is answered.
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
 * What came of a body, in memory of its own: pieces as they came would hold far more than their bytes, because each may
 * be a byte of a larger read. It grows to twice what it holds at most, and never beyond `max`.
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
    // Most bodies come in one piece.
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

/** Throws mcp_media: another type, two of them (Node keeps the first, the next reader may not), or a coding. */
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

/** RFC 9110 section 8.3.1. JSON has no parameters (RFC 8259 section 11); a charset that is there has to be right. */
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

/** A header that must not be there twice; Node joins its values with a comma, which no value of ours has. */
export function header(message: IncomingMessage, name: string): string | undefined {
  const value = message.headers[name];
  return typeof value === 'string' ? value : undefined;
}

/** Of the headers, those of these names and, where it is given, of this prefix. */
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
 * Holds back what is written until everything that came in one read has been dealt with, so that the head of an answer,
 * its events and its end leave in one piece: each piece wakes the next process on the way.
 */
export function inOnePiece(res: ServerResponse): void {
  res.cork();
  // Runs when the queue of process.nextTick is empty, and with it what Node has parsed so far.
  queueMicrotask(() => res.uncork());
}
