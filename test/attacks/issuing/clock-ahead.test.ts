/** A CA that once ran with its clock ahead: rows I57, I79, I319 and I320. */
import { once } from 'node:events';
import { connect } from 'node:tls';
import { issue } from '@chancery/ca/authority/issue.ts';
import { openRotations } from '@chancery/ca/jwt/rotations.ts';
import { steadyClock } from '@chancery/ca/rotation/steady.ts';
import { openFirstHour } from '@chancery/ca/store/clock-warning.ts';
import { cautiousTime } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterEach, expect, test, vi } from 'vitest';
import { proven } from '../../kit/ca/authority.ts';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { joinAs } from '../../kit/ca/join.ts';
import { certifiedCaller, makeRpc } from '../../kit/ca/rpc.ts';
import { refusal } from '../../kit/refusal.ts';

let ca: TestCa;
afterEach(() => ca?.close());

const HOUR = 3600;
const ID = `spiffe://${TRUST_DOMAIN}/a`;

test.each([
  ['two hours', 2 * HOUR],
  ['three days', 72 * HOUR],
])('I57 a CA whose clock was %s ahead issues as soon as it is right', async (_, ahead) => {
  const warned: string[] = [];
  const log = { ...silentLog, warn: (_fields: object, says: string) => void warned.push(says) };
  ca = await startTestCa({}, log);
  ca.clock.move(ahead);
  ca = await ca.restarted();
  await ca.apply({ kind: 'Identity', name: 'a', platform: 'unix', id: ID });
  expect(warned).toEqual([]);
  ca.clock.move(-ahead);
  ca = await ca.restarted();
  // After three days the kit has made an intermediate before the CA looks.
  if (ahead === 2 * HOUR)
    expect(warned).toContainEqual(expect.stringMatching(/newest record is in the future/));
  expect((await joinAs(ca)).id).toBe(ID);
});

test('I319 a CA that is started 100 days ahead issues at once, and removes nothing that is old', async () => {
  ca = await startTestCa({ audit: { keep: '1d' } });
  await ca.apply({ kind: 'Identity', name: 'a', platform: 'unix', id: ID });
  await joinAs(ca);
  const before = await ca.store.issued({ limit: 99 });
  ca.clock.move(100 * 24 * HOUR);
  ca = await ca.restarted();
  const [prune, pruning] = [vi.spyOn(ca.store, 'prune'), vi.spyOn(ca.store, 'pruning')];
  expect((await joinAs(ca)).id).toBe(ID);
  ca.clock.move(61);
  await vi.waitFor(() => expect(prune).toHaveBeenCalled(), 30_000);
  const befores = () => pruning.mock.calls.flatMap(([at]) => (at === undefined ? [] : [at]));
  await vi.waitFor(() => expect(befores()).not.toEqual([]), 30_000);
  for (const at of [...befores(), ...prune.mock.calls.flat()]) expect(at <= new Date(0)).toBe(true);
  expect(await ca.store.issued({ limit: 99 })).toEqual(expect.arrayContaining([...before]));
});

/** The certificate that the CA shows on its port is valid by this clock, and health says so. */
async function isFit(): Promise<boolean> {
  const { port, httpPort } = ca.running;
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const shown = socket.getPeerX509Certificate();
  socket.destroy();
  const { status } = await fetch(`http://127.0.0.1:${httpPort}/readyz`);
  const valid = shown !== undefined && shown.validFromDate <= ca.clock.now();
  expect(status).toBe(valid ? 200 : 503);
  return valid;
}

test('I57 a CA whose clock is set back while it runs says that it is not ready, and renews its own certificate', async () => {
  ca = await startTestCa({});
  ca.clock.move(2 * HOUR);
  ca = await ca.restarted();
  expect(await isFit()).toBe(true);
  ca.clock.move(-2 * HOUR);
  expect(await isFit()).toBe(false);
  ca.clock.move(61);
  await vi.waitFor(async () => expect(await isFit()).toBe(true), 30_000);
});

test('I79 a key stays its owner’s when the clock was ahead for a minute', async () => {
  const rpc = await makeRpc();
  const key = await proven();
  const orderOf = (node: string) => ({
    id: parseSpiffeId(ID),
    platform: 'fake',
    node,
    identity: 'a',
    ttlSeconds: 60,
  });
  await issue({ ...orderOf('owner'), dnsNames: [], key }, rpc);
  const right = rpc.clock.now();
  rpc.clock.advanceTo(new Date(right.getTime() + 2 * HOUR * 1000));
  await rpc.store.prune(new Date(0));
  rpc.clock.jump(right);
  const stolen = issue({ ...orderOf('thief'), dnsNames: [], key }, rpc);
  await expect(stolen).rejects.toThrow(refusal('csr_key', /^the key belongs to another node$/));
  await issue({ ...orderOf('owner'), dnsNames: [], key }, rpc);
});

test('I320 a CA that was off for a month makes an intermediate, issues and rotates at once', async () => {
  const rpc = await makeRpc();
  rpc.clock.advanceTo(new Date(rpc.clock.now().getTime() + 30 * 24 * HOUR * 1000));
  const cautious = cautiousTime(rpc.clock, () => 0);
  await openFirstHour({ ...rpc, cautious, log: silentLog }, () => 0);
  await rpc.authorities.refresh();
  await certifiedCaller(rpc, 60);
  const own = { leave: async () => {}, settle: async () => {} };
  const rotation = openRotations({ ...rpc, own, ensureSteady: steadyClock(rpc.clock, cautious) });
  expect(await rotation.start('x', false)).toMatchObject({
    stage: 'published',
  });
});
