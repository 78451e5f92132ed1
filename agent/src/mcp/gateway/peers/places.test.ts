import { once } from 'node:events';
import { type AddressInfo, connect, createServer, Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import type { ConnectionSettings, Connections } from '@chancery/shared/door/connections.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterEach, expect, test } from 'vitest';
import { addressOf, placesOf } from './places.ts';

const closing: (() => void)[] = [];
let logged: string[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
  logged = [];
});

/** A gateway's places, with so many connections of one caller, each by a certificate of its own. */
async function taken(connections: Partial<ConnectionSettings>, count: number): Promise<Connections> {
  const log = { ...silentLog, debug: (_fields: object, says: string) => void logged.push(says) };
  const places = placesOf({ connections, log });
  const server = createServer();
  places.guard(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closing.push(() => server.close());
  for (let n = 0; n < count; n += 1) {
    const arrived = once(server, 'connection');
    const ours = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
    const [theirs] = (await arrived) as [Socket];
    closing.push(
      () => ours.destroy().unref(),
      () => theirs.destroy(),
    );
    places.of(theirs)?.certify({ serial: String(n), holder: 'a' });
  }
  return places;
}

test.each<[string, Partial<ConnectionSettings>, number]>([
  ['half of all, rounded up', { certified: 5 }, 3],
  ['what is set', { certified: 5, perHolder: 1 }, 1],
  ['all that there are, where that is less', { certified: 2, perHolder: 9 }, 2],
])('one SPIFFE ID has %s', async (_name, settings, most) => {
  const places = await taken(settings, 6);
  await expect.poll(() => places.open).toEqual({ strangers: 0, certified: most });
  expect(logged).toHaveLength(6 - most);
});

test.each([
  ['an IPv4 address', '192.0.2.7', '192.0.2.7'],
  ['an IPv4 address that IPv6 carries', '::ffff:192.0.2.7', '192.0.2.7'],
  ['the /48 of an IPv6 address', '2001:db8:1:2::3', '2001:db8:1::/48'],
])('a stranger is known by %s', (_name, remoteAddress, expected) => {
  const socket = Object.defineProperty(new Socket(), 'remoteAddress', { value: remoteAddress });
  expect(addressOf(socket)).toBe(expected);
});

test('a stranger that has gone, or has no address, is known by none', () => {
  expect([new Socket(), new PassThrough()].map(addressOf)).toEqual(['', '']);
});
