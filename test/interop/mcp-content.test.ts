/**
 * Resources, prompts and completions of real servers through connect and gateway: the reference server over HTTP and
 * stdio, and one made with the v2 SDK that is modern only. Each works where a rule lets it, and not otherwise.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { UpstreamTarget } from '@chancery/agent/mcp/upstream/upstream.ts';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { completable, createMcpHandler, McpServer, ResourceTemplate } from '@modelcontextprotocol/server';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { everythingOverStdio, startEverything } from '../kit/mcp/servers/everything.ts';
import { connectTo, startWorld } from '../kit/mcp/world/world.ts';

interface Started {
  readonly target: UpstreamTarget;
  stop(): Promise<void>;
}

/** Everything that the reference server has and the test asks for, in the modern era. */
async function startModern(): Promise<Started> {
  const handler = createMcpHandler(
    () => {
      const mcp = new McpServer({ name: 'modern', version: '1' }, { capabilities: {} });
      const text = async (uri: URL) => ({ contents: [{ uri: uri.href, text: 'hello' }] });
      for (const name of ['features', 'startup'].map((each) => `${each}.md`))
        mcp.registerResource(name, `${DOCUMENT}/${name}`, {}, text);
      mcp.registerResource(
        'texts',
        new ResourceTemplate(`${DYNAMIC}/text/{resourceId}`, { list: undefined }),
        {},
        text,
      );
      mcp.registerResource(
        'blobs',
        new ResourceTemplate(`${DYNAMIC}/blob/{resourceId}`, { list: undefined }),
        {},
        text,
      );
      const said = (value: string) => ({
        messages: [{ role: 'user' as const, content: { type: 'text' as const, text: value } }],
      });
      mcp.registerPrompt('simple-prompt', {}, async () => said('hello'));
      mcp.registerPrompt('args-prompt', {}, async () => said('args'));
      const department = completable(z.string(), (value) =>
        ['Engineering', 'Sales'].filter((each) => each.startsWith(value)),
      );
      mcp.registerPrompt('completable-prompt', { argsSchema: z.object({ department }) }, async (given) =>
        said(given.department),
      );
      return mcp;
    },
    { legacy: 'reject' },
  );
  const serve = toNodeHandler(handler);
  const server: Server = createServer((req, res) => void serve(req as Parameters<typeof serve>[0], res));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    target: { kind: 'url', url: new URL(`http://127.0.0.1:${port}/`) },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const DOCUMENT = 'demo://resource/static/document';
const DYNAMIC = 'demo://resource/dynamic';

const SERVERS: [name: string, start: () => Promise<Started>][] = [
  [
    'the reference server over HTTP',
    async () => {
      const { url, stop } = await startEverything();
      return { target: { kind: 'url', url }, stop };
    },
  ],
  ['the reference server over stdio', async () => ({ target: everythingOverStdio, stop: async () => {} })],
  ['a modern server', startModern],
];

/** A client of the SDK, behind a connect and a gateway with these rules. */
async function behind<T>(start: () => Promise<Started>, rules: object, use: (client: Client) => Promise<T>) {
  const { target, stop } = await start();
  const world = await startWorld(target, { tools: { allow: ['echo'] }, rules });
  const connect = await connectTo(world, { kind: 'tcp', port: 0 });
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  try {
    await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${connect.port}/mcp`)));
    return await use(client);
  } finally {
    await client.close();
    await connect.close();
    await world.close();
    await stop();
  }
}

const denied = async (asked: Promise<unknown>): Promise<unknown> => {
  const { code } = await asked.then(
    () => ({ code: 'it passed' }),
    (error: { code: unknown }) => error,
  );
  return code;
};

test.each(SERVERS)('%s is used where a rule lets it be used', async (_name, start) => {
  const rules = {
    resources: { allow: [`${DOCUMENT}/*`, `${DYNAMIC}/text/{id}`], deny: [`${DOCUMENT}/startup.md`] },
    prompts: { allow: ['simple-*', 'completable-prompt'] },
    completion: { allow: ['completable-prompt'] },
  };
  await behind(start, rules, async (client) => {
    const { resources } = await client.listResources();
    const uris = resources.map(({ uri }) => uri);
    expect(uris).toContain(`${DOCUMENT}/features.md`);
    expect(uris).not.toContain(`${DOCUMENT}/startup.md`);
    const { resourceTemplates } = await client.listResourceTemplates();
    expect(resourceTemplates.map(({ uriTemplate }) => uriTemplate)).toEqual([`${DYNAMIC}/text/{resourceId}`]);
    const { contents } = await client.readResource({ uri: `${DOCUMENT}/features.md` });
    expect(contents).toHaveLength(1);
    expect((await client.readResource({ uri: `${DYNAMIC}/text/7` })).contents).toHaveLength(1);
    for (const uri of [`${DOCUMENT}/startup.md`, `${DYNAMIC}/blob/7`, `${DYNAMIC}/text/../blob/7`])
      expect(await denied(client.readResource({ uri }))).toBe(-31403);
    const { prompts } = await client.listPrompts();
    expect(prompts.map(({ name }) => name).toSorted()).toEqual(['completable-prompt', 'simple-prompt']);
    expect((await client.getPrompt({ name: 'simple-prompt' })).messages).not.toEqual([]);
    expect(await denied(client.getPrompt({ name: 'args-prompt' }))).toBe(-31403);
    const argument = { name: 'department', value: 'En' };
    const ref = { type: 'ref/prompt' as const, name: 'completable-prompt' };
    expect((await client.complete({ ref, argument })).completion.values).toEqual(['Engineering']);
    const other = { type: 'ref/prompt' as const, name: 'args-prompt' };
    expect(await denied(client.complete({ ref: other, argument }))).toBe(-31403);
  });
});

test.each(SERVERS)('%s is not used where no rule speaks of more than a tool', async (_name, start) => {
  await behind(start, {}, async (client) => {
    const { resources, prompts, completions } = client.getServerCapabilities() ?? {};
    expect([resources, prompts, completions]).toEqual([undefined, undefined, undefined]);
    const ask = (method: string, params: Record<string, unknown>) =>
      denied(client.request({ method, params }, z.object({})));
    expect(await ask('resources/list', {})).toBe(-31403);
    expect(await ask('resources/read', { uri: `${DOCUMENT}/features.md` })).toBe(-31403);
    expect(await ask('prompts/get', { name: 'simple-prompt' })).toBe(-31403);
  });
});
