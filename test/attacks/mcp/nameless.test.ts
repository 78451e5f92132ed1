/** Errors without an id in event streams, and events that do not end: rows M67 and M77. */
import { request } from 'node:https';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { callOf as call, callerOf, rpc, startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely, reply, type Say } from '../../kit/mcp/servers/server.ts';
import { id, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const MIB = 1024 * 1024;
const OTHER = id('agents/other');
let world: World;
let server: FakeServer;
beforeEach(async () => {
  ({ server, world } = await startPlayed({ who: [TRIAGE, OTHER], arriving: { perCaller: 24 * MIB } }));
});
afterEach(() => stopPlayed(world, server));

const { post, other, begin: beginSession } = callerOf(() => world);
const resume = (headers: Record<string, string>, from: string) =>
  other('GET', { accept: 'text/event-stream', ...headers, 'last-event-id': from });
async function begin(): Promise<Record<string, string>> {
  server.say = politely;
  const session = await beginSession();
  world.events.length = 0;
  return session;
}

/** Writes these events to each call, and then ends its stream or breaks it off. */
const events =
  (text: string, over: 'end' | 'break' | 'open' = 'end'): Say =>
  (seen, res, req) => {
    if (seen.json?.method !== 'tools/call' && seen.method !== 'GET') return politely(seen, res, req);
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(text, () => {
      if (over === 'end') res.end();
      if (over === 'break') setTimeout(() => res.destroy(), 20);
    });
  };
const error = { code: -32603, message: 'boom' };
const nameless = (message = 'boom') =>
  `data: ${JSON.stringify({ jsonrpc: '2.0', id: null, error: { ...error, message } })}\n\n`;
const ANSWER = { jsonrpc: '2.0', id: 7, result: { content: [{ type: 'text', text: 'done' }] } };
const answer = `data: ${JSON.stringify(ANSWER)}\n\n`;
const outcomes = () =>
  world.events.flatMap(({ outcome, rpcCode }) => (outcome ? [{ outcome, rpcCode }] : []));
const dropped = () => world.events.filter(({ stage }) => stage === 'dropped');

describe('M67 an error without an id whose event has one', () => {
  test.each([
    ['and the stream ends', `id: e1\n${nameless()}`, 'end'],
    ['after an event to resume from', `id: e0\ndata:\n\nid: e1\n${nameless()}`, 'end'],
    ['and the stream breaks off', `id: e1\n${nameless()}`, 'break'],
    ['after another one', `id: e0\n${nameless('one')}id: e1\n${nameless()}`, 'end'],
  ] as const)('fails the call, %s', async (_name, text, over) => {
    const session = await begin();
    server.say = events(text, over);
    const told = await post(call(7), session);
    expect([told.status, told.json]).toEqual([200, { jsonrpc: '2.0', id: 7, error }]);
    expect(told.text).not.toContain('id: e1');
    await expect.poll(outcomes).toEqual([{ outcome: 'error', rpcCode: -32603 }]);
  });

  test('fails no call that goes on after an event that follows', async () => {
    const session = await begin();
    server.say = events(`id: e1\n${nameless()}id: e2\ndata:\n\n`);
    const { text } = await post(call(7), session);
    expect(text).toContain('id: e2');
    expect(text).not.toMatch(/boom|id: e1/);
    expect(dropped()).toHaveLength(1);
    server.say = events(answer);
    expect((await resume(session, 'e2')).json).toEqual(ANSWER);
  });

  test('is no place to resume from in a stream that is resumed', async () => {
    const session = await begin();
    server.say = events(`id: e1\n${nameless()}`);
    expect((await resume(session, 'e0')).text).not.toMatch(/boom|id: e1/);
    expect(dropped()).toHaveLength(1);
  });

  test.each([
    ['a code beyond 32 bits', { code: 2 ** 40, message: 'boom' }, /not an integer of 32 bits/],
    ['a text in the place of an object', 'boom', /the error is not an object/],
  ])('fails the call where it has %s', async (_name, odd, says) => {
    const session = await begin();
    server.say = events(`id: e1\ndata: ${JSON.stringify({ jsonrpc: '2.0', id: null, error: odd })}\n\n`);
    const { json } = await post(call(7), session);
    expect([json.id, json.error]).toEqual([7, { code: -31502, message: expect.stringMatching(says) }]);
  });
});

describe('M67 what names no request and is not the end of the call is on record', () => {
  test('before the answer', async () => {
    server.say = events(nameless() + answer);
    const { text, json } = await post(call(7));
    expect([json, text.includes('boom')]).toEqual([ANSWER, false]);
    expect(dropped()).toMatchObject([{ detail: 'an answer to nothing that was asked here' }]);
    await expect.poll(outcomes).toEqual([{ outcome: 'result', rpcCode: undefined }]);
  });

  test('before another one, by which the call fails', async () => {
    server.say = events(nameless('one') + nameless('two'));
    const { text, json } = await post(call(7));
    expect([json.error.message, text.includes('one')]).toEqual(['two', false]);
    expect(dropped()).toHaveLength(1);
  });

  test('in the stream of a cancelled call, which gets no answer', async () => {
    const session = await begin();
    const released = Promise.withResolvers<void>();
    server.say = (seen, res, req) => {
      if (seen.json?.method !== 'tools/call') return politely(seen, res, req);
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(nameless());
      released.promise.then(() => res.end());
    };
    const waiting = post(call(7), session);
    await expect.poll(() => world.events.some(({ tool }) => tool === 'echo')).toBe(true);
    await post(rpc('notifications/cancelled', { requestId: 7 }), session);
    released.resolve();
    expect((await waiting).text).not.toContain('boom');
    expect(outcomes()).toEqual([{ outcome: 'abandoned', rpcCode: undefined }]);
    expect(dropped()).toHaveLength(1);
  });
});

/** A call whose answer does not end. */
function open(caller: SpiffeId) {
  const closed = Promise.withResolvers<void>();
  const outgoing = request({
    ...{ host: '127.0.0.1', port: world.gateway.port, path: '/mcp', method: 'POST', agent: false },
    ...clientTls(world.td.svid(caller), world.td.bundle.current()),
    checkServerIdentity: () => undefined,
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
  });
  outgoing.on('error', () => {});
  outgoing.on('response', (response) => response.on('error', () => {}).resume());
  outgoing.on('close', () => closed.resolve());
  outgoing.end(call(1));
  return { closed: closed.promise, isClosed: () => outgoing.closed, leave: () => outgoing.destroy() };
}

describe('M77 what a server leaves open', () => {
  test('is a code and 1,024 characters of a message, where it is an error without an id', async () => {
    const large = { ...error, message: 'x'.repeat(MIB), data: Array(1_000).fill(1) };
    server.say = events(`data: ${JSON.stringify({ jsonrpc: '2.0', id: null, error: large })}\n\n`);
    const { json } = await post(call(7));
    expect(json.error).toEqual({ ...error, message: `${'x'.repeat(1_024)}...` });
  });

  const half = `{"jsonrpc":"2.0","id":7,"result":{"text":"${'x'.repeat(10 * MIB)}`;
  const halves: [string, Say][] = [
    ['half an event', events(`data: ${half}`, 'open')],
    [
      'half a body',
      (_seen, res) => void res.writeHead(200, { 'content-type': 'application/json' }).write(half),
    ],
  ];
  test.each(halves)('counts for its caller, where it is %s', { timeout: 60_000 }, async (_name, say) => {
    server.say = say;
    const other = open(OTHER);
    const calls = [open(TRIAGE), open(TRIAGE), open(TRIAGE)];
    await Promise.race(calls.map(({ closed }) => closed));
    const says = /triage have \d+ bytes in answers that are not whole, this one \d+$/;
    expect(dropped()).toMatchObject([{ caller: TRIAGE, detail: expect.stringMatching(says) }]);
    await expect.poll(outcomes).toEqual([{ outcome: 'unknown', rpcCode: undefined }]);
    expect(other.isClosed()).toBe(false);
    for (const { leave } of [other, ...calls]) leave();
  });

  test.each(halves)('counts no more once it is whole: %s', { timeout: 60_000 }, async (_name, say) => {
    for (let n = 0; n < 4; n += 1) {
      server.say = (seen, res, req) => {
        say(seen, res, req);
        res.end('"}}\n\n');
      };
      expect((await post(call(7))).status).toBe(200);
    }
    expect(dropped()).toEqual([]);
    server.say = (_seen, res) => reply(res, ANSWER);
    expect((await post(call(7))).json).toEqual(ANSWER);
  });
});
