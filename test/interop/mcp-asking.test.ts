/** The reference server asks a real client for sampling, by a form and for roots, through gateway and connect. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stdioClient } from '../kit/mcp/clients/stdio-client.ts';
import { everythingOverStdio, startEverything } from '../kit/mcp/servers/everything.ts';
import { connectTo, policyFor, startWorld, type World } from '../kit/mcp/world/world.ts';

const ALL = { allow: ['*'] };
const ASKING = { sampling: ALL, elicitation: ALL, roots: true } as const;
const CAN = { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } };
const ROOT = 'file:///srv/project';

let remote: Awaited<ReturnType<typeof startEverything>>;
beforeAll(async () => {
  remote = await startEverything();
});
afterAll(() => remote.stop());

type Over = 'stdio' | 'URL';
const upstreamOf = (over: Over) =>
  over === 'stdio' ? everythingOverStdio : ({ kind: 'url', url: remote.url } as const);

/** One client of connect, which answers whatever it is asked. */
async function clientOf(world: World, over: Over) {
  const asked: string[] = [];
  const client = new Client({ name: 'test', version: '1' }, { capabilities: CAN });
  client.setRequestHandler(CreateMessageRequestSchema, () => {
    asked.push('sampling');
    return { role: 'assistant', model: 'a-model', content: { type: 'text', text: 'sampled text' } };
  });
  client.setRequestHandler(ElicitRequestSchema, () => {
    asked.push('form');
    return { action: 'decline' };
  });
  client.setRequestHandler(ListRootsRequestSchema, () => {
    asked.push('roots');
    return { roots: [{ uri: ROOT, name: 'project' }] };
  });
  if (over === 'stdio') {
    const { transport, input, output } = stdioClient();
    const connect = await connectTo(world, { kind: 'stdio', input, output });
    await client.connect(transport);
    return { client, asked, close: () => client.close().then(() => connect.close()) };
  }
  const connect = await connectTo(world, { kind: 'tcp', port: 0 });
  const url = new URL(`http://127.0.0.1:${connect.port}/mcp`);
  await client.connect(new StreamableHTTPClientTransport(url) as Transport);
  return { client, asked, close: () => client.close().then(() => connect.close()) };
}
const callOf = (client: Client, name: string, given: object = {}) =>
  client.callTool({ name, arguments: { ...given } }).then(({ content }) => JSON.stringify(content));
const named = (client: Client) => client.listTools().then(({ tools }) => tools.map(({ name }) => name));
const TOOLS = ['get-roots-list', 'trigger-elicitation-request', 'trigger-sampling-request'];

describe.each<[Over, Over]>([
  ['stdio', 'stdio'],
  ['stdio', 'URL'],
  ['URL', 'stdio'],
  ['URL', 'URL'],
])('a client over %s, a server over %s', (client, server) => {
  test('asks and is answered where rules let it', async () => {
    const world = await startWorld(upstreamOf(server), { rules: ASKING });
    const { client: at, asked, close } = await clientOf(world, client);
    // The server offers them once it knows what its client can answer.
    await expect.poll(() => named(at), { timeout: 20_000 }).toEqual(expect.arrayContaining(TOOLS));
    expect(await callOf(at, TOOLS[2] ?? '', { prompt: 'say' })).toContain('sampled text');
    expect(await callOf(at, TOOLS[1] ?? '')).toMatch(/decline/i);
    expect(await callOf(at, TOOLS[0] ?? '')).toContain(ROOT);
    expect(new Set(asked)).toEqual(new Set(['sampling', 'form', 'roots']));
    const outcomes = () =>
      world.events
        .filter(
          ({ stage, from, method }) => stage === 'answered' && from === 'client' && method !== undefined,
        )
        .map(({ outcome }) => outcome);
    // The server asks for roots once more when it likes.
    await expect.poll(() => outcomes().length === asked.length).toBe(true);
    expect(new Set(outcomes())).toEqual(new Set(['result']));
    await close();
    await world.close();
  }, 60_000);

  test('asks nothing where no rule does', async () => {
    const world = await startWorld(upstreamOf(server));
    const { client: at, asked, close } = await clientOf(world, client);
    expect((await named(at)).filter((name) => TOOLS.includes(name))).toEqual([]);
    expect(asked).toEqual([]);
    await close();
    await world.close();
  }, 60_000);
});

test('a rule that goes while the server asks is heard by the server, and its call ends with an error', async () => {
  const world = await startWorld(upstreamOf('stdio'), { rules: ASKING });
  const { client, asked, close } = await clientOf(world, 'stdio');
  await expect.poll(() => named(client), { timeout: 20_000 }).toEqual(expect.arrayContaining(TOOLS));
  world.policy.publish(policyFor(world.gateway.port, ALL, 3n));
  const said = await callOf(client, TOOLS[2] ?? '', { prompt: 'say' }).catch(String);
  expect(said).toMatch(/not allowed|no Access rule/);
  expect(asked).not.toContain('sampling');
  await close();
  await world.close();
}, 60_000);
