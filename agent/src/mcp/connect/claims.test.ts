import { EventEmitter } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, expect, test } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { type Answer, Claims, type Links } from './claims.ts';

const id = parseSpiffeId('spiffe://prod.example/tools/everything');
const HOUR = 3600;

const gatewayFrom = (from: number, to: number): VerifiedSvid =>
  ({
    id,
    serial: `${from}-${to}`,
    notAfter: after(to),
    certificate: { notBefore: after(from) },
  }) as VerifiedSvid;
const svidUntil = (seconds: number): Svid => ({ id, notAfter: after(seconds) }) as Svid;

let clock: ManualClock;
let links: Links;
let svid: LiveValue<Svid>;
/** The gateway that answers, and which secrets it confirms. */
let gateway: VerifiedSvid;
let confirms: (secret: string) => boolean;
/** When the gateway was asked, and for how many calls; how many connections of claims were left. */
let asked: { at: number; calls: number }[];
let left: number;
let hangs: boolean;
let claims: Claims;
beforeEach(() => {
  clock = new ManualClock(NOW);
  links = new Map();
  svid = new LiveValue<Svid>(() => new TypeError('none'), svidUntil(9 * HOUR));
  gateway = gatewayFrom(0, 9 * HOUR);
  confirms = () => true;
  asked = [];
  left = 0;
  hangs = false;
  claims = new Claims({
    links,
    clock,
    log: silentLog,
    closed: new AbortController().signal,
    svid,
    gateway: () => id,
    async ask(_identity, secrets, signal): Promise<Answer> {
      asked.push({ at: (clock.now().getTime() - NOW.getTime()) / 1000, calls: secrets.length });
      const leave = (): void => {
        left += 1;
      };
      if (hangs)
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      const claimed = secrets.map((secret) => confirms(Buffer.from(secret).toString()));
      return { claimed, gateway, own: svid.current(), leave };
    },
  });
});

let sockets = 0;
/** A connection with an open call, made with `own`. */
function admit(own: Svid, from: VerifiedSvid = gateway): TLSSocket {
  sockets += 1;
  const secret = Buffer.from(`secret ${sockets}`);
  const socket = Object.assign(new EventEmitter(), {
    destroyed: false,
    exportKeyingMaterial: () => secret,
    destroy: () => Object.assign(socket, { destroyed: true }),
  }) as unknown as TLSSocket;
  claims.admit(socket, { gateway: from, own }, () => {});
  return socket;
}

/** Runs the clock to this second, in steps of a tenth. */
async function until(second: number): Promise<void> {
  while (clock.now() < after(second)) {
    clock.advanceTo(addSeconds(clock.now(), 0.1));
    for (let turn = 0; turn < 30; turn += 1) await Promise.resolve();
  }
}

test('a claim is repeated more often the less time is left to its call', async () => {
  const old = svidUntil(4);
  svid.publish(old);
  const socket = admit(old);
  confirms = () => false;
  svid.publish(svidUntil(8));
  claims.claim([socket]);
  await until(3.5);
  expect(asked.length).toBeGreaterThanOrEqual(5);
  confirms = () => true;
  await until(4);
  const { length } = asked;
  expect(asked.at(-1)?.at).toBeLessThan(4);
  expect(links.get(socket)?.own.notAfter).toEqual(after(8));
  await until(7);
  expect(asked).toHaveLength(length);
});

test('a claim of a call with an hour left is repeated after 30 s at most', async () => {
  const old = svidUntil(HOUR);
  svid.publish(old);
  const socket = admit(old);
  confirms = () => false;
  svid.publish(svidUntil(2 * HOUR));
  claims.claim([socket]);
  await until(100);
  expect(asked.map(({ at }) => Math.round(at))).toEqual([1, 2, 4, 8, 16, 32, 62, 92]);
});

test('a gateway that answers with its old certificate is asked again, over another connection', async () => {
  gateway = gatewayFrom(0, 10);
  const old = gateway;
  const socket = admit(svid.current(), old);
  await until(9);
  expect(asked.length).toBeGreaterThanOrEqual(2);
  expect(left).toBe(asked.length);
  expect(links.get(socket)?.until).toEqual(old.notAfter);
  gateway = gatewayFrom(9, 19);
  await until(10);
  expect(links.get(socket)?.until).toEqual(gateway.notAfter);
  expect(left).toBe(asked.length - 1);
  expect(socket.destroyed).toBe(false);
});

test('a gateway that answers with a certificate that ends sooner takes nothing off', async () => {
  const socket = admit(svid.current(), gatewayFrom(0, 100));
  gateway = gatewayFrom(0, 50);
  claims.claim([socket]);
  await until(1);
  expect(asked).toHaveLength(1);
  expect(links.get(socket)?.until).toEqual(after(100));
});

test('a connection that was made with the certificate before is claimed, too', async () => {
  const old = svid.current();
  svid.publish(svidUntil(12 * HOUR));
  const socket = admit(old);
  await until(1);
  expect(asked).toEqual([{ at: 0.5, calls: 1 }]);
  expect(links.get(socket)?.own).toBe(svid.current());
  admit(svid.current());
  await until(3);
  expect(asked).toHaveLength(1);
});

test('a stream of new claims does not put off those that wait', async () => {
  confirms = () => false;
  const socket = admit(svid.current());
  for (let second = 0; second < 4; second += 0.2) {
    claims.claim([socket]);
    await until(second + 0.2);
  }
  expect(asked.length).toBeGreaterThanOrEqual(4);
});

test('a gateway that does not answer is asked again', async () => {
  hangs = true;
  const socket = admit(svid.current());
  claims.claim([socket]);
  await until(20);
  expect(asked.map(({ at }) => Math.round(at))).toEqual([1, 12]);
});

test('more calls than one claim may name are claimed one claim after the other', async () => {
  claims.claim(Array.from({ length: 600 }, () => admit(svid.current())));
  await until(1);
  expect(asked.map(({ calls }) => calls)).toEqual([256, 256, 88]);
});
