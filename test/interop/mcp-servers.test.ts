/** Two real servers behind one gateway, one over stdio and one over HTTP, and a connect for each. */

import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { everythingOverStdio, startEverything } from '../kit/mcp/servers/everything.ts';
import { connectTo, startWorld, TOOLS, TRIAGE, type World } from '../kit/mcp/world/world.ts';

const NAMES = ['everything', 'remote'];
let remote: Awaited<ReturnType<typeof startEverything>>;
let world: World;
let connects: Awaited<ReturnType<typeof connectTo>>[];
let version = 10n;
beforeAll(async () => {
  remote = await startEverything();
  const others = [{ server: 'remote', upstream: { kind: 'url' as const, url: remote.url } }];
  world = await startWorld(everythingOverStdio, { others });
  allow(...NAMES);
  connects = await Promise.all(NAMES.map((server) => connectTo(world, { kind: 'tcp', port: 0 }, { server })));
});
afterAll(async () => {
  await Promise.all(connects.map((each) => each.close()));
  await world.close();
  await remote.stop();
});

/** Both servers are registered; the caller may use these. */
function allow(...servers: readonly string[]): void {
  const address = `127.0.0.1:${world.gateway.port}`;
  const registered = NAMES.map((name) =>
    McpServer.parse({ kind: 'McpServer', name, identity: TOOLS, address }),
  );
  const rules = servers.map((name) =>
    Access.parse({ kind: 'Access', name, who: [TRIAGE], servers: [name], tools: { allow: ['echo'] } }),
  );
  version += 1n;
  world.policy.publish(compilePolicy([...registered, ...rules], version));
}

async function using<T>(server: string, use: (client: Client) => Promise<T>): Promise<T> {
  const port = connects[NAMES.indexOf(server)]?.port;
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  try {
    await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${port}/mcp`)));
    return await use(client);
  } finally {
    await client.close();
  }
}
const echo = (message: string) => async (client: Client) => {
  const { content } = await client.callTool({ name: 'echo', arguments: { message } });
  return JSON.stringify(content);
};

test('each connect reaches its own server, whose calls are on record under its name', async () => {
  expect(await Promise.all(NAMES.map((name) => using(name, echo(`to ${name}`))))).toEqual(
    NAMES.map((name) => expect.stringContaining(`Echo: to ${name}`)),
  );
  const calls = world.events.filter(({ stage, tool }) => stage === 'answered' && tool === 'echo');
  expect(calls.map(({ server, outcome }) => `${server} ${outcome}`).toSorted()).toEqual([
    'everything result',
    'remote result',
  ]);
});

test('a policy that lets the caller reach one only leaves it that one', async () => {
  allow('remote');
  expect(await using('remote', echo('still here'))).toContain('still here');
  await expect(using('everything', echo('not here'))).rejects.toThrow(/not allowed|403/);
  expect(world.events.at(-1)).toMatchObject({ server: 'everything', stage: 'decided', allow: false });
  allow(...NAMES);
  expect(await using('everything', echo('back'))).toContain('back');
});
