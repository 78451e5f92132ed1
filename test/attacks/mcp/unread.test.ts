/** Answers that their clients do not read: row M74. */
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FakeServer, reply, startFakeServer, stream } from '../../kit/mcp/servers/server.ts';
import { id, startWorld, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const MIB = 1024 * 1024;
const [GREEDY, OTHER] = [id('agents/greedy'), id('agents/other')];
/** Of one answer; the kernel holds several MiB of it for a client that does not read. */
const SIZE = 14 * MIB;

let world: World;
let server: FakeServer;
beforeEach(async () => {
  server = await startFakeServer();
});
afterEach(async () => {
  await world.close();
  await server.close();
});

const result = (id: number | string) => ({ jsonrpc: '2.0', id, result: { text: 'x'.repeat(SIZE) } });
const KINDS: [string, FakeServer['say']][] = [
  ['whole answers', ({ json }, res) => reply(res, result(json.id))],
  ['streams', ({ json }, res) => stream(res, [result(json.id)])],
];

/** A call whose client reads nothing until it is told to. */
function call(caller: SpiffeId) {
  const opened = Promise.withResolvers<IncomingMessage>();
  const tls = {
    ...clientTls(world.td.svid(caller), world.td.bundle.current()),
    checkServerIdentity: () => undefined,
  };
  const outgoing = request({
    ...{ host: '127.0.0.1', port: world.gateway.port, path: '/mcp', method: 'POST', agent: false, ...tls },
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
  });
  let [cut, socket] = [false, outgoing.socket];
  outgoing.on('error', () => {
    cut = true;
  });
  outgoing.on('response', (response) => {
    response.on('error', () => {});
    socket = response.socket;
    socket.pause();
    opened.resolve(response);
  });
  outgoing.end(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'large' } }));
  return {
    opened: opened.promise,
    /** Resolves with how much came of it, and whether that is all. */
    async read(): Promise<{ bytes: number; complete: boolean }> {
      const response = await opened.promise;
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      const closed = new Promise((resolve) => response.once('close', resolve));
      socket?.resume();
      if (!cut) await closed;
      return { bytes, complete: response.complete };
    },
    leave: () => outgoing.destroy(),
  };
}

const dropped = () =>
  world.events.flatMap(({ stage, detail, caller }) => (stage === 'dropped' ? [`${caller}: ${detail}`] : []));
const outcomes = (of: SpiffeId) =>
  world.events.flatMap(({ caller, outcome = [] }) => (caller === of ? outcome : []));

describe.each(KINDS)('M74 %s that their clients do not read', (_kind, say) => {
  beforeEach(() => {
    server.say = say;
  });

  test('are bounded for a caller over all of them, and cost no other caller anything', {
    timeout: 60_000,
  }, async () => {
    const perCaller = 24 * MIB;
    world = await startWorld(server.target, { who: [TRIAGE, GREEDY, OTHER], unread: { perCaller } });
    const other = call(OTHER);
    await other.opened;
    const calls: ReturnType<typeof call>[] = [];
    for (let n = 0; n < 6; n += 1) {
      const next = call(GREEDY);
      calls.push(next);
      await next.opened;
    }
    const reason = /^spiffe:.*greedy: the clients of spiffe:.*greedy have \d+ bytes to read, this one \d+$/;
    await expect.poll(dropped, { timeout: 20_000 }).toEqual([expect.stringMatching(reason)]);
    const lost = Number(/have (\d+)/.exec(dropped()[0] ?? '')?.[1]);
    expect(lost).toBeLessThan(perCaller + 1.5 * SIZE);
    expect(await other.read()).toMatchObject({ complete: true });
    expect(outcomes(OTHER)).toEqual(['result']);
    const reads = await Promise.all(calls.map((each) => each.read()));
    const whole = reads.filter(({ complete }) => complete);
    expect(whole.length).toBeGreaterThan(0);
    expect(whole.length).toBeLessThan(calls.length);
  });

  test('give way where all together hold too much: those of the caller with most', {
    timeout: 60_000,
  }, async () => {
    world = await startWorld(server.target, { who: [TRIAGE, GREEDY, OTHER], unread: { total: 3.5 * SIZE } });
    const small = [call(OTHER), call(TRIAGE)];
    for (const each of small) await each.opened;
    const calls: ReturnType<typeof call>[] = [];
    for (let n = 0; n < 4; n += 1) {
      const next = call(GREEDY);
      calls.push(next);
      await next.opened;
    }
    await expect
      .poll(dropped, { timeout: 20_000 })
      .toEqual([
        expect.stringMatching(/greedy: all clients have \d+ bytes to read, those of spiffe:.*greedy most/),
      ]);
    for (const each of small) expect(await each.read()).toMatchObject({ complete: true });
    for (const each of calls) each.leave();
  });
});

test('M74 a stream of a call that is cut has a last record that says why', { timeout: 60_000 }, async () => {
  const progress = {
    jsonrpc: '2.0',
    method: 'notifications/progress',
    params: { progressToken: 1, text: 'x'.repeat(SIZE) },
  };
  server.say = (_seen, res) => stream(res, [progress], true);
  world = await startWorld(server.target, { unread: { perCaller: MIB } });
  const open = call(TRIAGE);
  const last = () => world.events.find(({ outcome }) => outcome !== undefined);
  await expect.poll(last, { timeout: 20_000 }).toMatchObject({
    outcome: 'unknown',
    detail: expect.stringMatching(/have \d+ bytes to read/),
  });
  open.leave();
});
