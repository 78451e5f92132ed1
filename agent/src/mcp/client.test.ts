import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type FakeServer,
  politely,
  reply,
  startFakeServer,
  stream,
} from '../../../test/kit/mcp/servers/server.ts';
import {
  live,
  policyFor,
  STRANGER,
  startWorld,
  TRIAGE,
  type World,
} from '../../../test/kit/mcp/world/world.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { Client } from './client.ts';

let server: FakeServer;
let world: World;
let client: Client;
beforeEach(async () => {
  server = await startFakeServer();
  world = await startWorld(server.target, { tools: { allow: ['echo', 'get-*'], deny: ['get-env'] } });
  client = clientOf(world);
});
afterEach(async () => {
  await client.close();
  await world.close();
  await server.close();
});

function clientOf(
  { td, policy, revocations }: World,
  who = TRIAGE,
  signal = new AbortController().signal,
  onProgress?: (says: string) => void,
): Client {
  const sources = { svid: live(td.svid(who)), bundle: td.bundle, policy, revocations };
  const own = { clock: systemClock, log: silentLog, version: '1.2.3', signal, onProgress };
  return new Client({ ...sources, ...own, server: 'everything' });
}

const methods = (): unknown[] =>
  server.seen.map(({ json }) => json?.method).filter((each) => each !== undefined);
/** A server of the modern era. */
function speakModern(): void {
  server.say = (seen, res, req) => {
    if (seen.json?.method !== 'server/discover') return politely(seen, res, req);
    const result = {
      supportedVersions: ['2026-07-28'],
      capabilities: {},
      serverInfo: { name: 'x', version: '1' },
    };
    reply(res, { jsonrpc: '2.0', id: seen.json.id, result });
  };
}

describe('a call', () => {
  test('of a server of the legacy era comes in a session', async () => {
    const { result } = await client.call('echo', { text: 'a' });
    expect(result).toMatchObject({ content: [{ text: 'echo' }] });
    expect(methods()).toEqual(['server/discover', 'initialize', 'notifications/initialized', 'tools/call']);
    expect(server.seen.at(-1)?.json.params).toMatchObject({ name: 'echo', arguments: { text: 'a' } });
    await client.close();
    expect(server.seen.at(-1)?.method).toBe('DELETE');
  });

  test('of a server of the modern era says its version', async () => {
    speakModern();
    await client.call('echo', {});
    await client.call('get-sum', {});
    expect(methods()).toEqual(['server/discover', 'tools/call', 'tools/call']);
    expect(server.seen.at(-1)?.headers).toMatchObject({
      'mcp-protocol-version': '2026-07-28',
      'mcp-name': 'get-sum',
    });
  });

  test('of a server whose McpServer is of the legacy era begins with initialize', async () => {
    const { servers, ...policy } = policyFor(world.gateway.port, { allow: ['*'] }, 3n);
    const [[name, resource] = []] = servers;
    world.policy.publish({
      ...policy,
      servers: new Map([[name, { ...resource, era: 'legacy' }]]) as typeof servers,
    });
    await client.call('echo', {});
    expect(methods()[0]).toBe('initialize');
  });

  test('that is denied says why', async () => {
    await expect(client.call('get-env', {})).rejects.toThrow(
      refusal(
        'mcp_call',
        /^triage does not let \S+ call tool get-env of server everything: get-env \(decision .+\)$/,
      ),
    );
    expect(methods()).not.toContain('tools/call');
  });

  test('above its rate is denied for now, and says until when', async () => {
    const rate = { calls: '1/h', burst: 1 };
    world.policy.publish(policyFor(world.gateway.port, { allow: ['echo'] }, 3n, [TRIAGE], { rate }));
    await client.call('echo', {});
    await expect(client.call('echo', {})).rejects.toThrow(
      refusal('mcp_call', /^triage lets \S+ call tool echo .+; try again in \d+ s \(decision .+\)$/),
    );
  });

  test.each([
    [{ progress: 3, total: 10, message: 'rows' }, 'rows (3 of 10)'],
    [{ progress: 3 }, '3'],
  ])('shows the progress %j', async (progress, says) => {
    const shown: string[] = [];
    const other = clientOf(world, TRIAGE, undefined, (line) => shown.push(line));
    server.say = (seen, res, req) => {
      if (seen.json?.method !== 'tools/call') return politely(seen, res, req);
      const { progressToken } = seen.json.params._meta;
      const params = { progressToken, ...progress };
      stream(res, [
        { jsonrpc: '2.0', method: 'notifications/progress', params },
        { jsonrpc: '2.0', id: seen.json.id, result: { content: [] } },
      ]);
    };
    await other.call('echo', {});
    expect(shown).toEqual([says]);
    await other.close();
  });

  test.each([
    ['of a server of the legacy era is cancelled there', () => {}, true],
    ['of a server of the modern era is cancelled by the end of its connection', speakModern, false],
  ])('%s', async (_, speak, tells) => {
    const stop = new AbortController();
    const other = clientOf(world, TRIAGE, stop.signal);
    speak();
    const say = server.say;
    const left = Promise.withResolvers<void>();
    server.say = (seen, res, req) => {
      if (seen.json?.method !== 'tools/call') return say(seen, res, req);
      res.once('close', left.resolve);
      stop.abort(new Error('ended'));
    };
    await expect(other.call('echo', {})).rejects.toThrow('ended');
    await other.close();
    await left.promise;
    expect(methods().includes('notifications/cancelled')).toBe(tells);
  });

  test('ends with its signal', async () => {
    const stop = new AbortController();
    const other = clientOf(world, TRIAGE, stop.signal);
    server.say = (seen, res, req) =>
      seen.json?.method === 'tools/call' ? stop.abort(new Error('ended')) : politely(seen, res, req);
    await expect(other.call('echo', {})).rejects.toThrow('ended');
    await other.close();
  });
});

test('a list has all pages, and what the gateway lets through', async () => {
  server.say = (seen, res, req) => {
    if (seen.json?.method !== 'tools/list') return politely(seen, res, req);
    const { cursor } = seen.json.params as { cursor?: string };
    const [name, more] = cursor === undefined ? ['echo', { nextCursor: '2' }] : ['get-env', {}];
    const tools = [
      { name, description: name, inputSchema: {} },
      { name: `get-${name}`, inputSchema: {} },
    ];
    reply(res, { jsonrpc: '2.0', id: seen.json.id, result: { tools, ...more } });
  };
  expect(await client.tools()).toEqual([
    { name: 'echo', description: 'echo' },
    { name: 'get-echo', description: undefined },
    { name: 'get-get-env', description: undefined },
  ]);
});

describe('what is allowed', () => {
  test('is asked of the gateway, as many tools at a time as it takes', async () => {
    const names = Array.from({ length: 1_001 }, (_, n) => `get-${n}`);
    const { any, tools } = await client.allowed(names);
    expect([any, tools.length, tools.at(-1)]).toEqual([true, 1_001, { tool: 'get-1000', may: 'yes' }]);
    expect(server.seen).toEqual([]);
  });

  test('is nothing for a caller that no rule lets in', async () => {
    const stranger = clientOf(world, STRANGER);
    await expect(stranger.allowed([])).rejects.toThrow(
      refusal('mcp_call', /^no Access rule lets .* \(decision .+\)$/),
    );
    await expect(stranger.call('echo', {})).rejects.toThrow();
    await stranger.close();
  });

  test('is not known of a gateway that does not answer', async () => {
    await world.close();
    await expect(client.allowed([])).rejects.toThrow(
      refusal('mcp_upstream', /^the gateway at 127\.0\.0\.1:\d+: /),
    );
  });
});
