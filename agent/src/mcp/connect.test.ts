import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { callOf, startPlayed, stopPlayed } from '../../../test/kit/mcp/clients/caller.ts';
import type { FakeServer } from '../../../test/kit/mcp/servers/server.ts';
import { connectTo, revoked, TRIAGE, type World } from '../../../test/kit/mcp/world/world.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import type { Connect } from './connect.ts';

let world: World;
let server: FakeServer;
beforeEach(async () => {
  ({ world, server } = await startPlayed());
});
afterEach(() => stopPlayed(world, server));

describe('a client over stdio', () => {
  let [input, output] = [new PassThrough(), new PassThrough()];
  const start = async (): Promise<Connect> => {
    [input, output] = [new PassThrough(), new PassThrough()];
    return connectTo(world, { kind: 'stdio', input, output });
  };

  test('is served until its input ends, on no port', async () => {
    const connect = await start();
    expect(connect.port).toBeUndefined();
    input.write(`${callOf(1)}\n`);
    await expect.poll(() => String(output.read() ?? '')).toContain('"result"');
    input.end();
    await connect.done;
  });

  test('that is closed by us is done', async () => {
    const connect = await start();
    await connect.close();
    await connect.done;
    expect(input.destroyed).toBe(true);
  });

  test('whose identity is revoked ends with what revoked it', async () => {
    const connect = await start();
    world.revocations.publish(revoked('id', TRIAGE));
    const done = expect(connect.done).rejects.toThrow(refusal('revoked_peer', /revo/));
    input.end();
    await done;
  });
});

describe('a listener', () => {
  const post = (port: number | undefined, body: string) =>
    fetch(`http://127.0.0.1:${port}/mcp`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body,
    });

  test('serves until it is closed', async () => {
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const answer = await post(connect.port, callOf(1));
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('"result"')]);
    await connect.close();
    await connect.done;
    await expect(post(connect.port, callOf(2))).rejects.toThrow();
  });

  test('that is closed ends what is open', async () => {
    server.say = () => {};
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const waiting = post(connect.port, callOf(1)).then(
      (answer) => answer.text(),
      () => 'cut',
    );
    await expect.poll(() => server.seen.length).toBe(1);
    await connect.close();
    expect(await waiting).toMatch(/cut|error/);
  });

  test.each([
    ['the largest by default', undefined, 413, 16 * 1024 * 1024 + 1],
    ['the largest that is set', 1_000, 413, 1_001],
  ])('takes no message of more than %s', async (_name, maxRequestBytes, status, bytes) => {
    const connect = await connectTo(
      world,
      { kind: 'tcp', port: 0 },
      maxRequestBytes === undefined ? {} : { maxRequestBytes },
    );
    expect((await post(connect.port, ' '.repeat(bytes))).status).toBe(status);
    await connect.close();
  });
});
