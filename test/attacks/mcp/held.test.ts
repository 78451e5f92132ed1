/** What a gateway holds of requests that are whole: row M55. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { UpstreamTarget } from '@chancery/agent/mcp/upstream/upstream.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterEach, describe, expect, test } from 'vitest';
import { ask } from '../../kit/mcp/clients/ask.ts';
import { id, startWorld, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const MIB = 1024 * 1024;
const [GREEDY, OTHER] = [id('agents/greedy'), id('agents/other')];
let world: World;
let upstream: Server | undefined;
afterEach(async () => {
  await world.close();
  upstream?.closeAllConnections();
  upstream?.close();
  upstream = undefined;
});

const VERSION = '2026-07-28';
const META = 'io.modelcontextprotocol/';
const NAMED = { 'mcp-protocol-version': VERSION, 'mcp-method': 'tools/call', 'mcp-name': 'slow' };
const callOf = (bytes: number): string =>
  JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: {
      name: 'slow',
      arguments: { text: 'x'.repeat(bytes) },
      _meta: {
        [`${META}protocolVersion`]: VERSION,
        [`${META}clientInfo`]: { name: 'test', version: '1' },
        [`${META}clientCapabilities`]: {},
      },
    },
  });

/** Resolves with the status, or with `cut`. */
const call = (body: string, caller: SpiffeId = TRIAGE): Promise<number | string> =>
  ask(world, world.td.svid(caller), { body, headers: NAMED }).then(
    ({ status }) => status,
    () => 'cut',
  );

/** A server that reads requests, and answers none. */
async function silentServer(): Promise<UpstreamTarget> {
  upstream = createServer((req) => void req.resume());
  return listening(upstream);
}

/** A server that reads the head of a request, and no more. */
async function deafServer(): Promise<UpstreamTarget> {
  upstream = createServer((req) => void req.socket.pause());
  return listening(upstream);
}

async function listening(server: Server): Promise<UpstreamTarget> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { kind: 'url', url: new URL(`http://127.0.0.1:${port}/mcp`) };
}

const command = (script: string): UpstreamTarget => ({
  kind: 'command',
  command: ['/bin/sh', '-c', script],
  env: { PATH: process.env['PATH'] ?? '' },
});

/** Of this process, the callers included. */
function heldMib(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / MIB;
}

const decided = () => world.events.filter(({ stage, allow }) => stage === 'decided' && allow).length;
const rates = () => world.events.flatMap(({ code, detail }) => (code === 'rate' ? [detail] : []));

describe('M55 calls that the server has read and does not answer', () => {
  test.each([
    ['a URL', silentServer],
    ['a command', async () => command('exec cat > /dev/null')],
  ])('hold nothing of their arguments: %s', { timeout: 120_000 }, async (_, target) => {
    const [calls, size] = [60, MIB];
    world = await startWorld(await target());
    const before = heldMib();
    const body = callOf(size);
    const outcomes: (number | string)[] = [];
    for (let n = 1; n <= calls; n += 1) {
      void call(body).then((outcome) => outcomes.push(outcome));
      await expect.poll(decided, { timeout: 30_000 }).toBe(n);
    }
    await expect.poll(() => heldMib() - before, { timeout: 30_000 }).toBeLessThan(30);
    // A process that reads more slowly than calls come is asked no more for a while.
    expect(outcomes.filter((status) => status !== 503)).toEqual([]);
    expect(outcomes.length).toBeLessThan(calls / 2);
  });
});

describe('M55 calls whose arguments the server does not read', () => {
  const size = 15 * MIB;
  const bodies = { perCaller: 2 * 16 * MIB, total: 4 * 16 * MIB };
  const who = [TRIAGE, OTHER, GREEDY];

  test.each([
    ['a URL', deafServer],
    ['a command', async () => command('exec sleep 1000')],
  ])('have a share for each caller: %s', { timeout: 60_000 }, async (_, target) => {
    world = await startWorld(await target(), { bodies: { ...bodies, perCaller: 16 * MIB }, who });
    const body = callOf(size);
    void call(body, GREEDY);
    await expect.poll(decided, { timeout: 30_000 }).toBe(1);
    expect(await call(body, GREEDY)).toBe(503);
    expect(rates()).toEqual([`the unfinished messages of ${GREEDY} take too many bytes`]);
    void call(body, TRIAGE);
    await expect.poll(decided, { timeout: 30_000 }).toBe(2);
  });

  test('of a command that does not read: no more than it may have to read', { timeout: 60_000 }, async () => {
    world = await startWorld(await command('exec sleep 1000'), { who });
    const body = callOf(9 * MIB);
    for (const n of [1, 2]) {
      void call(body);
      await expect.poll(decided, { timeout: 30_000 }).toBe(n);
    }
    expect(await call(body)).toBe(503);
    const errors = world.events.flatMap(({ outcome, detail }) => (outcome === 'error' ? [detail] : []));
    expect(errors).toEqual([expect.stringMatching(/^the MCP server has \d+ bytes to read$/)]);
  });

  test.each([
    ['a URL', deafServer, false],
    ['a command', async () => command('exec sleep 1000'), true],
  ])('of the caller with most give way to others: %s', { timeout: 60_000 }, async (_, target, ends) => {
    const [one, two] = [callOf(size), callOf(size / 2)];
    world = await startWorld(await target(), { bodies: { ...bodies, total: 2.2 * 16 * MIB }, who });
    const first = call(two, GREEDY);
    await expect.poll(decided, { timeout: 30_000 }).toBe(1);
    const second = call(two, GREEDY);
    await expect.poll(decided, { timeout: 30_000 }).toBe(2);
    void call(two, TRIAGE);
    await expect.poll(decided, { timeout: 30_000 }).toBe(3);
    void call(one, OTHER);
    expect(await first).toBe(503);
    await expect.poll(decided, { timeout: 30_000 }).toBe(4);
    const errors = world.events.flatMap(({ outcome, detail }) => (outcome === 'error' ? [detail] : []));
    expect(errors[0]).toBe('an unfinished message gave way to another one');
    // What a process has not read is in our memory until it is gone; all its calls end in an error then.
    if (ends) expect(await second).toBe(200);
  });
});
