/** The largest message of a client, as the config has it: row M6 where the limit is another one, and M32; and of a server's page: M134, M228. */
import { PassThrough } from 'node:stream';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { afterEach, expect, test, vi } from 'vitest';
import { ask } from '../../kit/mcp/clients/ask.ts';
import { countEvaluations } from '../../kit/mcp/evaluations.ts';
import { type FakeServer, politely, reply, startFakeServer } from '../../kit/mcp/servers/server.ts';
import { connectTo, startWorld, TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const MIB = 1024 * 1024;
let server: FakeServer;
let world: World;
afterEach(async () => {
  vi.restoreAllMocks();
  await world.close();
  await server.close();
});

const call = (id: number, bytes: number): string => {
  const params = { name: 'echo', arguments: { text: 'x'.repeat(bytes) } };
  return JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params });
};

const post = (body: string) => ask(world, world.td.svid(TRIAGE), { body });
const list = async () => (await post(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }))).json;

/** The server has these tools. */
function listing(tools: readonly object[]): void {
  server.say = (seen, res, req) =>
    seen.json?.method === 'tools/list'
      ? reply(res, { jsonrpc: '2.0', id: seen.json.id, result: { tools } })
      : politely(seen, res, req);
}

test.each([
  ['smaller', 64 * 1024, 65 * 1024, 63 * 1024],
  ['larger', 18 * MIB, 19 * MIB, 17 * MIB],
])('M6 a gateway with a %s limit reads up to it', async (_, maxRequestBytes, over, within) => {
  server = await startFakeServer();
  world = await startWorld(server.target, { maxRequestBytes });
  const post = (bytes: number) => ask(world, world.td.svid(TRIAGE), { body: call(1, bytes) });
  const refused = post(over).then(
    ({ status }) => status,
    () => 413,
  );
  expect(await refused).toBe(413);
  expect((await post(within - 1024)).json.result.content[0].text).toBe('echo');
  expect(server.seen).toHaveLength(1);
});

test('M32 connect with a smaller limit answers what is larger, and reads the next line', async () => {
  server = await startFakeServer();
  world = await startWorld(server.target);
  const [input, output] = [new PassThrough(), new PassThrough()];
  const connect = await connectTo(world, { kind: 'stdio', input, output }, { maxRequestBytes: 64 * 1024 });
  const lines: string[] = [];
  output.on('data', (chunk) => lines.push(...String(chunk).trim().split('\n')));
  input.write(`${call(1, 65 * 1024)}\n${call(2, 10)}\n`);
  await expect.poll(() => lines.length).toBe(2);
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    expect.objectContaining({ id: 1, error: expect.objectContaining({ code: -32600 }) }),
    expect.objectContaining({ id: 2, result: expect.anything() }),
  ]);
  expect(server.seen).toHaveLength(1);
  input.end();
  await connect.done;
});

test('M134 a page of a list with more entries than are decided in one turn fails that list alone', async () => {
  server = await startFakeServer();
  world = await startWorld(server.target);
  const tools = Array.from({ length: 10_001 }, (_, n) => ({ name: `t${n}`, inputSchema: {} }));
  listing(tools);
  const json = await list();
  expect(json.error.message).toMatch(/a page of tools\/list has 10001 entries, at most 10000 are read/);
  expect((await post(call(2, 10))).json.result.content[0].text).toBe('echo');
});

/** Of one rule for each condition. */
function allowEachWhen(conditions: readonly string[]): void {
  const address = `127.0.0.1:${world.gateway.port}`;
  const rules = conditions.map((when, n) => {
    const rule = { kind: 'Access', name: `r${n}`, who: [TRIAGE], servers: ['everything'], when };
    return Access.parse({ ...rule, tools: { allow: ['t*', 'echo'] } });
  });
  const everything = { kind: 'McpServer', name: 'everything', identity: TOOLS, address };
  world.policy.publish(compilePolicy([McpServer.parse(everything), ...rules], 10n));
}

test('M228 however long a page of a list is, a condition is evaluated once', async () => {
  server = await startFakeServer();
  world = await startWorld(server.target);
  listing(Array.from({ length: 2_000 }, (_, n) => ({ name: `t${n}`, inputSchema: {} })));
  const conditions = [
    'source == "::"',
    `caller.id == "${TRIAGE}" && args.n == 1`,
    'args.n == 2 && server == "x"',
  ];
  allowEachWhen(conditions);
  const evaluated = countEvaluations(conditions);
  expect((await list()).result.tools).toHaveLength(2_000);
  expect(evaluated()).toBe(conditions.length);
});

test('M228 a page with too many tools for conditions on the tool fails that list alone', async () => {
  server = await startFakeServer();
  world = await startWorld(server.target);
  listing(Array.from({ length: 1_000 }, (_, n) => ({ name: `t${n}`, inputSchema: {} })));
  const conditions = [...Array.from({ length: 99 }, (_, n) => `tool == "x${n}"`), 'tool == "echo"'];
  allowEachWhen(conditions);
  const evaluated = countEvaluations(conditions);
  expect((await list()).error.message).toMatch(/a page of tools\/list needs more than 25000 evaluations/);
  expect(evaluated()).toBe(25_100);
  expect((await post(call(2, 10))).json.result.content[0].text).toBe('echo');
});
