/** Where the key of a standby root is before and after the night in which it is needed, with key files. */
import { existsSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { createKek } from '@chancery/shared/keys/kek.ts';
import { keksAt } from '@chancery/shared/keys/keks.ts';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { Authorities } from '../authority/authorities.ts';
import { KeysConfig } from '../keys/config.ts';
import type { KeyHomes } from '../keys/homes.ts';
import { openKeys } from '../keys/open-keys.ts';
import { openRotation, type Rotation } from './rotation.ts';

const BY = 'uid 0';

let dir: string;
let keys: KeyHomes;
let rpc: Rpc;
let rotation: Rotation;
beforeEach(async () => {
  dir = makeFolder();
  createKek(join(dir, 'kek'));
  const [folder, standbyFolder] = [join(dir, 'keys'), join(dir, 'standby')];
  const at = { folder, standbyFolder, keks: keksAt(join(dir, 'kek')), trustDomain: 'prod.example' };
  ({ homes: keys } = await openKeys(KeysConfig.parse({}), at));
  rpc = await makeRpc([], undefined, keys);
  rotation = openRotation({
    ...rpc,
    clock: { now: () => rpc.clock.now(), sleepUntil: async () => {} },
    own: { leave: async () => {}, settle: async () => {} },
    ensureSteady: () => {},
  });
});
afterEach(() => removeFolder(dir));

const names = (folder: string): readonly string[] =>
  existsSync(join(dir, folder)) ? readdirSync(join(dir, folder)) : [];
const standBy = async (): Promise<string> => (await rotation.standBy(BY, false)).standby?.serial ?? '';
const taint = (authority: string) => rotation.taint({ authority, reason: 'stolen', dryRun: false }, BY);
const carryAway = () => renameSync(join(dir, 'standby'), join(dir, 'elsewhere'));

test('is alone in its folder while it stands by, and beside the other keys once its root signs (I215)', async () => {
  const spare = await standBy();
  expect([names('standby'), names('keys').includes(`${spare}.key`)]).toEqual([[`${spare}.key`], false]);
  await taint(rpc.root.serial);
  expect([names('standby'), names('keys').includes(`${spare}.key`)]).toEqual([[], true]);
});

test('of the next one can be carried away at once: the root that signs goes on (I215)', async () => {
  const first = await standBy();
  await taint(rpc.root.serial);
  const second = await standBy();
  expect(names('standby')).toEqual([`${second}.key`]);
  carryAway();
  await rotation.renewIntermediate(BY, false);
  const { active } = await rotation.start(BY, false);
  expect(active.serial).toBe(first);
});

test('moves after a crash right behind the transition (I215)', async () => {
  const spare = await standBy();
  vi.spyOn(rpc.authorities, 'refresh').mockRejectedValue(new Error('killed'));
  await expect(taint(rpc.root.serial)).rejects.toThrow('killed');
  expect(names('standby')).toEqual([`${spare}.key`]);
  await Authorities.open(rpc);
  expect([names('standby'), names('keys').includes(`${spare}.key`)]).toEqual([[], true]);
});

test('goes from both folders once its root is removed', async () => {
  const spare = await standBy();
  await taint(rpc.root.serial);
  await standBy();
  await taint(spare);
  expect(names('keys')).not.toContain(`${spare}.key`);
});

test('that is nowhere is asked for by its folder', async () => {
  const spare = await standBy();
  carryAway();
  const place = { home: 'standby', reference: spare };
  const missing = refusal('key_missing', /does not have \w+\.key: bring the folder of the standby key back$/);
  for (const use of [keys.root.load, keys.standby.keep]) await expect(use(place)).rejects.toThrow(missing);
});
