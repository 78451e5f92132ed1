/**
 * Servers that people have, as npm installs them, behind one gateway as its stdio commands: what a rule lets
 * works, what none lets is told as a refusal, and never reaches the server.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServerOptions } from '@chancery/agent/mcp/behind.ts';
import { allowedEnvironment } from '@chancery/agent/mcp/upstream/stdio/command.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { everythingOverStdio } from '../kit/mcp/servers/everything.ts';
import { connectTo, startWorld, TOOLS, TRIAGE, type World } from '../kit/mcp/world/world.ts';
import { makeFolder, removeFolder } from '../kit/processes.ts';

const dir = makeFolder();
const graph = join(dir, 'graph.jsonl');
const secret = join(dir, 'secret.txt');

const command = (server: string, module: string, args: readonly string[], env = {}): ServerOptions => ({
  server,
  upstream: {
    kind: 'command',
    command: [process.execPath, new URL(module).pathname, ...args],
    env: { ...allowedEnvironment(process.env, []), ...env },
  },
  maxCallSeconds: undefined,
});
const SERVERS = [
  command('files', import.meta.resolve('@modelcontextprotocol/server-filesystem/dist/index.js'), [dir]),
  command('memory', import.meta.resolve('@modelcontextprotocol/server-memory/dist/index.js'), [], {
    MEMORY_FILE_PATH: graph,
  }),
  command(
    'thinking',
    import.meta.resolve('@modelcontextprotocol/server-sequential-thinking/dist/index.js'),
    [],
  ),
];

/** What the caller may do at each. A rule's condition is one of its denials, too, so these are a rule of their own. */
const RULES = [
  { name: 'read', servers: ['files'], tools: { allow: ['*'] }, when: `!args.path.endsWith('secret.txt')` },
  { name: 'no-writes', servers: ['files'], tools: { deny: ['write_file', 'move_file'] } },
  {
    name: 'remember',
    servers: ['memory'],
    tools: { allow: ['*'], deny: ['delete_*'] },
    resources: { allow: ['memory://*'] },
  },
  { name: 'think', servers: ['thinking'], tools: { allow: ['sequentialthinking'] } },
];

let world: World;
beforeAll(async () => {
  writeFileSync(join(dir, 'notes.txt'), 'hello');
  writeFileSync(secret, 'not for everybody');
  world = await startWorld(everythingOverStdio, { others: SERVERS });
  const address = `127.0.0.1:${world.gateway.port}`;
  const servers = SERVERS.map(({ server: name }) =>
    McpServer.parse({ kind: 'McpServer', name, identity: TOOLS, address }),
  );
  const rules = RULES.map((rule) => Access.parse({ kind: 'Access', who: [TRIAGE], ...rule }));
  world.policy.publish(compilePolicy([...servers, ...rules], 10n));
});
afterAll(async () => {
  await world?.close();
  removeFolder(dir);
});

async function using<T>(server: string, use: (client: Client) => Promise<T>): Promise<T> {
  const connect = await connectTo(world, { kind: 'tcp', port: 0 }, { server });
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  try {
    await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${connect.port}/mcp`)));
    return await use(client);
  } finally {
    await client.close();
    await connect.close();
  }
}

const named = async (client: Client) => (await client.listTools()).tools.map(({ name }) => name);
const said = ({ content }: Awaited<ReturnType<Client['callTool']>>) => JSON.stringify(content);
const denied = (reason: string) => ({ code: -31403, data: { reason: expect.stringContaining(reason) } });

test('server-filesystem: reads pass, writes do not, and a condition keeps one file', () =>
  using('files', async (client) => {
    const tools = await named(client);
    expect(tools).toContain('read_text_file');
    expect(tools).not.toContain('write_file');
    const read = (path: string) => client.callTool({ name: 'read_text_file', arguments: { path } });
    expect(said(await read(join(dir, 'notes.txt')))).toContain('hello');
    await expect(read(secret)).rejects.toMatchObject(denied('the condition of read is not met'));
    const written = { path: join(dir, 'new.txt'), content: 'x' };
    await expect(client.callTool({ name: 'write_file', arguments: written })).rejects.toMatchObject(
      denied('no-writes does not let'),
    );
    expect(existsSync(written.path)).toBe(false);
  }));

test('server-memory: what one call keeps the next one finds, a deletion is refused, and its resource is read', () =>
  using('memory', async (client) => {
    expect(await named(client)).not.toContain('delete_entities');
    const entities = [{ name: 'ada', entityType: 'person', observations: ['writes programs'] }];
    await client.callTool({ name: 'create_entities', arguments: { entities } });
    expect(said(await client.callTool({ name: 'search_nodes', arguments: { query: 'ada' } }))).toContain(
      'writes programs',
    );
    await expect(
      client.callTool({ name: 'delete_entities', arguments: { entityNames: ['ada'] } }),
    ).rejects.toMatchObject(denied('remember does not let'));
    expect(readFileSync(graph, 'utf8')).toContain('ada');
    const [resource] = (await client.listResources()).resources;
    expect(JSON.stringify(await client.readResource({ uri: resource?.uri ?? '' }))).toContain('ada');
  }));

test('server-sequential-thinking: its state lives through the calls of one client', () =>
  using('thinking', async (client) => {
    expect(await named(client)).toEqual(['sequentialthinking']);
    const think = (thoughtNumber: number) =>
      client.callTool({
        name: 'sequentialthinking',
        arguments: { thought: 'so', thoughtNumber, totalThoughts: 2, nextThoughtNeeded: thoughtNumber < 2 },
      });
    await think(1);
    expect(said(await think(2))).toContain('"thoughtHistoryLength\\": 2');
    await expect(client.callTool({ name: 'think_of_something_else' })).rejects.toMatchObject(
      denied('no Access rule lets'),
    );
  }));
