/** Clients of the official SDK, of either era, and its servers of either era behind one endpoint. */
import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client } from '@modelcontextprotocol/client';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { Client as LegacyClient } from '@modelcontextprotocol/sdk/client/index.js';
import { McpServer as LegacyServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stdioClient } from '../kit/mcp/clients/stdio-client.ts';
import { reachOf } from '../kit/mcp/world/union-world.ts';
import { connectTo, startWorld, type World } from '../kit/mcp/world/world.ts';

const WAIT = { timeout: 30_000 };
const INFO = { name: 'test', version: '1' };

async function listening(server: Server): Promise<URL> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
}

/** Both SDKs have the same methods here. */
function furnish(
  server: Pick<LegacyServer, 'registerTool' | 'registerPrompt' | 'registerResource'>,
  at: string,
) {
  server.registerTool('where', { description: 'says where', title: 'Where' }, () => ({
    content: [
      { type: 'text', text: at },
      { type: 'resource_link', uri: 'doc://one', name: 'one' },
    ],
  }));
  server.registerPrompt('greet', {}, () => ({
    messages: [{ role: 'user', content: { type: 'text', text: at } }],
  }));
  server.registerResource('one', 'doc://one', {}, (uri) => ({ contents: [{ uri: uri.href, text: at }] }));
}

/** A server of 2026-07-28 alone, without sessions. */
function modernServer() {
  const handler = createMcpHandler(
    () => {
      const capabilities = { tools: { listChanged: true }, prompts: {}, resources: {} };
      const server = new McpServer(INFO, { capabilities, instructions: 'Be modern.' });
      furnish(server as unknown as LegacyServer, 'modern');
      return server;
    },
    { legacy: 'reject' },
  );
  const answer = toNodeHandler(handler);
  return {
    handler,
    http: createServer((req, res) => void answer(req as Parameters<typeof answer>[0], res)),
  };
}

/** A server of 2025-11-25, with sessions. */
function legacyServer() {
  const sessions = new Map<string, { transport: StreamableHTTPServerTransport; server: LegacyServer }>();
  const http = createServer(async (req, res) => {
    const known = sessions.get(String(req.headers['mcp-session-id']));
    if (known !== undefined) return known.transport.handleRequest(req, res);
    const server = new LegacyServer(INFO, { instructions: 'Be legacy.' });
    furnish(server, 'legacy');
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (id) => void sessions.set(id, { transport, server }),
    });
    await server.connect(transport as Parameters<typeof server.connect>[0]);
    await transport.handleRequest(req, res);
  });
  return { http, sessions };
}

let modern: ReturnType<typeof modernServer>;
let legacy: ReturnType<typeof legacyServer>;
let world: World;
let connects: Awaited<ReturnType<typeof connectTo>>[];
interface Joining {
  connect(transport: never): Promise<void>;
  getInstructions(): string | undefined;
  close(): Promise<void>;
}

/** A busy machine may need more than a second for the first answers of the servers, which `initialize` waits for. */
async function joined<T extends Joining>(make: () => T): Promise<T> {
  for (;;) {
    const { transport, input, output } = stdioClient();
    connects.push(await connectTo(world, { kind: 'stdio', input, output }, { server: undefined }));
    const client = make();
    await client.connect(transport as never);
    if (/Be legacy.*Be modern/s.test(client.getInstructions() ?? '')) return client;
    await client.close();
  }
}
beforeEach(async () => {
  connects = [];
  [modern, legacy] = [modernServer(), legacyServer()];
  const urls = { modern: await listening(modern.http), legacy: await listening(legacy.http) };
  const others = Object.entries(urls).map(([server, url]) => ({
    server,
    upstream: { kind: 'url', url } as const,
    freeText: { instructions: true, logs: true },
  }));
  world = await startWorld({ kind: 'url', url: urls.legacy }, { others });
  world.policy.publish(reachOf(world, ['modern', 'legacy'], 10n));
});
afterEach(async () => {
  await Promise.all(connects.map((each) => each.close()));
  await world.close();
  for (const http of [modern.http, legacy.http]) {
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  }
});

const CLIENTS = [
  ['2025-11-25', () => new LegacyClient(INFO)],
  ['2026-07-28', () => new Client(INFO, { versionNegotiation: { mode: 'auto' } }) as unknown as LegacyClient],
] as const;

describe.each(CLIENTS)('a client of %s', (version, make) => {
  test('uses the tools, prompts and resources of servers of both eras', async () => {
    const client = await joined(make);
    expect(client.getInstructions()).toMatch(/^Instructions of the MCP server legacy.*\n> Be legacy\.\n\n/);
    expect(client.getInstructions()).toMatch(/\n> Be modern\.$/);
    // Each list waits a second for a server, which a busy machine may need more of.
    const tools = async () => (await client.listTools()).tools.map(({ name, title }) => `${name} ${title}`);
    await expect.poll(tools, WAIT).toEqual(['legacy__where legacy: Where', 'modern__where modern: Where']);
    const prompts = async () => (await client.listPrompts()).prompts.map(({ name }) => name);
    await expect.poll(prompts, WAIT).toEqual(['legacy__greet', 'modern__greet']);
    const resources = async () => (await client.listResources()).resources.map(({ uri }) => uri);
    await expect.poll(resources, WAIT).toEqual(['mcp-legacy+doc://one', 'mcp-modern+doc://one']);
    for (const server of ['legacy', 'modern']) {
      const called = await client.callTool({ name: `${server}__where` });
      const uri = `mcp-${server}+doc://one`;
      expect(called.content).toMatchObject([{ text: server }, { type: 'resource_link', uri }]);
      expect((await client.readResource({ uri })).contents).toMatchObject([{ uri, text: server }]);
      const { messages } = await client.getPrompt({ name: `${server}__greet` });
      expect(messages).toMatchObject([{ content: { text: server } }]);
    }
    if (version === '2025-11-25') expect(client.getServerVersion()).toMatchObject({ name: 'chancery' });
    await client.close();
  });
});

test('a client of 2026-07-28 is notified of changes of servers of both eras', async () => {
  let changes = 0;
  const onChanged = (): void => {
    changes += 1;
  };
  const options = { versionNegotiation: { mode: 'auto' }, listChanged: { tools: { onChanged } } } as const;
  const client = await joined(() => new Client(INFO, options));
  expect(client.getProtocolEra()).toBe('modern');
  await client.listTools();
  const told = () => world.events.filter(({ method }) => /acknowledged/.test(method ?? '')).length;
  await expect.poll(told, WAIT).toBeGreaterThan(0);
  const before = changes;
  modern.handler.notify.toolsChanged();
  await expect.poll(() => changes, WAIT).toBeGreaterThan(before);
  for (const { server } of legacy.sessions.values())
    if (server.isConnected()) server.registerTool('new', {}, () => ({ content: [] }));
  await expect
    .poll(async () => (await client.listTools()).tools.map(({ name }) => name), WAIT)
    .toContain('legacy__new');
  await client.close();
});
