import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { SlowAddresses } from '@chancery/shared/door/slow-addresses.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import { Callers } from '@chancery/shared/rpc/callers.ts';
import type { Listener } from '@chancery/shared/rpc/listener.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { after, type Made, makeAuthority, makeLeaf, NOW } from '../../../test/kit/certificates.ts';
import { openDoor } from '../../../test/kit/flood/doors.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import type { Caller, TlsCaller } from './caller.ts';
import { listenLocally, listenTls } from './listen.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));
const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close();
});
function kept<T extends Listener>(listener: T): T {
  open.push(listener);
  return listener;
}

/** Listens with these, and tells of each connection by its caller. */
function arrivals() {
  const callers = new Callers<Caller>();
  const waiting: ((socket: net.Socket) => void)[] = [];
  const inject = (socket: net.Socket): void => waiting.shift()?.(socket);
  const next = async (): Promise<{ socket: net.Socket; caller: Caller }> => {
    const socket = await new Promise<net.Socket>((resolve) => waiting.push(resolve));
    return { socket, caller: callers.of(`${socket.remoteAddress}:${socket.remotePort}`) };
  };
  const clock = new ManualClock(NOW);
  return { callers, next, clock, deps: { callers, inject, log: silentLog, clock } };
}

describe('a unix socket', () => {
  const path = join(folder, 'some.sock');

  test.each([
    ['admin', 0o600],
    ['join', 0o666],
  ] as const)(
    'for %s has its mode, its caller is whom the kernel names, and it is forgotten with its connection',
    async (via, mode) => {
      const { callers, next, deps } = arrivals();
      kept(await listenLocally({ path, via, connections: openDoor() }, deps));
      expect(fs.statSync(path).mode & 0o777).toBe(mode);
      const arrival = next();
      const client = net.connect(path);
      const { socket, caller } = await arrival;
      const uid = process.getuid?.();
      expect(caller).toMatchObject({
        via,
        address: `pid ${process.pid} uid ${uid}`,
        peer: { pid: process.pid, uid },
      });
      client.destroy();
      socket.destroy();
      await once(socket, 'close');
      expect(callers.size).toBe(0);
    },
  );

  test('replaces one that a dead CA left', async () => {
    const { deps } = arrivals();
    const dead = net.createServer().listen(path);
    await once(dead, 'listening');
    fs.linkSync(path, `${path}.left`);
    dead.close();
    await once(dead, 'close');
    fs.renameSync(`${path}.left`, path);
    kept(await listenLocally({ path, via: 'admin', connections: openDoor() }, deps));
    expect(fs.statSync(path).isSocket()).toBe(true);
  });

  test('does not replace one that another CA serves', async () => {
    const { deps } = arrivals();
    const options = { path, via: 'admin', connections: openDoor() } as const;
    kept(await listenLocally(options, deps));
    await expect(listenLocally(options, deps)).rejects.toThrow(
      refusal('unavailable', /^another process \(pid \d+\) serves .*: one CA uses a dataDir at a time$/),
    );
  });

  test('is refused where there is no folder for it', async () => {
    await expect(
      listenLocally(
        { path: join(folder, 'none', 'a.sock'), via: 'join', connections: openDoor() },
        arrivals().deps,
      ),
    ).rejects.toThrow(refusal('unavailable', /^cannot listen on .*none\/a\.sock: /));
  });
});

/** OpenSSL, in the handshake, knows the real time only. */
const LONG = { notBefore: new Date('2020-01-01T00:00:00Z'), notAfter: new Date('2120-01-01T00:00:00Z') };
const id = parseSpiffeId('spiffe://prod.example/web');
const [root, other] = ['Root', 'Other'].map((name) => makeAuthority(name, undefined, { fields: LONG })) as [
  Made,
  Made,
];

function bundleOf(sequence: bigint, ...authorities: readonly Made[]): Bundle {
  return {
    trustDomain: parseTrustDomain('prod.example'),
    authorities: authorities.map(({ certificate }) => certificate.der),
    sequence,
  };
}
function svidOf(issuer: Made): Svid {
  const { key, certificate } = makeLeaf(id, issuer, { fields: LONG });
  return { id, key, chain: [certificate.der], renewAfter: LONG.notAfter, ...LONG };
}

/** OpenSSL sends its own root along, which is no intermediate of anybody's. */
const foreign = refusal('chain', /^a certificate has no authority key identifier$/);

describe('a TLS port', () => {
  let node = 'n1';
  /** Until when the store is silent, and how often it was asked. */
  let [asked, looks] = [Promise.resolve(), 0];
  const findPerson = () => async () => Promise.reject(new Error('nobody signs in here'));
  const isTainted = () => false;
  const nodeOf = async () => {
    looks += 1;
    await asked;
    return node;
  };

  async function listening(connections = openDoor()) {
    const around = arrivals();
    const slow = new SlowAddresses(around.clock);
    const bundle = new LiveValue<Bundle>(() => new Error('none'), bundleOf(1n, root));
    const svid = new LiveValue<Svid>(() => new Error('none'), svidOf(root));
    const listener = kept(
      await listenTls(
        { host: '127.0.0.1', port: 0, connections, slow, svid, bundle, nodeOf, isTainted, findPerson },
        around.deps,
      ),
    );
    const dial = async (own: Svid | undefined, options: tls.ConnectionOptions = {}) => {
      const arrival = around.next();
      const client = tls.connect({
        ...clientTls(own, bundleOf(1n, root, other)),
        ...{
          host: '127.0.0.1',
          port: listener.port,
          ALPNProtocols: ['h2'],
          checkServerIdentity: () => undefined,
        },
        ...options,
      });
      client.on('error', () => {});
      open.push({ close: () => client.destroy() });
      const { socket, caller } = await arrival;
      open.push({ close: () => socket.destroy() });
      return { client, socket, caller: caller as TlsCaller };
    };
    return { ...around, listener, bundle, svid, slow, dial };
  }

  test('takes a caller without a certificate for nobody', async () => {
    const { dial } = await listening();
    const { caller } = await dial(undefined);
    expect(caller).toMatchObject({ via: 'tls', address: '127.0.0.1', shownCertificate: false });
    expect(() => caller.svid(NOW)).toThrow(refusal('no_peer', /^the peer showed no certificate$/));
  });

  test('knows a caller by its certificate, until that ends', async () => {
    const { dial } = await listening();
    const { caller } = await dial(svidOf(root));
    expect(caller.shownCertificate).toBe(true);
    expect(caller.svid(NOW)).toMatchObject({ id });
    expect(caller.svid(LONG.notAfter)).toMatchObject({ id });
    expect(() => caller.svid(new Date(LONG.notAfter.getTime() + 1))).toThrow(
      refusal('expired_peer', /^spiffe:\/\/prod.example\/web expired 2120-01-01/),
    );
  });

  test('lets strangers in to be refused call by call', async () => {
    const { dial } = await listening();
    const { caller } = await dial(svidOf(other));
    expect(() => caller.svid(NOW)).toThrow(foreign);
  });

  test('looks again when the bundle changes, on connections that are open', async () => {
    const { dial, bundle } = await listening();
    const [one, two] = [(await dial(svidOf(root))).caller, (await dial(svidOf(other))).caller];
    expect(one.svid(NOW)).toMatchObject({ id });
    expect(() => two.svid(NOW)).toThrow(foreign);
    bundle.publish(bundleOf(2n, other));
    expect(() => one.svid(NOW)).toThrow(foreign);
    expect(two.svid(NOW)).toMatchObject({ id });
  });

  test('shows its new certificate to the next caller, and keeps the old connection', async () => {
    const { dial, svid } = await listening();
    const first = await dial(undefined);
    svid.publish(svidOf(other));
    const second = await dial(undefined);
    const serial = ({ client }: typeof first) => client.getPeerCertificate().serialNumber;
    expect(serial(second)).not.toBe(serial(first));
    for (const { client, caller } of [first, second])
      expect(Buffer.from(caller.sees?.() ?? [])).toEqual(client.getPeerCertificate().raw);
    expect(first.socket.destroyed).toBe(false);
  });

  test('closes what does not speak HTTP/2', async () => {
    const { listener, callers } = await listening();
    const client = tls.connect({
      ...clientTls(undefined, bundleOf(1n, root)),
      host: '127.0.0.1',
      port: listener.port,
      checkServerIdentity: () => undefined,
    });
    client.on('error', () => {});
    await once(client, 'close');
    expect(callers.size).toBe(0);
  });

  test('I46 many connections of one node do not keep out another node of the same SPIFFE ID', async () => {
    const { dial } = await listening(openDoor({ certified: 3 }));
    node = 'n1';
    for (let n = 0; n < 3; n += 1) await dial(svidOf(root));
    node = 'n2';
    expect((await dial(svidOf(root))).caller).toMatchObject({ via: 'tls', shownCertificate: true });
  });

  const serialOf = ({ chain: [leaf] }: Svid): string =>
    hex(parseCertificate(leaf ?? new Uint8Array()).serial);

  test.each<[string, (own: Svid) => string, boolean]>([
    ['a stranger, at its address', () => '127.0.0.1', false],
    ['a certified peer, under its certificate', (own) => `certificate ${serialOf(own)}`, true],
  ])('I74 %s, waits after somebody was sent away', async (_, key, isCertified) => {
    const { dial, slow, clock, callers } = await listening();
    const own = svidOf(root);
    slow.add({ address: key(own) });
    const late = dial(isCertified ? own : undefined);
    await vi.waitFor(() => expect(clock.sleeping).toBe(1));
    expect(callers.size).toBe(0);
    clock.advanceTo(after(1));
    await late;
    expect(callers.size).toBe(1);
  });

  test('I74 a certified peer does not wait for what a stranger at its address did', async () => {
    const { dial, slow } = await listening();
    slow.add({ address: '127.0.0.1' });
    expect((await dial(svidOf(root))).caller.shownCertificate).toBe(true);
  });

  test('I84 a good certificate does not give way to strangers while the CA looks its record up', async () => {
    const { dial, listener } = await listening(openDoor({ strangers: 1, perStranger: 1 }));
    const { promise, resolve: found } = Promise.withResolvers<void>();
    [asked, looks] = [promise, 0];
    const good = dial(svidOf(root));
    await vi.waitFor(() => expect(looks).toBe(1));
    const stranger = net.connect(listener.port, '127.0.0.1').on('error', () => {});
    stranger.write('x');
    await once(stranger, 'close');
    found();
    expect((await good).caller.shownCertificate).toBe(true);
  });

  test('is refused where the address is taken', async () => {
    const { listener, bundle, svid, deps } = await listening();
    const slow = new SlowAddresses(deps.clock);
    const again = listenTls(
      {
        host: '127.0.0.1',
        port: listener.port,
        connections: openDoor(),
        slow,
        svid,
        bundle,
        nodeOf,
        isTainted,
        findPerson,
      },
      deps,
    );
    await expect(again).rejects.toThrow(
      refusal('unavailable', /^cannot listen on 127\.0\.0\.1:\d+: another process has this address/),
    );
  });
});
