/** What callers and servers can make the gateway read and record: nothing without a record, and no flood of records. */
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { CallEvent } from '@chancery/agent/mcp/call-event.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ask } from '../../kit/mcp/clients/ask.ts';
import { rpc, startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely, reply, stream } from '../../kit/mcp/servers/server.ts';
import { windowClock } from '../../kit/mcp/world/windows.ts';
import { revoked, STRANGER, startWorld, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

let server: FakeServer;
let world: World;
let endWindow: () => Promise<void>;
beforeEach(async () => {
  const windows = windowClock();
  endWindow = windows.endWindow;
  ({ server, world } = await startPlayed({ tools: { allow: ['echo'] }, clock: windows.clock }));
});
afterEach(() => stopPlayed(world, server));

const triage = () => world.td.svid(TRIAGE);
const message = (method: string, params: object = {}) => rpc(method, params, 1);
const call = (name: string) => message('tools/call', { name, arguments: {} });
const kept = (event: Partial<CallEvent>) =>
  world.events.filter((each) =>
    Object.entries(event).every(([key, value]) => each[key as keyof CallEvent] === value),
  );

/** What a TLS connection of `triage` is answered to these bytes. */
async function raw(text: string): Promise<string> {
  const socket = connectTls({
    port: world.gateway.port,
    host: '127.0.0.1',
    ...clientTls(triage(), world.td.bundle.current()),
    checkServerIdentity: () => undefined,
  });
  await once(socket, 'secureConnect');
  socket.write(text);
  let answer = '';
  socket.on('data', (chunk) => {
    answer += String(chunk);
  });
  socket.on('error', () => {});
  await once(socket, 'close');
  return answer;
}

test('M85 a call whose record the spool has no room for is refused, and not forwarded', async () => {
  const record = (): never => {
    throw new IdentityError('audit_spool', '/d/spool is full');
  };
  const full = await startWorld(server.target, { record });
  const { status, json } = await ask(full, full.td.svid(TRIAGE), { body: call('echo') });
  await full.close();
  expect([status, json.error]).toEqual([
    503,
    { code: -31503, message: 'the gateway cannot record the call as its audit needs it' },
  ]);
  expect(server.seen).toEqual([]);
});

test('M40 of a caller that no rule lets in no body is read, whatever it holds', async () => {
  const other = world.td.svid(STRANGER);
  for (const [body, headers] of [
    ['no JSON', {}],
    [call('echo'), { 'content-type': 'text/plain' }],
    [`[${'[],'.repeat(1_000)}[]]`, {}],
  ] as const) {
    const { status, json } = await ask(world, other, { body, headers });
    expect([status, json.error.code]).toEqual([403, -31403]);
  }
  expect(world.events).toMatchObject([
    { stage: 'decided', httpMethod: 'POST', caller: STRANGER, allow: false },
  ]);
  expect(world.events[0]).not.toHaveProperty('method');

  // Its body is not even asked for.
  const socket = connectTls({
    port: world.gateway.port,
    host: '127.0.0.1',
    ...clientTls(other, world.td.bundle.current()),
    checkServerIdentity: () => undefined,
  });
  await once(socket, 'secureConnect');
  const sent = `POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4000000\r\nExpect: 100-continue\r\n\r\n`;
  socket.write(sent);
  const [first] = await once(socket, 'data');
  expect(String(first)).toMatch(/^HTTP\/1\.1 403 .*connection: close/is);
  socket.destroy();
});

test('an allowed caller is asked for its body', async () => {
  const body = call('echo');
  const head = `POST /mcp HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: ${body.length}\r\n`;
  expect(await raw(`${head}Expect: 100-continue\r\n\r\n${body}`)).toMatch(
    /^HTTP\/1\.1 100 .*HTTP\/1\.1 200 /s,
  );
});

test.each([
  ['lists', '[],', 3],
  ['nested lists', `${'['.repeat(40)}${']'.repeat(40)},`, 81],
  ['objects', '{},', 3],
  ['numbers', '0,', 2],
  ['strings', '"",', 3],
])('M40 %s without end are refused by their number', async (_name, part, length) => {
  const body = call('echo').replace(
    '"arguments":{}',
    `"arguments":{"a":[${part.repeat(2_000_000 / length)}0]}`,
  );
  const { status } = await ask(world, triage(), { body });
  expect(status).toBe(400);
  expect(world.events).toMatchObject([
    { stage: 'refused', detail: expect.stringMatching(/more values than/) },
  ]);
  expect(server.seen).toEqual([]);
});

test('M41 GET, DELETE and the end of a session have a record each', async () => {
  const begun = await ask(world, triage(), { body: message('initialize') });
  const session = String(begun.headers['mcp-session-id']);
  await ask(world, triage(), { method: 'GET', headers: { 'mcp-session-id': session } });
  await ask(world, triage(), { method: 'DELETE', headers: { 'mcp-session-id': session } });
  expect(kept({ stage: 'decided', httpMethod: 'GET', session, allow: true })).toHaveLength(1);
  expect(kept({ stage: 'decided', httpMethod: 'DELETE', session, allow: true })).toHaveLength(1);
  expect(kept({ stage: 'ended', session, caller: TRIAGE, detail: 'its client ended it' })).toHaveLength(1);
});

test('M41 a revocation ends the sessions of its caller, with a record, and what is open in them has an end', async () => {
  server.say = (seen, res, req) =>
    seen.json?.method === 'tools/call' ? undefined : politely(seen, res, req);
  const begun = await ask(world, triage(), { body: message('initialize') });
  const session = String(begun.headers['mcp-session-id']);
  const waiting = ask(world, triage(), { body: call('echo'), headers: { 'mcp-session-id': session } });
  waiting.catch(() => {});
  await expect.poll(() => server.seen.some(({ json }) => json?.method === 'tools/call')).toBe(true);
  world.revocations.publish(revoked('id', TRIAGE));
  await expect.poll(() => kept({ stage: 'ended', session, detail: 'its caller is revoked' })).toHaveLength(1);
  expect(
    kept({ stage: 'answered', outcome: 'unknown', method: 'tools/call', tool: 'echo', requestId: 1 }),
  ).toHaveLength(1);
});

test.each([
  [
    'both lengths',
    'POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  ['a bad header', 'POST /mcp HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n', 400],
  ['no HTTP', 'hello\r\n\r\n', 400],
  ['a head that is too long', `GET /mcp HTTP/1.1\r\nHost: x\r\nA: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ['CONNECT', 'CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\n', 405],
  ['another Expect', 'POST /mcp HTTP/1.1\r\nHost: x\r\nExpect: teapot\r\nContent-Length: 0\r\n\r\n', 417],
])('M41 HTTP that is refused has a record: %s', async (_name, text, status) => {
  expect(await raw(text)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(world.events).toMatchObject([{ stage: 'refused', caller: TRIAGE, allow: false }]);
  expect(server.seen).toEqual([]);
});

test('M42 a flood of denials is one record, and one a window with their number', async () => {
  const ids = new Set<unknown>();
  for (let each = 0; each < 50; each += 1) {
    const { json } = await ask(world, triage(), { body: call('delete') });
    ids.add(json.error.data['decisionId']);
  }
  expect(world.events).toHaveLength(1);
  expect([...ids]).toEqual([world.events[0]?.id]);
  await endWindow();
  await expect.poll(() => world.events.length).toBe(2);
  expect(world.events[1]).toMatchObject({ stage: 'decided', allow: false, tool: 'delete', count: 49 });
  // Another kind is not hidden by it, and an allowed call is never folded.
  await ask(world, triage(), { body: call('other') });
  for (let each = 0; each < 3; each += 1) await ask(world, triage(), { body: call('echo') });
  expect(kept({ stage: 'decided', tool: 'other' })).toHaveLength(1);
  expect(kept({ stage: 'decided', tool: 'echo', allow: true })).toHaveLength(3);
  expect(kept({ stage: 'answered', tool: 'echo', outcome: 'result' })).toHaveLength(3);
});

test('M42 denials of ever new tools are bounded, too', async () => {
  for (let each = 0; each < 100; each += 1) await ask(world, triage(), { body: call(`delete-${each}`) });
  expect(world.events.length).toBeLessThan(40);
});

test('M42 failed handshakes are one record and a number', async () => {
  for (let each = 0; each < 20; each += 1) {
    const socket = connectTcp(world.gateway.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.end('no TLS at all\r\n\r\n');
    await once(socket, 'close');
  }
  for (let each = 0; each < 20; each += 1)
    await ask(world, undefined, { body: call('echo') }).catch(() => undefined);
  expect(world.events).toMatchObject([{ stage: 'refused', code: 'no_peer', address: '127.0.0.1' }]);
  await endWindow();
  await expect.poll(() => world.events.length).toBe(2);
  expect(world.events[1]).toMatchObject({ count: 39 });
});

test('M42 a server that chats fills no disk', async () => {
  const told = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x' } };
  const asked = { jsonrpc: '2.0', id: 9, method: 'sampling/createMessage', params: {} };
  server.say = ({ json }, res) =>
    stream(res, [
      ...Array.from({ length: 500 }, () => told),
      ...Array.from({ length: 500 }, () => asked),
      { jsonrpc: '2.0', id: json.id, result: {} },
    ]);
  await ask(world, triage(), { body: call('echo') });
  await expect.poll(() => kept({ stage: 'answered', outcome: 'result' })).toHaveLength(1);
  expect(kept({ from: 'server' })).toHaveLength(3);
});

test('M42 no text in a record is longer than its bound', async () => {
  await ask(world, triage(), { body: call('x'.repeat(4_000_000)) });
  expect(JSON.stringify(world.events[0]).length).toBeLessThan(2_000);
  expect(world.events[0]?.tool).toMatch(/^x{256}\.\.\. \(4000000 characters\)$/);
});

test('M43 each allowed call has one last record that says how it ended', async () => {
  const last = (outcome: CallEvent['outcome']) =>
    kept({ stage: 'answered', outcome, method: 'tools/call', tool: 'echo', requestId: 1 });
  const ends: [CallEvent['outcome'], string | undefined, FakeServer['say']][] = [
    ['result', undefined, politely],
    [
      'error',
      undefined,
      ({ json }, res) => reply(res, { jsonrpc: '2.0', id: json.id, error: { code: 1, message: 'x' } }),
    ],
    ['unknown', 'was reached but did not answer', (_seen, res) => res.destroy()],
    ['unknown', 'could not be read', (_seen, res) => reply(res, '{')],
    ['unknown', 'before the answer', (_seen, res) => stream(res, [])],
  ];
  for (const [outcome, detail, say] of ends) {
    world.events.length = 0;
    server.say = say;
    await ask(world, triage(), { body: call('echo') });
    await expect.poll(() => kept({ stage: 'answered' })).toHaveLength(1);
    expect(last(outcome)).toMatchObject([
      detail === undefined ? {} : { detail: expect.stringContaining(detail) },
    ]);
    expect(world.events).toHaveLength(2);
    expect(world.events[1]?.id).toBe(world.events[0]?.id);
  }
});
