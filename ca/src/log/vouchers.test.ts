import { join } from 'node:path';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { vouchedRoots } from '@chancery/shared/voucher/voucher.ts';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { makeAuthorities, publishRoot } from '../../../test/kit/ca/authority.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { newLogKey } from '../../../test/kit/voucher.ts';
import { logFiles } from './log-files.ts';
import { Sequencer } from './sequencer.ts';
import { Vouchers } from './vouchers.ts';

let folder: string;
beforeEach(() => {
  folder = makeFolder();
});
afterEach(() => removeFolder(folder));

test('a root that was published has a proof once the log has it, also when it was removed', async () => {
  const made = await makeAuthorities();
  const { store, trustDomain } = made;
  const log = newLogKey(trustDomain);
  const files = logFiles(join(folder, 'log'));
  const logged = { store, files, log: silentLog };
  const key = { verifier: log.verifier, privateKey: log.privateKey };
  const sequencer = new Sequencer({ ...logged, key, clock: made.clock });
  const vouchers = new Vouchers({ ...logged, verifier: log.verifier });
  const old = (await store.authorities()).find(({ kind }) => kind === 'root');
  if (old === undefined) throw new Error('no root');
  const roots = async () =>
    vouchedRoots([old.certificate], await vouchers.list(), { trustDomain, key: log.verifier }).map((der) =>
      Buffer.from(der).toString('hex'),
    );
  await sequencer.step();
  expect(vouchers.logKey).toBe(log.text);
  expect(await vouchers.list()).toEqual([]);

  const root = await publishRoot(made);
  expect(await roots()).toEqual([]);
  await sequencer.step();
  const found = [Buffer.from(root.certificate).toString('hex')];
  expect(await roots()).toEqual(found);
  const moves = [{ serial: root.serial, from: 'published', to: 'removed' }] as const;
  await store.moveAuthorities(moves, { type: 'authority.moved', moves });
  await sequencer.step();
  expect(await roots()).toEqual(found);
  expect(await new Vouchers({ ...logged, verifier: log.verifier }).list()).toHaveLength(1);

  // The stolen key may have vouched for a root of the thief.
  const draft = { target: { kind: 'authority', value: '00'.repeat(32) }, reason: 'keyCompromise' } as const;
  const about = { type: 'authority.tainted', serial: old.serial, kind: 'root', moves: [] } as const;
  await store.taintAuthority(
    { authority: old.serial, moves: [], draft: { ...draft, by: 'uid 0', until: undefined } },
    { ...about, reason: 'stolen', by: 'uid 0' },
  );
  expect(await vouchers.list()).toEqual([]);
});

test('I258 however many ask at once, a proof is made once, and again where it could not be made', async () => {
  const made = await makeAuthorities();
  const { store, trustDomain } = made;
  const { verifier, privateKey } = newLogKey(trustDomain);
  const files = logFiles(join(folder, 'log'));
  const logged = { store, files, log: silentLog };
  await publishRoot(made);
  await new Sequencer({ ...logged, key: { verifier, privateKey }, clock: made.clock }).step();
  const read = vi.fn<(path: string) => Promise<Uint8Array | undefined>>(async () => undefined);
  const vouchers = new Vouchers({ ...logged, files: { read }, verifier });
  const ask = () => Promise.all(Array.from({ length: 50 }, () => vouchers.list()));
  expect(await ask()).toEqual(Array(50).fill([]));
  expect(read).toHaveBeenCalledTimes(1);
  read.mockImplementation((path) => files.read(path));
  expect((await ask()).map(({ length }) => length)).toEqual(Array(50).fill(1));
  const checkpoints = read.mock.calls.filter(([path]) => path === 'checkpoint');
  expect(checkpoints).toHaveLength(2);
});

test('of many rotations only the newest 32 publications are looked for', async () => {
  const { store, trustDomain } = await makeAuthorities();
  const [some] = await store.authorities();
  if (some === undefined) throw new Error('no authority');
  const indexOf = vi.fn<(publication: number) => Promise<undefined>>(async () => undefined);
  const authorities = async () => Array.from({ length: 40 }, (_, n) => ({ ...some, publication: n + 1 }));
  const { verifier } = newLogKey(trustDomain);
  const files = logFiles(join(folder, 'log'));
  const asked = { authorities, indexOf, events: async () => [] };
  expect(await new Vouchers({ store: asked, files, verifier, log: silentLog }).list()).toEqual([]);
  expect(indexOf.mock.calls.map(([publication]) => publication)).toEqual(
    Array.from({ length: 32 }, (_, n) => 40 - n),
  );
});
