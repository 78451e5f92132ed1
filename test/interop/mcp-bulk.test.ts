/**
 * Much at once, with the official client: a result of 50 MB, a call whose stream is slow, one whose stream has no end,
 * and 1,000 sessions that nobody uses for a while.
 */
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { type FakeServer, politely, reply, type Say, startFakeServer } from '../kit/mcp/servers/server.ts';
import { connectTo, startWorld, type World } from '../kit/mcp/world/world.ts';

const MB = 1_000_000;
const SESSIONS = 1_000;
vi.setConfig({ testTimeout: 300_000 });

let server: FakeServer;
let world: World;
let connect: Awaited<ReturnType<typeof connectTo>>;
let url: URL;
let client: Client;
beforeAll(async () => {
  server = await startFakeServer();
  server.say = say;
  world = await startWorld(server.target, {
    sessions: { max: SESSIONS + 1, maxPerCaller: SESSIONS + 1, idleSeconds: 3600 },
  });
  connect = await connectTo(world, { kind: 'tcp', port: 0 });
  url = new URL(`http://127.0.0.1:${connect.port}/mcp`);
  client = await connected();
});
afterAll(async () => {
  await client?.close();
  await connect?.close();
  await world?.close();
  await server?.close();
});
/** Whatever a call did, the session of its client is as before. */
afterEach(async () => {
  expect(await called('echo')).toBe('echo');
});

async function connected(): Promise<Client> {
  const made = new Client({ name: 'bulk', version: '1' });
  await made.connect(new StreamableHTTPClientTransport(url) as Transport);
  return made;
}

const called = async (name: string, options = {}): Promise<string | undefined> => {
  const { content } = await client.callTool({ name }, undefined, { timeout: 240_000, ...options });
  return (content as readonly { text: string }[])[0]?.text;
};

/** Open responses of calls without an end, for the test to look at. */
const endless = new Set<ServerResponse>();
const STEPS = 50;
const MS_OF_A_STEP = 20;

const say: Say = (seen, res, req) => {
  const { json } = seen;
  if (json?.method === 'initialize') {
    const result = {
      protocolVersion: '2025-11-25',
      capabilities: { tools: {} },
      serverInfo: { name: 'x', version: '1' },
    };
    return reply(res, { jsonrpc: '2.0', id: json.id, result }, { 'mcp-session-id': randomUUID() });
  }
  if (json?.method !== 'tools/call' || json.params.name === 'echo') return politely(seen, res, req);
  const answer = (text: string) => ({
    jsonrpc: '2.0',
    id: json.id,
    result: { content: [{ type: 'text', text }] },
  });
  if (json.params.name === 'large') return reply(res, answer('x'.repeat(50 * MB)));
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  const event = (message: object) => res.write(`data: ${JSON.stringify(message)}\n\n`);
  const progress = (n: number) =>
    event({
      jsonrpc: '2.0',
      method: 'notifications/progress',
      params: { progressToken: json.params._meta['progressToken'], progress: n, total: STEPS },
    });
  let n = 0;
  const timer = setInterval(() => {
    n += 1;
    progress(n);
    if (n === STEPS && json.params.name === 'slow') res.end(`data: ${JSON.stringify(answer('slowly'))}\n\n`);
  }, MS_OF_A_STEP);
  if (json.params.name === 'endless') endless.add(res);
  res.on('close', () => clearInterval(timer));
};

/** Collects the steps of a call, as its client sees them. */
function steps() {
  const seen: number[] = [];
  return { seen, onprogress: ({ progress }: { progress: number }) => void seen.push(progress) };
}
const ALL = Array.from({ length: STEPS }, (_, index) => index + 1);

test('a result of 50 MB fails its call, which says that the server may have done it', async () => {
  await expect(called('large')).rejects.toMatchObject({
    message: expect.stringContaining('it may have done what was asked'),
    data: expect.objectContaining({ outcome: 'unknown' }),
  });
  expect(world.events.at(-1)).toMatchObject({ tool: 'large', outcome: 'unknown' });
});

test('each part of a slow stream arrives when the server sends it', async () => {
  const { seen, onprogress } = steps();
  const call = called('slow', { onprogress });
  await expect.poll(() => seen.length).toBeGreaterThan(0);
  expect(seen.length).toBeLessThan(STEPS);
  expect(await call).toBe('slowly');
  expect(seen).toEqual(ALL);
});

test('a stream without an end is the call of a client that cancels it', async () => {
  const stop = new AbortController();
  const { seen, onprogress } = steps();
  const call = called('endless', { onprogress, signal: stop.signal }).catch((error: unknown) => error);
  await expect.poll(() => seen.length).toBeGreaterThan(5);
  stop.abort('enough');
  expect(await call).toBeInstanceOf(Error);
  await expect
    .poll(() => server.seen.some(({ json }) => json?.method === 'notifications/cancelled'))
    .toBe(true);
  for (const each of endless) each.end();
  await expect
    .poll(() => world.events.find(({ tool, stage }) => tool === 'endless' && stage === 'answered'))
    .toMatchObject({ outcome: 'abandoned' });
});

test('1,000 sessions that are idle keep their places, and each still answers', async () => {
  const post = (body: object, session?: string) =>
    fetch(url, {
      method: 'POST',
      body: JSON.stringify({ jsonrpc: '2.0', ...body }),
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...(session === undefined ? {} : { 'mcp-session-id': session }),
      },
    });
  const hello = {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'idle', version: '1' },
  };
  const sessions: string[] = [];
  for (let n = 0; n < SESSIONS; n += 1) {
    const begun = await post({ id: 0, method: 'initialize', params: hello });
    expect(begun.status).toBe(200);
    await begun.text();
    sessions.push(begun.headers.get('mcp-session-id') ?? '');
  }
  expect(new Set(sessions).size).toBe(SESSIONS);
  const refused = await post({ id: 0, method: 'initialize', params: hello });
  expect(refused.status).toBe(503);
  for (const session of sessions) {
    const answered = await post(
      { id: 1, method: 'tools/call', params: { name: 'echo', arguments: {} } },
      session,
    );
    expect(await answered.text()).toContain('"text":"echo"');
  }
});
