import { expect, test } from 'vitest';
import { memoryKeys } from '../../../test/kit/ca/authority.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { homesBy } from './homes.ts';

const P256 = 'ecdsa-p256';

test('new keys are made where the config says, and old ones are found where they are', async () => {
  const named = (home: string) => {
    const keys = memoryKeys();
    return {
      ...keys,
      create: async (label: string) => ({ ...(await keys.create(label)), place: { home, reference: label } }),
    };
  };
  const [file, token] = [named('file'), named('token')];
  const both = new Map([
    ['file', file],
    ['token', token],
  ]);
  const before = homesBy(both, {
    root: { home: 'file', algorithm: P256 },
    intermediate: { home: 'file', algorithm: P256 },
    jwt: { home: 'file', algorithm: P256 },
  });
  const old = await before.root.create('aa');
  const after = homesBy(both, {
    root: { home: 'token', algorithm: P256 },
    intermediate: { home: 'file', algorithm: P256 },
    jwt: { home: 'file', algorithm: P256 },
  });
  const made = await after.root.create('bb');
  expect([old.place.home, made.place.home]).toEqual(['file', 'token']);
  for (const { place, signer } of [old, made])
    expect((await after.root.load(place)).spki).toEqual(signer.spki);
  await after.root.remove(old.place);
  expect([await after.root.has(old.place), await after.root.has(made.place)]).toEqual([false, true]);
  const only = homesBy(new Map([['file', file]]), {
    root: { home: 'file', algorithm: P256 },
    intermediate: { home: 'file', algorithm: P256 },
    jwt: { home: 'file', algorithm: P256 },
  });
  for (const use of [only.root.has, only.root.load, only.root.remove])
    await expect(use(made.place)).rejects.toThrow(
      refusal('key_wrong', /key bb is in the home token, and this CA has only file/),
    );
});
