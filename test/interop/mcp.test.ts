/**
 * Real MCP clients and servers of both eras through connect and gateway. The clients are the official SDKs, v1 and v2;
 * the servers are the reference server over HTTP and stdio, and one made with the v2 SDK that is modern only.
 */
import { hash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { UpstreamTarget } from '@chancery/agent/mcp/upstream/upstream.ts';
import {
  Client as ClientV2,
  StreamableHTTPClientTransport as HttpV2,
  type Transport,
} from '@modelcontextprotocol/client';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { stdioClient } from '../kit/mcp/clients/stdio-client.ts';
import { everythingOverStdio, startEverything } from '../kit/mcp/servers/everything.ts';
import { connectTo, startWorld, type World } from '../kit/mcp/world/world.ts';

const TOOLS = { allow: ['echo', 'get-*', 'trigger-long-running-operation'], deny: ['get-env'] };
const EXPECTED = ['echo', 'get-sum', 'get-tiny-image'];

interface Reached {
  listTools(): Promise<{ tools: { name: string }[] }>;
  /** The v1 client takes a schema and options after the call. */
  callTool(
    call: { name: string; arguments?: Record<string, unknown> },
    ...rest: readonly unknown[]
  ): Promise<{ content: readonly [{ text: string }] }>;
  close(): Promise<void>;
}

const v1 = async (url: URL): Promise<Reached> => {
  const client = new ClientV1({ name: 'v1', version: '1' });
  await client.connect(new HttpV1(url) as Parameters<typeof client.connect>[0]);
  return client as unknown as Reached;
};

const v2 = async (
  transport: Transport,
  mode: 'auto' | 'legacy',
): Promise<Reached & { era: string | undefined }> => {
  const client = new ClientV2({ name: 'v2', version: '1' }, { versionNegotiation: { mode } });
  await client.connect(transport);
  return Object.assign(client, { era: client.getProtocolEra() }) as unknown as Reached & {
    era: string | undefined;
  };
};

async function exercise(client: Reached): Promise<void> {
  const { tools } = await client.listTools();
  const names = tools.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(EXPECTED));
  expect(names).not.toContain('get-env');
  expect(names).not.toContain('toggle-simulated-logging');
  const echoed = await client.callTool({ name: 'echo', arguments: { message: 'héllo 😀' } });
  expect(echoed.content[0].text).toBe('Echo: héllo 😀');
  const denied = await client.callTool({ name: 'get-env' }).catch((error: unknown) => error);
  expect(denied).toMatchObject({
    code: -31403,
    data: { rule: 'triage', reason: expect.stringContaining('get-env') },
  });
}

async function withConnect(world: World, use: (url: URL) => Promise<void>): Promise<void> {
  const connect = await connectTo(world, { kind: 'tcp', port: 0 });
  try {
    await use(new URL(`http://127.0.0.1:${connect.port}/mcp`));
  } finally {
    await connect.close();
  }
}

async function withStdio(world: World, use: (transport: Transport) => Promise<void>): Promise<void> {
  const { transport, input, output } = stdioClient();
  const connect = await connectTo(world, { kind: 'stdio', input, output });
  try {
    await use(transport);
  } finally {
    await connect.close();
  }
}

const servers: [name: string, start: () => Promise<{ target: UpstreamTarget; stop(): Promise<void> }>][] = [
  [
    'over HTTP',
    async () => {
      const { url, stop } = await startEverything();
      return { target: { kind: 'url', url }, stop };
    },
  ],
  ['over stdio', async () => ({ target: everythingOverStdio, stop: async () => {} })],
];

describe.each(servers)('the reference server %s', (_name, start) => {
  let world: World;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    const server = await start();
    stop = server.stop;
    world = await startWorld(server.target, { tools: TOOLS });
  });
  afterAll(async () => {
    await world?.close();
    await stop?.();
  });

  test('with the v1 client by URL', () =>
    withConnect(world, async (url) => {
      const client = await v1(url);
      await exercise(client);
      await client.close();
    }));

  test('with the v2 client by URL, which finds that the server is of the legacy era', () =>
    withConnect(world, async (url) => {
      const client = await v2(new HttpV2(url), 'auto');
      expect(client.era).toBe('legacy');
      await exercise(client);
      await client.close();
    }));

  test('with the v2 client by stdio', () =>
    withStdio(world, async (transport) => {
      const client = await v2(transport, 'legacy');
      await exercise(client);
      await client.close();
    }));

  test('progress arrives while the call runs', () =>
    withConnect(world, async (url) => {
      const client = await v1(url);
      const seen: number[] = [];
      const call = { name: 'trigger-long-running-operation', arguments: { duration: 0.2, steps: 2 } };
      const options = { onprogress: ({ progress }: { progress: number }) => seen.push(progress) };
      const { content } = await client.callTool(call, undefined, options);
      expect(content[0].text).toContain('Long running operation completed');
      expect(seen).toEqual([1, 2]);
      await client.close();
    }));

  test('every event of a call is recorded, with who and what', () => {
    const [asked] = world.events.filter(({ stage, tool }) => stage === 'decided' && tool === 'echo');
    expect(asked).toMatchObject({
      caller: 'spiffe://prod.example/agents/triage',
      server: 'everything',
      method: 'tools/call',
      allow: true,
      rule: 'triage',
      policyVersion: 2,
      argumentsSha256: hash('sha256', JSON.stringify({ message: 'héllo 😀' })),
    });
    expect(world.events.find(({ id, stage }) => stage === 'answered' && id === asked?.id)).toMatchObject({
      outcome: 'result',
      tool: 'echo',
    });
  });
});

describe('a modern server', () => {
  let world: World;
  let server: Server;
  beforeAll(async () => {
    const handler = createMcpHandler(
      () => {
        const mcp = new McpServer({ name: 'modern', version: '1' }, { capabilities: { tools: {} } });
        const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });
        const input = { inputSchema: z.object({ message: z.string() }) };
        mcp.registerTool('echo', input, async ({ message }) => text(`Echo: ${message}`));
        mcp.registerTool('get-env', { inputSchema: z.object({}) }, async () => text('secrets'));
        for (const name of ['get-sum', 'get-tiny-image', 'toggle-simulated-logging'])
          mcp.registerTool(name, { inputSchema: z.object({}) }, async () => text(name));
        return mcp;
      },
      { legacy: 'reject' },
    );
    const serve = toNodeHandler(handler);
    server = createServer((req, res) => void serve(req as Parameters<typeof serve>[0], res));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    world = await startWorld({ kind: 'url', url: new URL(`http://127.0.0.1:${port}/`) }, { tools: TOOLS });
  });
  afterAll(async () => {
    await world?.close();
    server?.closeAllConnections();
    server?.close();
  });

  test('with the v2 client by URL', () =>
    withConnect(world, async (url) => {
      const client = await v2(new HttpV2(url), 'auto');
      expect(client.era).toBe('modern');
      await exercise(client);
      await client.close();
    }));

  test('with the v2 client by stdio', () =>
    withStdio(world, async (transport) => {
      const client = await v2(transport, 'auto');
      expect(client.era).toBe('modern');
      await exercise(client);
      await client.close();
    }));
});
