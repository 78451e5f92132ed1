/**
 * Attacks on connect: web pages and other users on its listener, strangers at the gateway's address, lost
 * connections.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { type AddressInfo, connect as connectTcp, createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { createServer as createTlsServer } from 'node:tls';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { serverTls } from '@chancery/shared/tls/options.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { startPlayed, stdioAnswers, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely } from '../../kit/mcp/servers/server.ts';
import {
  connectTo,
  id,
  live,
  policyFor,
  TOOLS,
  TRIAGE,
  TrustDomainInMemory,
  type World,
} from '../../kit/mcp/world/world.ts';

/** An error of the call's own is HTTP 200, too. */
const RESULT = { status: 200, text: expect.stringContaining('"result"') };

let server: FakeServer;
let world: World;
let directory: string;
beforeAll(async () => {
  ({ server, world } = await startPlayed());
});
afterAll(() => stopPlayed(world, server));
beforeEach(() => {
  server.seen.length = 0;
  server.say = politely;
  directory = mkdtempSync(join(tmpdir(), 'mcp-local-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const CALL = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });
const STANDARD = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

function post(
  where: object,
  headers: Record<string, string | string[]> = {},
  body = CALL,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      ...where,
      path: '/mcp',
      method: 'POST',
      agent: false,
      headers: { ...STANDARD, ...headers },
    });
    outgoing.on('error', reject);
    outgoing.on('response', async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode ?? 0, text });
    });
    outgoing.end(body);
  });
}

test('M61 an idle connection of a client is kept for longer than clients keep it', async () => {
  const connect = await connectTo(world, { kind: 'tcp', port: 0 });
  const agent = new Agent({ keepAlive: true });
  const outgoing = request({ host: '127.0.0.1', port: connect.port, path: '/mcp', method: 'POST', agent });
  for (const [name, value] of Object.entries(STANDARD)) outgoing.setHeader(name, value);
  outgoing.end(CALL);
  const [answer] = await once(outgoing, 'response');
  expect(answer.headers['keep-alive']).toBe('timeout=95');
  agent.destroy();
  await connect.close();
});

describe('M17: a web page does not reach the local listener', () => {
  test.each([
    [
      'a page of another site',
      (port: number) => ({ host: `127.0.0.1:${port}`, origin: 'https://evil.example' }),
    ],
    ['a page in a sandbox', (port: number) => ({ host: `127.0.0.1:${port}`, origin: 'null' })],
    [
      'an origin that begins like ours',
      (port: number) => ({ host: `127.0.0.1:${port}`, origin: 'http://localhost.evil.example' }),
    ],
    ['M33 a page of another program of this machine', () => ({ origin: 'http://localhost:3000' })],
    ['M33 a page of the default port', () => ({ origin: 'http://127.0.0.1' })],
    ['a name made to point here', (port: number) => ({ host: `evil.example:${port}` })],
    ['a name that begins like ours', (port: number) => ({ host: `127.0.0.1.evil.example:${port}` })],
    ['another port', () => ({ host: '127.0.0.1:1' })],
  ])('%s', async (_name, headers) => {
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const port = connect.port ?? 0;
    expect((await post({ host: '127.0.0.1', port }, headers(port))).status).toBe(403);
    expect(server.seen).toEqual([]);
    expect((await post({ host: '127.0.0.1', port }, { origin: `http://localhost:${port}` })).status).toBe(
      200,
    );
    expect(await post({ host: '127.0.0.1', port }, { host: `localhost:${port}` })).toMatchObject(RESULT);
    await connect.close();
  });

  test('a form of a page, which can send no JSON', async () => {
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const where = { host: '127.0.0.1', port: connect.port };
    expect((await post(where, { 'content-type': 'text/plain' })).status).toBe(415);
    await connect.close();
  });
});

/** Listening for somebody else, this process is the other user. */
const SOMEBODY = { uid: (process.getuid?.() ?? 0) + 1 };

describe('M18: another user of the machine does not reach it', () => {
  test('by TCP, the kernel says who calls', async () => {
    const connect = await connectTo(world, { kind: 'tcp', port: 0 }, SOMEBODY);
    expect((await post({ host: '127.0.0.1', port: connect.port })).status).toBe(403);
    expect(server.seen).toEqual([]);
    await connect.close();
  });

  test('by socket, the file is closed to others, and the kernel says who calls where it is not', async () => {
    const path = join(directory, 'mcp.sock');
    const connect = await connectTo(world, { kind: 'unix', path });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await post({ socketPath: path })).toMatchObject(RESULT);
    await connect.close();
    server.seen.length = 0;
    const theirs = await connectTo(world, { kind: 'unix', path }, SOMEBODY);
    expect((await post({ socketPath: path })).status).toBe(403);
    expect(server.seen).toEqual([]);
    await theirs.close();
  });

  test.each([
    ['a file that is no socket', (path: string) => writeFileSync(path, 'x'), 'file'],
    ['a link', (path: string) => symlinkSync('/tmp/elsewhere', path), 'file'],
    ['a directory that others may write to', () => chmodSync(directory, 0o777), 'file_mode'],
  ])('%s at its path stops it from starting', async (_name, spoil, code) => {
    const path = join(directory, 'mcp.sock');
    spoil(path);
    await expect(connectTo(world, { kind: 'unix', path })).rejects.toThrow(expect.objectContaining({ code }));
  });

  test('I49 its silent connections take no descriptors of ours, and few lines of the log', async () => {
    const lines: string[] = [];
    const log = { ...silentLog, warn: (_: object, says: string) => void lines.push(says) };
    const connect = await connectTo(world, { kind: 'tcp', port: 0 }, { ...SOMEBODY, log });
    const sockets = Array.from({ length: 100 }, () =>
      connectTcp(connect.port ?? 0, '127.0.0.1')
        .on('error', () => {})
        .resume(),
    );
    await vi.waitFor(() => expect(sockets.filter((each) => !each.closed)).toHaveLength(16));
    expect(lines).toEqual(['a local caller was refused']);
    for (const each of sockets) each.destroy();
    await connect.close();
  });

  test('a socket that another connect serves stops the second one, and the first goes on', async () => {
    const path = join(directory, 'mcp.sock');
    const first = await connectTo(world, { kind: 'unix', path });
    const second = connectTo(world, { kind: 'unix', path });
    await expect(second).rejects.toThrow(
      `another process (pid ${process.pid}) serves ${path}: give another path`,
    );
    expect(await post({ socketPath: path })).toMatchObject(RESULT);
    await first.close();
  });

  test('a socket that was left behind is replaced', async () => {
    const path = join(directory, 'mcp.sock');
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen('${path}', () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    const connect = await connectTo(world, { kind: 'unix', path });
    expect(await post({ socketPath: path })).toMatchObject(RESULT);
    await connect.close();
  });
});

describe('I17, I23: a stranger at the address gets nothing', () => {
  test.each([
    [
      'another workload of the trust domain',
      (td: TrustDomainInMemory) => td.svid(id('tools/other')),
      /the gateway at 127.0.0.1:\d+ is spiffe:\/\/prod.example\/tools\/other, not spiffe:\/\/prod.example\/tools\/everything/,
    ],
    ['the right name in another trust domain', () => new TrustDomainInMemory().svid(TOOLS), /error/],
  ])('%s', async (_name, made, says) => {
    let received = 0;
    const stranger = createTlsServer(
      { ...serverTls(made(world.td)), requestCert: true, rejectUnauthorized: false },
      (socket) => {
        socket.on('data', (chunk) => {
          received += chunk.length;
        });
        socket.on('error', () => {});
      },
    );
    stranger.on('tlsClientError', () => {});
    await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve));
    const policy = live(policyFor((stranger.address() as AddressInfo).port, { allow: ['*'] }));
    const connect = await connectTo({ ...world, policy }, { kind: 'tcp', port: 0 });
    const answer = await post({ host: '127.0.0.1', port: connect.port });
    expect(answer.status).toBe(200);
    expect(answer.text).toMatch(says);
    expect(received).toBe(0);
    await connect.close();
    stranger.close();
  });

  test('a server that is not registered is nowhere', async () => {
    const policy = live(policyFor(world.gateway.port, { allow: ['*'] }));
    const none = { ...policy.current(), servers: new Map() };
    policy.publish(none);
    const connect = await connectTo({ ...world, policy }, { kind: 'tcp', port: 0 });
    expect((await post({ host: '127.0.0.1', port: connect.port })).status).toBe(404);
    await connect.close();
  });
});

test('calls at once share connections to the gateway', async () => {
  let connections = 0;
  const relay = createNetServer((socket) => {
    connections += 1;
    const onward = connectTcp(world.gateway.port, '127.0.0.1');
    for (const each of [socket, onward]) each.on('error', () => {});
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const policy = live(policyFor((relay.address() as AddressInfo).port, { allow: ['*'] }));
  const [input, output] = [new PassThrough(), new PassThrough()];
  const connect = await connectTo({ ...world, policy }, { kind: 'stdio', input, output });
  let out = '';
  output.on('data', (chunk) => {
    out += chunk;
  });
  const calls = Array.from({ length: 100 }, (_, at) => CALL.replace('"id":1', `"id":${at}`));
  input.write(`${calls.join('\n')}\n`);
  await expect.poll(() => out.match(/"result"/g)?.length).toBe(100);
  expect(connections).toBeLessThan(60);
  await connect.close();
  relay.close();
});

describe('a call is not made twice, and a rotation is not noticed', () => {
  test('a call whose connection breaks is not sent again', async () => {
    server.say = (_seen, res) => res.destroy();
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const { status, text } = await post({ host: '127.0.0.1', port: connect.port });
    expect([status, JSON.parse(text).error.code]).toEqual([200, -31502]);
    expect(server.seen).toHaveLength(1);
    await connect.close();
  });

  test('a new certificate is used for the next call, while one goes on under the old', async () => {
    const svid = live(world.td.svid(TRIAGE));
    const connect = await connectTo(world, { kind: 'tcp', port: 0 }, { svid });
    const where = { host: '127.0.0.1', port: connect.port };
    let finish = (): void => {};
    server.say = (seen, res, req) => {
      finish = () => politely(seen, res, req);
    };
    world.events.length = 0;
    const slow = post(where);
    await expect.poll(() => server.seen.length).toBe(1);
    svid.publish(world.td.svid(TRIAGE));
    world.gatewaySvid.publish(world.td.svid(TOOLS));
    server.say = politely;
    expect(await post(where)).toMatchObject(RESULT);
    finish();
    expect(await slow).toMatchObject(RESULT);
    const [first, second] = world.events.filter(({ stage }) => stage === 'decided');
    expect(first?.serial).not.toBe(second?.serial);
    await connect.close();
  });
});

describe('stdio', () => {
  test('M2, M3: what cannot be read is refused here already', async () => {
    const bad = ['[]', '{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', 'x'];
    const answers = (await stdioAnswers(world, [...bad, CALL], 4)).map((line) => JSON.parse(line));
    const codes = answers.map((answer) => answer.error?.code);
    expect(codes).toEqual([-32600, -32600, -32700, undefined]);
    expect(server.seen).toHaveLength(1);
  });

  test('a session that the gateway lost is begun again, and the call goes on', async () => {
    const initialize = JSON.stringify({
      jsonrpc: '2.0',
      id: 0,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {} },
    });
    const input = new PassThrough();
    const output = new PassThrough();
    const connect = await connectTo(world, { kind: 'stdio', input, output });
    let out = '';
    output.on('data', (chunk) => {
      out += chunk;
    });
    input.write(
      `${initialize}\n${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })}\n`,
    );
    await expect.poll(() => out).toContain('protocolVersion');
    await expect.poll(() => server.seen.length).toBeGreaterThanOrEqual(2);
    const lost = world.events.find(({ method }) => method === 'notifications/initialized')?.session;
    expect(lost).toBeDefined();
    server.say = (seen, res, req) => {
      // Its stream may be asked for only now.
      if (seen.json?.method !== 'tools/call') return politely(seen, res, req);
      server.say = politely;
      res.writeHead(404).end();
    };
    input.write(`${CALL}\n`);
    await expect.poll(() => out).toContain('"echo"');
    const [, told, ...answers] = out.trim().split('\n');
    expect(told).toContain('notifications/tools/list_changed');
    expect(answers).toHaveLength(1);
    input.end();
    await connect.done;
    expect(server.seen.at(-1)?.method).toBe('DELETE');
  });
});
