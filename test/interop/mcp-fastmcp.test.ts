/** A server as people write it with FastMCP in Python, as a command of a gateway, with clients of both eras. */
import { join } from 'node:path';
import type { UpstreamTarget } from '@chancery/agent/mcp/upstream/upstream.ts';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makePython, pythonIn } from '../kit/languages/python.ts';
import { connectTo, startWorld, type World } from '../kit/mcp/world/world.ts';
import { makeFolder, removeFolder, root } from '../kit/processes.ts';

const BUILD_MS = 600_000;
const PACKAGES = ['fastmcp==4.2.3', 'mcp==2.3.0'];
const RULES = { resources: { allow: ['stock://{item}'] }, prompts: { allow: ['order'] } };

const dir = makeFolder();
let missing: string | undefined;
let world: World;
let connect: Awaited<ReturnType<typeof connectTo>>;
beforeAll(async () => {
  missing = await makePython(dir, PACKAGES);
  if (missing !== undefined) return console.warn(`FastMCP is not tested: ${missing}`);
  const target: UpstreamTarget = {
    kind: 'command',
    command: [pythonIn(dir), join(root, 'test/interop/python/fastmcp_server.py')],
    env: { PATH: process.env['PATH'] ?? '', HOME: dir },
  };
  world = await startWorld(target, { tools: { allow: ['*'], deny: ['remove'] }, rules: RULES });
  connect = await connectTo(world, { kind: 'tcp', port: 0 });
}, BUILD_MS);
afterAll(async () => {
  await connect?.close();
  await world?.close();
  removeFolder(dir);
});
beforeEach(({ skip }) => skip(missing !== undefined, missing));

describe.each(['legacy', 'auto'] as const)('with a client that speaks %s', (mode) => {
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
  beforeAll(async () => {
    if (missing === undefined)
      await client.connect(
        new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${connect.port}/mcp`)),
      );
  });
  afterAll(() => client.close());

  test('the era is that of the client', () => {
    expect(client.getProtocolEra()).toBe(mode === 'auto' ? 'modern' : 'legacy');
  });

  test('a call gives a structured result, and tells its progress', async () => {
    const seen: number[] = [];
    const call = { name: 'count', arguments: { item: 'apples' } };
    const { structuredContent } = await client.callTool(call, {
      onprogress: ({ progress }) => void seen.push(progress),
    });
    expect(structuredContent).toEqual({ apples: 3 });
    expect(seen).toEqual([1]);
  });

  test('a denied tool is not in the list, and does nothing', async () => {
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['count']);
    await expect(client.callTool({ name: 'remove', arguments: { item: 'apples' } })).rejects.toMatchObject({
      code: -31403,
    });
    const { structuredContent } = await client.callTool({ name: 'count', arguments: { item: 'apples' } });
    expect(structuredContent).toEqual({ apples: 3 });
  });

  test('a template is listed, read, and a prompt is got', async () => {
    expect((await client.listResourceTemplates()).resourceTemplates).toMatchObject([
      { uriTemplate: 'stock://{item}' },
    ]);
    const { contents } = await client.readResource({ uri: 'stock://apples' });
    expect(contents).toMatchObject([{ text: 'apples: 3' }]);
    const { messages } = await client.getPrompt({ name: 'order', arguments: { item: 'pears' } });
    expect(messages).toMatchObject([{ content: { text: 'Please send more pears.' } }]);
  });
});
