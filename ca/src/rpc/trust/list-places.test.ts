/** I238: who hands back first, and what one holder can take. */
import { expect, test } from 'vitest';
import { ListPlaces } from './list-places.ts';

const settle = () => new Promise((resolve) => setImmediate(resolve));

function makePlaces(atOnce: number) {
  const places = new ListPlaces(atOnce);
  const began: string[] = [];
  const ends = new Map<string, () => void>();
  const bring = (name: string, goesFirst = false) =>
    places.run({ name, goesFirst }, () => {
      began.push(name);
      return new Promise<void>((resolve) => ends.set(name, resolve));
    });
  const end = async (name: string): Promise<void> => {
    ends.get(name)?.();
    await settle();
  };
  return { began, bring, end };
}

test('I238 one holder has one place, however often it asks', async () => {
  const { began, bring, end } = makePlaces(4);
  for (let n = 0; n < 8; n += 1) void bring('liar');
  for (const name of ['a', 'b', 'c', 'd']) void bring(name);
  await settle();
  expect(began).toEqual(['liar', 'a', 'b', 'c']);
  await end('a');
  expect(began.slice(4)).toEqual(['d']);
  await end('liar');
  expect(began.slice(5)).toEqual(['liar']);
});

test('I238 gateways go before all others that wait', async () => {
  const { began, bring, end } = makePlaces(1);
  for (const name of ['a', 'b', 'c']) void bring(name);
  void bring('gateway', true);
  await settle();
  await end('a');
  await end('gateway');
  await end('b');
  expect(began).toEqual(['a', 'gateway', 'b', 'c']);
});

test('what fails gives its place away, too', async () => {
  const places = new ListPlaces(1);
  const holder = { name: 'a', goesFirst: false };
  await expect(places.run(holder, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await places.run(holder, async () => 7)).toBe(7);
});
