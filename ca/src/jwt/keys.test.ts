/** The first JWT key: made where none signs, and no other one beside it. */
import { beforeEach, expect, test, vi } from 'vitest';
import { makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { ensureJwtKey, settleJwtKey } from './keys.ts';

let rpc: Rpc;
beforeEach(async () => {
  rpc = await makeRpc();
});
const states = async () => (await rpc.store.allAuthorities()).jwtKeys.map(({ state }) => state);

test('I247 upkeep makes one that signs, and each time after that not even a key', async () => {
  const create = vi.spyOn(rpc.keys.jwt, 'create');
  for (let minute = 0; minute < 3; minute += 1) await settleJwtKey({ ...rpc });
  expect([create.mock.calls.length, await states()]).toEqual([1, ['active']]);
});

test('I247 a store that refuses it is told, by upkeep in its log, and the key does not stay', async () => {
  vi.spyOn(rpc.store, 'saveJwtKey').mockRejectedValue(new Error('the disk is full'));
  const remove = vi.spyOn(rpc.keys.jwt, 'remove');
  await expect(ensureJwtKey(rpc)).rejects.toThrow(/the disk is full/);
  expect([remove.mock.calls.length, await states()]).toEqual([1, []]);
  const error = vi.spyOn(rpc.log, 'error');
  await settleJwtKey(rpc);
  expect(error).toHaveBeenCalledWith(expect.anything(), expect.stringMatching(/could not be made yet/));
});

test('I247 of two processes that are first at once one makes it, and the other one says nothing', async () => {
  const { allAuthorities } = rpc.store;
  const [none, remove] = [await rpc.store.allAuthorities(), vi.spyOn(rpc.keys.jwt, 'remove')];
  await ensureJwtKey(rpc);
  vi.spyOn(rpc.store, 'allAuthorities').mockResolvedValueOnce(none).mockImplementation(allAuthorities);
  await ensureJwtKey(rpc);
  expect([remove.mock.calls.length, await states()]).toEqual([1, ['active']]);
});
