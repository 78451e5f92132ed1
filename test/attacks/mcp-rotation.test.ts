/** M16 at connect's end: a gateway's certificate ends, and no call ends with it while there is a newer one. */
import { request } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MovableClock } from '../kit/clock.ts';
import { type FakeServer, politely, type Say, startFakeServer } from '../kit/mcp/server.ts';
import { connectTo, live, startWorld, TOOLS, TRIAGE, type World } from '../kit/mcp/world.ts';

const HOUR = 3600;
const CALL = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });

let server: FakeServer;
let world: World;
let clock: MovableClock;
let connect: Awaited<ReturnType<typeof connectTo>>;
beforeEach(async () => {
  clock = new MovableClock();
  server = await startFakeServer();
  world = await startWorld(server.target, { clock });
  connect = await connectTo(
    world,
    { kind: 'tcp', port: 0 },
    { clock, svid: live(world.td.svid(TRIAGE, 9 * HOUR)) },
  );
});
afterEach(async () => {
  await connect.close();
  await world.close();
  await server.close();
});

const rotated = () => world.gatewaySvid.publish(world.td.svid(TOOLS, 9 * HOUR));

function call(): Promise<number> {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  return new Promise((resolve, reject) => {
    const outgoing = request({
      port: connect.port,
      host: '127.0.0.1',
      path: '/mcp',
      method: 'POST',
      headers,
    });
    outgoing.on('response', (response) => resolve(response.resume().statusCode ?? 0));
    outgoing.on('error', reject);
    outgoing.end(CALL);
  });
}

/** A tool that answers when it is told to. */
function slow(): { readonly asked: Promise<void>; answer(): void } {
  const asked = Promise.withResolvers<void>();
  let answer = (): void => {};
  const say: Say = (seen, res, req) => {
    answer = () => politely(seen, res, req);
    asked.resolve();
  };
  server.say = say;
  return { asked: asked.promise, answer: () => answer() };
}

describe('M16 a call that is under way when the gateway’s old certificate ends', () => {
  test('is on a newer connection where the gateway has rotated', async () => {
    expect(await call()).toBe(200);
    rotated();
    clock.move(0.9 * HOUR);
    const { asked, answer } = slow();
    const status = call();
    await asked;
    clock.move(0.2 * HOUR);
    answer();
    expect(await status).toBe(200);
  });

  test('takes no new one along: what was on the old connection stays there', async () => {
    const { asked, answer } = slow();
    const early = call();
    await asked;
    rotated();
    clock.move(0.9 * HOUR);
    answer();
    expect(await early).toBe(200);
    const late = slow();
    const status = call();
    await late.asked;
    clock.move(0.2 * HOUR);
    late.answer();
    expect(await status).toBe(200);
  });

  test('is cut where the gateway has no other', async () => {
    expect(await call()).toBe(200);
    clock.move(0.9 * HOUR);
    const { asked } = slow();
    const status = call();
    await asked;
    clock.move(0.2 * HOUR);
    expect(await status).not.toBe(200);
  });
});
