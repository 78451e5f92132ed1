import { expect, test } from 'vitest';
import type { KnownGood } from './last-known-good.ts';
import { StateFile } from './state-file.ts';

/** Writes are named, begun and ended by the test. */
function fileOf() {
  const writes: { name: string; end: (error?: Error) => void }[] = [];
  const write = ({ logKey = '' }: KnownGood): Promise<void> =>
    new Promise((resolve, reject) => {
      writes.push({ name: logKey, end: (error) => (error === undefined ? resolve() : reject(error)) });
    });
  const file = new StateFile('unused', write);
  const save = (logKey: string) => file.save({ logKey } as KnownGood);
  return { file, save, writes, names: () => writes.map(({ name }) => name) };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('of those that come during one write the newest alone is written, after it, and all of them are told', async () => {
  const { save, writes, names } = fileOf();
  const told: string[] = [];
  for (const name of ['one', 'two', 'three']) void save(name).then(() => told.push(name));
  expect(names()).toEqual(['one']);
  writes[0]?.end();
  await turn();
  expect([names(), told]).toEqual([['one', 'three'], ['one']]);
  writes[1]?.end();
  await turn();
  expect(told).toEqual(['one', 'two', 'three']);
});

test('one that fails is said to those that waited for it, and the next is written', async () => {
  const { save, writes } = fileOf();
  const one = save('one');
  const two = save('two');
  writes[0]?.end(new Error('the disk is full'));
  await expect(one).rejects.toThrow('the disk is full');
  writes[1]?.end();
  await expect(two).resolves.toBeUndefined();
});

test('idle waits for what is written and for what waits', async () => {
  const { file, save, writes } = fileOf();
  await file.idle();
  let isIdle = false;
  void save('one');
  void save('two');
  void file.idle().then(() => {
    isIdle = true;
  });
  writes[0]?.end();
  await turn();
  expect(isIdle).toBe(false);
  writes[1]?.end();
  await turn();
  expect(isIdle).toBe(true);
});
