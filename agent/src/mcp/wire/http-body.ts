/** HTTP messages, read with bounds before anything is made of them. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ensure, IdentityError } from '@chancery/shared/errors.ts';

/** Throws mcp_size without reading further. */
export function readBody(message: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const tooLarge = () => new IdentityError('mcp_size', `a body of more than ${maxBytes} bytes`);
    if (Number(message.headers['content-length'] ?? 0) > maxBytes) {
      reject(tooLarge());
      return;
    }
    const chunks: Buffer[] = [];
    let size = 0;
    message.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxBytes) chunks.push(chunk);
      else reject(tooLarge());
    });
    message.on('end', () =>
      resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)),
    );
    message.on('error', (error) =>
      reject(new IdentityError('mcp_parse', 'the body ended early', { cause: error })),
    );
    message.on('close', () => {
      if (!message.complete) reject(new IdentityError('mcp_parse', 'the body ended early'));
    });
  });
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

export function isJson(type: string | undefined): boolean {
  return type !== undefined && /^application\/json[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?$/i.test(type);
}

export function isEventStream(type: string | undefined): boolean {
  return type !== undefined && /^text\/event-stream[ \t]*(?:;|$)/i.test(type);
}

/** A header that must not be there twice; Node joins its values with a comma, which no value of ours has. */
export function header(message: IncomingMessage, name: string): string | undefined {
  const value = message.headers[name];
  return typeof value === 'string' ? value : undefined;
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
