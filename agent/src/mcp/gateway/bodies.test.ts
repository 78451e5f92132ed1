import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { Bodies, bodyLimits } from './bodies.ts';

const [a, b] = ['a', 'b'].map((name) => parseSpiffeId(`spiffe://prod.example/${name}`)) as [
  ReturnType<typeof parseSpiffeId>,
  ReturnType<typeof parseSpiffeId>,
];
const MIB = 1024 * 1024;

let server: Server;
let sockets: Socket[];
beforeEach(async () => {
  sockets = [];
  server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server.closeAllConnections();
  server.close();
});

/** A request whose body has so many bytes, of which these have come; and the way to send the others. */
async function request(bytes: number, sent = bytes): Promise<{ req: IncomingMessage; rest(): void }> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => {});
  sockets.push(socket);
  const arrived = once(server, 'request');
  socket.write(`POST / HTTP/1.1\r\nhost: x\r\ncontent-length: ${bytes}\r\n\r\n${'x'.repeat(sent)}`);
  const [req] = (await arrived) as [IncomingMessage];
  return { req, rest: () => void socket.write('x'.repeat(bytes - sent)) };
}

test('a caller may hold two requests of the largest size, and two callers all', () => {
  const [small, large] = [bodyLimits(MIB), bodyLimits(100 * MIB)];
  expect(small).toEqual({ perConnection: MIB, perCaller: 64 * MIB, total: 128 * MIB });
  expect(large).toEqual({ perConnection: 100 * MIB, perCaller: 200 * MIB, total: 400 * MIB });
});

describe('a body', () => {
  const bodies = (changes = {}) => new Bodies({ perConnection: 100, perCaller: 150, total: 250, ...changes });

  test('counts until it is freed', async () => {
    const of = bodies();
    const [one, two] = [await of.hold((await request(100)).req, a, 100), await request(60)];
    expect(String(one.bytes)).toBe('x'.repeat(100));
    const says = refusal('rate', /spiffe:\/\/prod.example\/a take too many bytes$/);
    await expect(of.hold(two.req, a, 100)).rejects.toThrow(says);
    one.hold.free();
    expect((await of.hold((await request(60)).req, a, 100)).bytes).toHaveLength(60);
  });

  test('that is too large counts no more', async () => {
    const of = bodies();
    for (let n = 0; n < 3; n += 1)
      await expect(of.hold((await request(101)).req, a, 100)).rejects.toThrow(
        refusal('mcp_size', /100 bytes/),
      );
    expect((await of.hold((await request(100)).req, a, 100)).bytes).toHaveLength(100);
  });

  test('that ends early counts no more', async () => {
    const of = bodies();
    for (let n = 0; n < 3; n += 1) {
      const { req } = await request(100, 80);
      const held = of.hold(req, a, 100);
      sockets.at(-1)?.destroy();
      await expect(held).rejects.toThrow(refusal('mcp_parse', /ended early/));
    }
    expect((await of.hold((await request(100)).req, a, 100)).bytes).toHaveLength(100);
  });

  test('counts for its connection', async () => {
    const of = bodies({ perConnection: 99, perCaller: 1_000, total: 1_000 });
    await expect(of.hold((await request(100)).req, a, 100)).rejects.toThrow(
      refusal('rate', /one connection/),
    );
  });

  test('of the caller that holds most gives way: its oldest, while it comes or once it is whole', async () => {
    const of = bodies();
    const half = await request(90, 80);
    const first = of.hold(half.req, a, 100);
    first.catch(() => {});
    await expect.poll(() => half.req.readableFlowing).toBe(true);
    const second = await of.hold((await request(60)).req, a, 100);
    const other = await of.hold((await request(100)).req, b, 100);
    const [lost, kept]: IdentityError[][] = [[], []];
    second.hold.onLost((reason) => lost?.push(reason));
    other.hold.onLost((reason) => kept?.push(reason));
    await of.hold((await request(40)).req, b, 100);
    await expect(first).rejects.toThrow(refusal('rate', /gave way to another one$/));
    expect(lost).toEqual([]);
    // Now the other caller holds most.
    await of.hold((await request(90)).req, a, 100);
    expect(kept).toEqual([refusal('rate', /gave way to another one$/)]);
    const late: IdentityError[] = [];
    other.hold.onLost((reason) => late.push(reason));
    expect(late).toEqual(kept);
  });

  test('that is only read is held for nobody', async () => {
    const of = bodies();
    for (let n = 0; n < 5; n += 1) expect(await of.read((await request(100)).req, a, 100)).toHaveLength(100);
  });
});
