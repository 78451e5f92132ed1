/** The official SDK's client of 2026-07-28, its server behind the gateway, and `tools/list_changed` between them. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connectTo, policyFor, startWorld, type World } from '../kit/mcp/world/world.ts';

let http: Server;
let world: World;
let connect: Awaited<ReturnType<typeof connectTo>>;
let handler: ReturnType<typeof createMcpHandler>;
beforeEach(async () => {
  handler = createMcpHandler(() => {
    const server = new McpServer(
      { name: 'test', version: '1' },
      { capabilities: { tools: { listChanged: true } } },
    );
    server.registerTool('echo', { description: 'echoes' }, () => ({ content: [] }));
    return server;
  });
  const answer = toNodeHandler(handler);
  http = createServer((req, res) => void answer(req as Parameters<typeof answer>[0], res));
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo;
  world = await startWorld({ kind: 'url', url: new URL(`http://127.0.0.1:${port}/mcp`) });
  connect = await connectTo(world, { kind: 'tcp', port: 0 });
});
afterEach(async () => {
  await connect.close();
  await world.close();
  http.closeAllConnections();
  await new Promise((resolve) => http.close(resolve));
});

test('a modern client that listens is told when the server or a policy changes its list', async () => {
  let changes = 0;
  const onChanged = (): void => {
    changes += 1;
  };
  const client = new Client(
    { name: 'test', version: '1' },
    {
      versionNegotiation: { mode: 'auto' },
      listChanged: { tools: { onChanged } },
    },
  );
  await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${connect.port}/mcp`)));
  expect(client.getProtocolEra()).toBe('modern');
  expect(client.getServerCapabilities()).toMatchObject({ tools: { listChanged: true } });
  const told = () => world.events.filter(({ method }) => /acknowledged/.test(method ?? '')).length;
  await expect.poll(told).toBe(1);
  handler.notify.toolsChanged();
  await expect.poll(() => changes).toBe(1);
  world.policy.publish(policyFor(world.gateway.port, { allow: ['get-*'] }, 3n));
  await expect.poll(() => changes).toBe(2);
  await client.close();
});
