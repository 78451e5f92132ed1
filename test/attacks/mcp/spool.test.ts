/** A gateway's records on their way to a real CA: a spool that is full, a CA that goes, records that are spoiled. */
import fs from 'node:fs';
import { join } from 'node:path';
import { type CallSpool, openCallSpool } from '@chancery/agent/spool/call-spool.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { joinAs } from '../../kit/ca/join.ts';
import { live } from '../../kit/mcp/world/world.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';
import { refusal } from '../../kit/refusal.ts';

const MIB = 1024 * 1024;
const ID = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/gateway`);
const PATIENCE = { timeout: 30_000, interval: 50 };
const identity = { kind: 'Identity', name: 'g', platform: 'unix', id: ID };
const resource = { kind: 'McpServer', name: 'everything', identity: ID, address: 'a:1' };

let dir: string;
let ca: TestCa;
let svid: Svid;
let spool: CallSpool | undefined;
let required: boolean;
let warned: string[];
beforeEach(async () => {
  dir = makeFolder();
  [required, warned] = [false, []];
  ca = await startTestCa({});
  await ca.apply(identity, resource);
  svid = await joinAs(ca);
});
afterEach(async () => {
  await spool?.close();
  await ca.close();
  removeFolder(dir);
});

const folder = () => join(dir, 'spool');
function open(reach: () => TestCa | undefined = () => ca): CallSpool {
  const target = () => (reach() ?? ca).target(reach() === undefined ? undefined : svid);
  const log = { ...silentLog, warn: (fields: object) => void warned.push(String(Object(fields).err)) };
  const about = {
    svid: live(svid),
    target,
    random: () => 0,
    clock: systemClock,
    log,
    isRequired: () => required,
  };
  spool = openCallSpool({ folder: folder(), maxBytes: MIB, servers: ['everything'], ...about });
  return spool;
}
const event = (id: number, more: object = {}) => ({
  id: `${id}`,
  stage: 'decided',
  time: new Date(),
  server: 'everything',
  allow: true,
  ...more,
});
const reported = async () =>
  (await ca.store.events(0, 100_000)).flatMap(({ event }) => (event.type === 'call.recorded' ? [event] : []));
const ids = async () => (await reported()).map(({ record }) => record.id);
const arrived = (...wanted: string[]) =>
  vi.waitFor(async () => expect(await ids()).toEqual(wanted), PATIENCE);

test('records reach the log in their order, and the spool is empty then', async () => {
  const { record, report } = open();
  record(event(1), event(2));
  record(event(3, { stage: 'answered', outcome: 'result' }));
  await arrived('1', '2', '3');
  await vi.waitFor(() =>
    expect(report()).toMatchObject({ depth: 0, oldestSeconds: 0, acknowledged: 3, lost: 0 }),
  );
  expect(await reported()).toMatchObject([{ number: 1, reporter: ID, serial: expect.any(String) }, {}, {}]);
});

test('M88 a CA that is away: records wait, and are delivered once when it is back', async () => {
  const { record, report } = open();
  record(event(1));
  await arrived('1');
  await ca.running.close();
  record(event(2));
  await vi.waitFor(() => expect(warned.length).toBeGreaterThan(1), PATIENCE);
  record(event(3));
  expect(report()).toMatchObject({ depth: 2 });
  expect(report().oldestSeconds).toBeGreaterThan(0);
  ca = await ca.restarted();
  await arrived('1', '2', '3');
});

describe('M85 a spool that is full', () => {
  const full = refusal('audit_spool', /is full: the CA has not taken \d+ records yet/);
  const long = 'x'.repeat(2_000);
  /** Their records take more than one that a full spool refuses, and less than it keeps free. */
  const ANSWERS = 50;
  const fill = (to: CallSpool): number => {
    for (let id = 1; ; id += 1)
      try {
        to.record(event(id, { reason: long }));
      } catch (error) {
        expect(error).toEqual(full);
        return id - 1;
      }
  };

  test('of a server with audit: required refuses new calls, and keeps room for the answers of old ones', async () => {
    required = true;
    const away = open(() => undefined);
    const kept = fill(away);
    const answer = { stage: 'answered', allow: undefined, outcome: 'error', detail: long };
    for (let answers = 0; answers < ANSWERS; answers += 1) away.record(event(kept - answers, answer));
    expect(() => away.record(event(kept + 1))).toThrow(full);
    expect(away.report()).toMatchObject({ lost: 0 });
    await away.close();
    open();
    await vi.waitFor(async () => expect(await ids()).toHaveLength(kept + ANSWERS), PATIENCE);
  });

  test('M107 has room for all calls of one moment, or says so before any of them is written elsewhere', async () => {
    required = true;
    const { ensureRoom, record } = open(() => undefined);
    const many = Array.from({ length: 40 }, (_, id) => event(id, { reason: long.slice(0, 700) }));
    const fits = (): boolean => {
      try {
        ensureRoom(many);
        return true;
      } catch (error) {
        expect(error).toMatchObject({ code: 'audit_spool' });
        return false;
      }
    };
    let batches = 0;
    for (; fits(); batches += 1) record(...many);
    expect(batches).toBeGreaterThan(10);
  });

  test('of another server lets calls go on, counts what is lost, and says so once there is room', async () => {
    let reach: TestCa | undefined;
    const { ensureRoom, record, report } = open(() => reach);
    for (let id = 1; report().lost < 3; id += 1) record(event(id, { reason: long }));
    ensureRoom([event(0, { reason: long })]);
    reach = ca;
    await vi.waitFor(async () => expect(report().depth).toBe(0), PATIENCE);
    record(event(0));
    await vi.waitFor(async () => expect(await ids()).toContain('0'), PATIENCE);
    const [lost] = (await reported()).filter(({ record }) => record.stage === 'lost');
    const record0 = {
      count: 3,
      server: 'everything',
      since: expect.any(String),
      detail: 'the spool was full',
    };
    expect(lost?.record).toMatchObject(record0);
  });
});

test('M86 a record that was spoiled on the disk is a record of its loss, and those after it arrive', async () => {
  const away = open(() => undefined);
  away.record(event(1), event(2), event(3));
  await away.close();
  const [name = ''] = fs.readdirSync(folder());
  const path = join(folder(), name);
  fs.writeFileSync(path, fs.readFileSync(path, 'utf8').replace('"id":"2"', '"id":"7"'));
  const { report } = open();
  await vi.waitFor(async () => expect(await reported()).toHaveLength(3), PATIENCE);
  expect((await reported()).map(({ record }) => record.stage)).toEqual(['decided', 'lost', 'decided']);
  await vi.waitFor(() => expect(report()).toMatchObject({ lost: 1 }), PATIENCE);
});

test('M86 a record that was spoiled is counted once, also where the CA was busy and it is sent again', async () => {
  const away = open(() => undefined);
  away.record(event(1), event(2), event(3));
  await away.close();
  const [name = ''] = fs.readdirSync(folder());
  const path = join(folder(), name);
  fs.writeFileSync(path, fs.readFileSync(path, 'utf8').replace('"id":"2"', '"id":"7"'));
  const busy = vi.spyOn(ca.store, 'report').mockRejectedValueOnce(new IdentityError('unavailable', 'busy'));
  const { report } = open();
  await vi.waitFor(() => expect(busy).toHaveBeenCalledTimes(1), PATIENCE);
  expect(report()).toMatchObject({ lost: 0 });
  await vi.waitFor(async () => expect(await reported()).toHaveLength(3), PATIENCE);
  await vi.waitFor(() => expect(report()).toMatchObject({ depth: 0, lost: 1 }), PATIENCE);
  expect(report()).toMatchObject({ lost: 1 });
});

test('M86 a record that the CA cannot read is not in the way of those after it', async () => {
  const { record } = open();
  record(event(1), event(2, { operator: 'root' }), event(3));
  await vi.waitFor(async () => expect(await reported()).toHaveLength(3), PATIENCE);
  expect((await reported()).map(({ record }) => record.stage)).toEqual(['decided', 'lost', 'decided']);
});

test('M89 a spool that was put back from an older copy: what it records after that arrives', async () => {
  const { record, close } = open();
  record(event(1));
  await arrived('1');
  fs.cpSync(folder(), join(dir, 'copy'), { recursive: true });
  record(event(2), event(3));
  await arrived('1', '2', '3');
  await close();
  fs.rmSync(folder(), { recursive: true });
  fs.renameSync(join(dir, 'copy'), folder());
  const again = open();
  again.record(event(4));
  await vi.waitFor(async () => expect(await ids()).toContain('4'), PATIENCE);
});

describe('I117 a real CA', () => {
  test('takes nothing of a revoked gateway, which keeps its records', async () => {
    const { record, report } = open();
    record(event(1));
    await arrived('1');
    await ca.revoke('id', ID);
    record(event(2));
    await vi.waitFor(() => expect(warned.join()).toMatch(/the peer certificate is revoked/), PATIENCE);
    expect([await ids(), report().depth]).toEqual([['1'], 1]);
  });

  test('takes nothing of a workload whose server is not registered', async () => {
    await ca.apply(identity);
    const { record } = open();
    record(event(1));
    await vi.waitFor(
      () => expect(warned.join()).toMatch(/only the gateway of a registered MCP server/),
      PATIENCE,
    );
    expect(await ids()).toEqual([]);
    await ca.apply(identity, resource);
    await arrived('1');
  });
});
