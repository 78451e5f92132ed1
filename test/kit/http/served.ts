/** An HTTP server on loopback that answers as a stand-in says, or as no service should. */
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';

export interface Received {
  readonly method: string;
  /** Path and query, as they were sent. */
  readonly target: string;
  /** Names in lower case; a header that came twice has both values. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly body: Buffer;
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/** No answer at all; a byte now and then; half of it and then the end of the connection; or another answer. */
export type Spoilt = 'hang' | 'drip' | 'cut' | ((answer: Answer, received: Received) => Answer);

export interface Served {
  readonly url: string;
  /** Host and port, as clients send them. */
  readonly host: string;
  readonly received: readonly Received[];
  /** Spoils every answer from now on; undefined mends it. */
  spoil(how: Spoilt | undefined): void;
  close(): Promise<void>;
}

export interface ServeOptions {
  readonly now?: () => Date;
  readonly port?: number;
  /** PEM; plain HTTP without. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
}

const DRIP_MS = 20;

export async function serve(
  answer: (received: Received) => Answer | Promise<Answer>,
  { now = () => new Date(), port = 0, tls }: ServeOptions = {},
): Promise<Served> {
  const all: Received[] = [];
  let spoilt: Spoilt | undefined;
  const handle = async (request: http.IncomingMessage, reply: http.ServerResponse): Promise<void> => {
    const received = await receive(request);
    all.push(received);
    const how = spoilt;
    if (how === 'hang') return;
    const genuine = await answer(received);
    const { status, headers = {}, body = '' } = typeof how === 'function' ? how(genuine, received) : genuine;
    const bytes = Buffer.from(body);
    reply.sendDate = false;
    const length = { 'content-length': String(bytes.length) };
    reply.writeHead(status, { date: now().toUTCString(), ...length, ...headers });
    if (how === 'drip') drip(reply, bytes);
    else if (how === 'cut') reply.write(bytes.subarray(0, bytes.length / 2), () => reply.destroy());
    else reply.end(bytes);
  };
  const server = tls === undefined ? http.createServer(handle) : https.createServer(tls, handle);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const host = `127.0.0.1:${address.port}`;
  return {
    url: tls === undefined ? `http://${host}` : `https://localhost:${address.port}`,
    host,
    received: all,
    spoil: (how) => {
      spoilt = how;
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function receive(request: http.IncomingMessage): Promise<Received> {
  const headers = new Map<string, string[]>();
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    const name = (request.rawHeaders[at] ?? '').toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), request.rawHeaders[at + 1] ?? '']);
  }
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return { method: request.method ?? '', target: request.url ?? '', headers, body: Buffer.concat(chunks) };
}

function drip(reply: http.ServerResponse, bytes: Buffer): void {
  let at = 0;
  const timer = setInterval(() => {
    reply.write(bytes.subarray(at, at + 1));
    at += 1;
    if (at >= bytes.length) reply.end();
  }, DRIP_MS);
  reply.on('close', () => clearInterval(timer));
}
