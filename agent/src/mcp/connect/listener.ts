/**
 * A local URL or socket for MCP clients that speak HTTP. It serves programs of this user only: no web page that found
 * the port, and no other user of the machine. It does not read messages; the gateway does.
 */
import { randomUUID } from 'node:crypto';
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Folder } from '@chancery/shared/audit/folder.ts';
import { Connections } from '@chancery/shared/door/connections.ts';
import { openFilesLimit } from '@chancery/shared/door/descriptors.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, type IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { cannotListen } from '@chancery/shared/text/listening.ts';
import { listenPrivately } from '@chancery/shared/unix/private-socket.ts';
import { refuse } from '../wire/answer/reply.ts';
import { chosenHeaders, ensureJson, header, readBody } from '../wire/http-body.ts';
import type { Dialler, Posted } from './dial.ts';
import { IdleConnections } from './idle-connections.ts';
import { tcpCallers, unixCallers } from './local-peer.ts';
import { Relay } from './relay.ts';
import { traced } from './traced-request.ts';

export type LocalEndpoint =
  | { readonly kind: 'unix'; readonly path: string }
  /** On 127.0.0.1; port 0 takes a free one. */
  | { readonly kind: 'tcp'; readonly port: number };

export interface ListenerOptions {
  readonly local: LocalEndpoint;
  readonly dialler: Dialler;
  readonly uid: number;
  readonly platform: NodeJS.Platform;
  readonly clock: Clock;
  readonly log: Log;
  /** The largest message. */
  readonly maxRequestBytes: number;
  /** Whether the kernel is asked for callers; by default where that is possible. */
  readonly namesPeers?: boolean;
}

export interface Listener {
  readonly port: number | undefined;
  /** Ends the listener and its connections. Resolves when it no longer listens. */
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
/**
 * How long an idle connection is kept. A client that sends a request while we close the connection loses its call, so
 * this is longer than clients keep theirs (httpx 5 s, Java 30 s, Go 90 s).
 */
const KEEP_ALIVE_MS = 95_000;
/** Far more than one user's clients keep. Each takes a descriptor. */
const MAX_IDLE = 256;
const IDLE_PART = 1 / 4;
/** Connections of other users: they get a refusal and nothing else. */
const OF_OTHERS = { strangers: 16, perStranger: 16, certified: 0, perCertificate: 0, perHolder: 0 };
const LOCAL_NAMES = ['127.0.0.1', 'localhost', '[::1]'];
/** Headers that the gateway or the MCP server needs. None carries a secret of the client. */
const TO_GATEWAY = [
  'content-type',
  'accept',
  'last-event-id',
  'mcp-session-id',
  'mcp-protocol-version',
  'mcp-method',
  'mcp-name',
  'traceparent',
  'tracestate',
];

/** Throws file_mode, file, unavailable. The caller closes it. */
export async function startListener(options: ListenerOptions): Promise<Listener> {
  const { local, log } = options;
  let ensureOwn = local.kind === 'tcp' ? tcpCallers(options) : undefined;
  const allowed = new WeakSet<Socket>();
  const others = new Connections(OF_OTHERS, () => {});
  const idle = new IdleConnections(Math.min(MAX_IDLE, Math.floor(openFilesLimit() * IDLE_PART)));
  const tell = tellerOf(options);
  let port: number | undefined;
  const server = createServer((req, res) => {
    res.sendDate = false;
    res.once('close', idle.ask(req.socket));
    res.on('error', (error) => log.debug({ err: error }, 'an answer did not arrive'));
    answer(options, port, { req, res, allowed }).catch((error) => {
      tell.refused(error, 'a local request was refused');
      const refusal = refusalOf(error, 'internal', 'connect failed');
      // The rest of a body that is too large is skipped: many clients read no answer before they have sent everything.
      if (!req.complete && refusal.code !== 'mcp_size') res.setHeader('connection', 'close');
      if (!res.headersSent) refuse(res, refusal, undefined);
    });
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on('clientError', endFailed);
  server.on('connection', (socket) => {
    try {
      ensure(ensureOwn !== undefined, 'unavailable', 'connect is not ready yet');
      ensureOwn(socket);
      allowed.add(socket);
      idle.add(socket);
    } catch (error) {
      tell.refused(error, 'a local caller was refused');
      // Its next request gets the reason. Until then its connection counts against the bound for other users.
      others.arrive(socket, { address: 'other users' });
    }
  });
  await (local.kind === 'unix'
    ? listenPrivately(server, { path: local.path, mode: 0o600, advice: 'give another path' })
    : listenOn(server, local.port));
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      tell.close();
      server.close(() => resolve());
      server.closeAllConnections();
    });
  try {
    if (local.kind === 'unix') ensureOwn = unixCallers(local.path, options);
  } catch (error) {
    await close();
    throw error;
  }
  const address = server.address();
  port = typeof address === 'object' ? address?.port : undefined;
  return { port, close };
}

/**
 * Does what Node does, except for a connection without a request: a client that is about to send one would take an HTTP
 * 408 for its answer.
 */
export function endFailed(error: Error, socket: Duplex): void {
  const code = 'code' in error ? String(error.code) : '';
  const status = STATUS[code] ?? 400;
  const asked = socket instanceof Socket && socket.bytesRead > 0;
  if (asked && socket.writable && code !== 'ECONNRESET' && socket.bytesWritten === 0)
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`);
  socket.destroy();
}
const STATUS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/**
 * Logs the first refusal of a kind in full, then one line per minute with their number: another user may cause any
 * number.
 */
function tellerOf({ clock, log }: ListenerOptions) {
  const folder = new Folder<{ id: string; error: unknown; says: string }>({
    clock,
    write: ({ error, says }, folded) => log.warn({ err: error, ...folded }, says),
    onLost: () => {},
  });
  return {
    refused(error: unknown, says: string): void {
      const kind = `${says} ${refusalOf(error, 'internal', 'connect failed').code}`;
      folder.add({ source: 'local', kind }, { id: randomUUID(), error, says });
    },
    close: () => folder.close(),
  };
}

interface LocalRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly allowed: WeakSet<Socket>;
}

async function answer(
  options: ListenerOptions,
  port: number | undefined,
  { req, res, allowed }: LocalRequest,
): Promise<void> {
  const { dialler, maxRequestBytes } = options;
  ensure(allowed.has(req.socket), 'peer_uid', 'the caller is not this user');
  ensureLocal(req, port);
  ensure(req.url === '/mcp', 'server_unknown', 'another path than the endpoint');
  const method = methodOf(req);
  if (method === 'POST') ensureJson(req);
  const body = method === 'POST' ? await readBody(req, maxRequestBytes) : undefined;
  const posted = { method, headers: chosenHeaders(req, TO_GATEWAY, 'mcp-param-'), body };
  new Relay(dialler, traced(dialler, posted, { res, maxRequestBytes }), res);
}

/**
 * Throws mcp_origin. A page in a browser sends its Origin. A page whose own name resolves to this machine sends that
 * name as Host (DNS rebinding). A program of this user sends neither.
 */
function ensureLocal(req: IncomingMessage, port: number | undefined): void {
  const origin = header(req, 'origin');
  // Another port belongs to another program, so its pages are of another site.
  const suffix = port === undefined ? '' : `:${port}`;
  const own = origin === undefined || LOCAL_NAMES.some((name) => origin === `http://${name}${suffix}`);
  ensure(own, 'mcp_origin', `Origin is ${origin}`);
  if (port === undefined) return;
  const named = header(req, 'host');
  ensure(
    LOCAL_NAMES.some((name) => named === `${name}:${port}`),
    'mcp_origin',
    `Host is ${named}`,
  );
}

function methodOf({ method }: IncomingMessage): Posted['method'] {
  ensure(
    method === 'POST' || method === 'GET' || method === 'DELETE',
    'mcp_method',
    'neither POST nor GET nor DELETE',
  );
  return method;
}

function listenOn(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void =>
      reject(refusalOf(error, 'unavailable', cannotListen(`${HOST}:${port}`, error)) satisfies IdentityError);
    server.once('error', failed);
    server.listen({ host: HOST, port }, () => {
      server.off('error', failed);
      resolve();
    });
  });
}
