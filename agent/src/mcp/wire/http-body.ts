/** HTTP messages, read with bounds before anything is made of them. */
import type { IncomingMessage } from 'node:http';
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
  const types = request.headersDistinct['content-type'] ?? [];
  ensure(types.length === 1, 'mcp_media', `${types.length} Content-Type headers`);
  ensure(isJson(types[0]), 'mcp_media', 'the Content-Type is not application/json in UTF-8');
  ensure(request.headers['content-encoding'] === undefined, 'mcp_media', 'the body has a Content-Encoding');
}

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
