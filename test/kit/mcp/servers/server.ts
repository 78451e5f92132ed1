/** An MCP server that says what a test wants it to, and remembers what it was sent. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { UpstreamTarget } from '@chancery/agent/mcp/upstream/upstream.ts';

/** What a test expects of a message, and then asserts: the parts that it reads, as JSON.parse gives them. */
export interface RpcJson {
  readonly id: number | string;
  readonly method: string;
  readonly params: {
    readonly name: string;
    readonly protocolVersion: string;
    readonly capabilities: object;
    readonly _meta: Readonly<Record<string, unknown>>;
  };
  readonly result: {
    readonly content: readonly [{ readonly text: string }];
    readonly tools: readonly { readonly name: string }[];
    readonly capabilities: object;
  };
  readonly error: {
    readonly code: number;
    readonly message: string;
    readonly data: Readonly<Record<string, unknown>>;
  };
}

export interface Seen {
  readonly method: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly json: RpcJson;
}

export type Say = (seen: Seen, res: ServerResponse, req: IncomingMessage) => void;

export interface FakeServer {
  readonly target: UpstreamTarget;
  readonly seen: Seen[];
  say: Say;
  close(): Promise<void>;
}

export const TOOLS_LISTED = ['echo', 'get-env', 'get-sum', 'new-tool'];

/** Answers as a server of either era would, in JSON. */
export const politely: Say = ({ method, json }, res) => {
  if (method !== 'POST' || json?.id === undefined || json?.method === undefined) {
    res.writeHead(202).end();
    return;
  }
  reply(
    res,
    { jsonrpc: '2.0', id: json.id, result: resultOf(json) },
    { 'mcp-session-id': 'upstream-session' },
  );
};

function resultOf(json: RpcJson): object {
  if (json.method === 'tools/list')
    return {
      tools: TOOLS_LISTED.map((name) => ({ name, inputSchema: {} })),
      nextCursor: 'c2',
      ttlMs: 5,
      cacheScope: 'public',
    };
  if (json.method === 'tools/call') return { content: [{ type: 'text', text: json.params.name }] };
  const capabilities = { tools: {}, prompts: {}, resources: {} };
  if (json.method === 'initialize') return { protocolVersion: '2025-11-25', capabilities, serverInfo: {} };
  return {};
}

export function reply(
  res: ServerResponse,
  message: unknown,
  headers: Record<string, string> = {},
  status = 200,
): void {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(typeof message === 'string' ? message : JSON.stringify(message));
}

/** Events, and the end of the stream unless `open`. */
export function stream(res: ServerResponse, events: readonly unknown[], open = false): void {
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  res.flushHeaders();
  for (const event of events)
    res.write(`data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`);
  if (!open) res.end();
}

export async function startFakeServer(): Promise<FakeServer> {
  const seen: Seen[] = [];
  const fake = { seen, say: politely };
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const { method, headers } = req;
    const what = { method, headers, text, json: text === '' ? undefined : JSON.parse(text) };
    seen.push(what);
    fake.say(what, res, req);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(fake, {
    target: { kind: 'url' as const, url: new URL(`http://127.0.0.1:${port}/up`) },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
