/** Answers of a server over HTTP that are no answer to MCP, and what a client can make of them. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FakeServer, politely, startFakeServer } from '../kit/mcp/server.ts';
import { type Answer, ask, startWorld, TRIAGE, type World } from '../kit/mcp/world.ts';

let world: World;
let server: FakeServer;
beforeEach(async () => {
  server = await startFakeServer();
  world = await startWorld(server.target);
});
afterEach(async () => {
  await world.close();
  await server.close();
});

const rpc = (method: string, params: object, id?: number) =>
  JSON.stringify({ jsonrpc: '2.0', id, method, params });
const call = (id: number) => rpc('tools/call', { name: 'echo' }, id);
const INITIALIZE = rpc('initialize', { protocolVersion: '2025-11-25', capabilities: {} }, 0);
const post = (body: string, headers: Record<string, string> = {}): Promise<Answer> =>
  ask(world, world.td.svid(TRIAGE), { body, headers });
const other = (method: 'GET' | 'DELETE', headers: Record<string, string>): Promise<Answer> =>
  ask(world, world.td.svid(TRIAGE), { method, headers: { accept: 'text/event-stream', ...headers } });

async function begin(): Promise<Record<string, string>> {
  const { headers } = await post(INITIALIZE);
  return { 'mcp-session-id': String(headers['mcp-session-id']) };
}

/** Node's client reports the second as no answer and as no error. */
describe.each([
  ['HTTP 101', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
  ['HTTP 101 and another protocol', 'HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'],
])('M92 %s of a server', (_name, head) => {
  const says = expect.stringMatching(/the answer was HTTP 101, and no other protocol was asked for/);
  const odd: FakeServer['say'] = (_seen, res) => void res.socket?.write(head);

  test('fails a call, and no other', async () => {
    const session = await begin();
    server.say = odd;
    const { status, json } = await post(call(7), session);
    expect([status, json.id, json.error]).toEqual([200, 7, { code: -31502, message: says }]);
    server.say = politely;
    expect((await post(call(8), session)).json.result.content[0].text).toBe('echo');
  });

  test('fails initialize, a notification, a stream and the end of a session', async () => {
    const session = await begin();
    server.say = odd;
    expect((await post(INITIALIZE)).json.error).toMatchObject({ code: -31502, message: says });
    expect(await post(rpc('notifications/initialized', {}), session)).toMatchObject({ status: 502 });
    expect(await other('GET', session)).toMatchObject({ status: 200, text: '' });
    expect(await other('DELETE', session)).toMatchObject({ status: 502 });
  });
});
