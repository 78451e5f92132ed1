/** Event streams that are odd or end before their time: what a client needs of them is not lost. Rows M62, M82, M83. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { callOf as call, callerOf, startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { freePort } from '../../kit/mcp/servers/everything.ts';
import { type FakeServer, politely, stream } from '../../kit/mcp/servers/server.ts';
import { connectTo, live, policyFor, type World } from '../../kit/mcp/world/world.ts';

let world: World;
let server: FakeServer;
beforeEach(async () => {
  ({ server, world } = await startPlayed());
});
afterEach(() => stopPlayed(world, server));

const { post, other, begin } = callerOf(() => world);
const get = (headers: Record<string, string>) => other('GET', headers);

test('M62 an event of another type is no answer', async () => {
  server.say = ({ json: { id } }, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    const answer = (text: string) =>
      JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } });
    res.end(`event: endpoint\ndata: ${answer('other')}\n\ndata: ${answer('the answer')}\n\n`);
  };
  const { text, json } = await post(call(7));
  expect(json.result.content[0].text).toBe('the answer');
  expect(text).not.toContain('other');
});

describe('M82 a stream that breaks after an event with an id', () => {
  test('ends for its client, which resumes it and gets the answer', async () => {
    server.say = (seen, res, req) => {
      const { id = 7 } = seen.json ?? {};
      const event = JSON.stringify({
        jsonrpc: '2.0',
        id,
        result: { content: [{ type: 'text', text: 'late' }] },
      });
      if (seen.headers['last-event-id'] === 'e1') return stream(res, [event]);
      if (seen.json?.params?.name !== 'odd') return politely(seen, res, req);
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write('id: e1\nretry: 1\ndata: \n\n', () => setTimeout(() => res.destroy(), 20));
    };
    const session = await begin();
    expect((await post(call(7, 'odd'), session)).text).toContain('id: e1');
    const resumed = { ...session, accept: 'text/event-stream', 'last-event-id': 'e1' };
    expect((await get(resumed)).json.result.content[0].text).toBe('late');
  });
});

test('M84 the answer of a call whose tool was denied meanwhile is not had by resuming its stream', async () => {
  server.say = (seen, res, req) => {
    if (seen.headers['last-event-id'] === 'e1')
      return stream(res, [JSON.stringify({ jsonrpc: '2.0', id: 7, result: { secret: 'late' } })]);
    if (seen.json?.params?.name !== 'odd') return politely(seen, res, req);
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write('id: e1\nretry: 1\ndata: \n\n', () => setTimeout(() => res.destroy(), 20));
  };
  const session = await begin();
  await post(call(7, 'odd'), session);
  world.policy.publish(policyFor(world.gateway.port, { allow: ['*'], deny: ['odd'] }, 2n));
  const { text, json } = await get({ ...session, accept: 'text/event-stream', 'last-event-id': 'e1' });
  expect(json.error.message).toBe('the call is not allowed');
  expect(text).not.toContain('late');
});

describe('M83 a stream whose server is away', () => {
  const listened: FakeServer['say'] = (_, res) =>
    stream(res, [{ jsonrpc: '2.0', method: 'notifications/tools/list_changed' }]);
  test.each<[string, Record<string, string>, FakeServer['say']]>([
    ['is away', {}, (_, res) => res.destroy()],
    ['is away while its client resumes', { 'last-event-id': 'e1' }, (_, res) => res.destroy()],
    ['is behind a proxy that answers 502', {}, (_, res) => res.writeHead(502).end('Bad Gateway')],
  ])('%s: it ends, and its client asks again', async (_name, place, away) => {
    let onGet = away;
    server.say = (seen, res, req) =>
      seen.method === 'GET' ? onGet(seen, res, req) : politely(seen, res, req);
    const session = await begin();
    const headers = { ...session, accept: 'text/event-stream', ...place };
    expect(await get(headers)).toMatchObject({ status: 200, text: '' });
    onGet = listened;
    expect((await get(headers)).text).toContain('list_changed');
    expect((await post(call(7), session)).json.result).toBeDefined();
  });

  test('ends at connect, too, where the gateway is away', async () => {
    const policy = live(policyFor(await freePort(), { allow: ['*'] }));
    const connect = await connectTo({ ...world, policy }, { kind: 'tcp', port: 0 });
    const headers = { accept: 'text/event-stream', 'mcp-session-id': 'a' };
    const listening = await fetch(`http://127.0.0.1:${connect.port}/mcp`, { headers });
    expect([listening.status, await listening.text()]).toEqual([200, '']);
    await connect.close();
  });
});
