/** Records requests that HTTP itself refuses, and ends their connections. */
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { IdentityError } from '@chancery/shared/ground/errors.ts';

/** By Node's error code. Other codes are broken connections, not requests. */
const STATUS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

export interface HttpFailures {
  /** Called for each other request. */
  readonly onRequest: (req: IncomingMessage, res: ServerResponse) => void;
  readonly onRefused: (socket: Duplex, error: IdentityError, httpMethod: string | undefined) => void;
}

/** Adds listeners to `server` for requests that HTTP refuses. Calls `onRefused` before it ends the connection. */
export function recordHttpFailures(server: Server, { onRequest, onRefused }: HttpFailures): void {
  server.on('clientError', (error, socket) => {
    const code = 'code' in error ? String(error.code) : '';
    const status = STATUS[code] ?? (code.startsWith('HPE_') ? 400 : undefined);
    if (status === undefined) socket.destroy();
    else {
      onRefused(
        socket,
        new IdentityError('mcp_parse', `the HTTP request could not be read: ${code}`),
        undefined,
      );
      goodbye(socket, status);
    }
  });
  server.on('connect', ({ method }, socket) => {
    onRefused(socket, new IdentityError('mcp_method', 'the gateway is not an HTTP proxy'), method);
    goodbye(socket, 405);
  });
  // The rest of the head decides whether the client may send its body.
  server.on('checkContinue', onRequest);
  server.on('checkExpectation', ({ method, socket }, res) => {
    onRefused(socket, new IdentityError('mcp_parse', 'only Expect: 100-continue is supported'), method);
    res.writeHead(417, { connection: 'close', 'content-length': 0 }).end();
  });
}

function goodbye(socket: Duplex, status: number): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
    () => socket.destroy(),
  );
}
