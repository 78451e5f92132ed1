import { afterEach, expect, test, vi } from 'vitest';
import { boundedProvider } from './bounded-provider.ts';

const key = { accessKeyId: 'AKIA', secretAccessKey: 'secret' };
const never = () => new Promise<never>(() => {});
afterEach(() => vi.restoreAllMocks());

test('what works is made once and asked each time', async () => {
  const ask = vi.fn(async () => key);
  const make = vi.fn(async () => ask);
  const credentials = boundedProvider(make);
  expect(await credentials()).toBe(key);
  expect(await credentials(new AbortController().signal)).toBe(key);
  expect(make).toHaveBeenCalledTimes(1);
  expect(ask).toHaveBeenCalledTimes(2);
});

test.each([
  { name: 'cannot be loaded', make: async () => Promise.reject(new Error('first')) },
  { name: 'fails', make: async () => () => Promise.reject(new Error('first')) },
])('what $name is made anew', async ({ make }) => {
  const makes = [make, async () => async () => key];
  const credentials = boundedProvider(() => (makes.shift() ?? make)());
  await expect(credentials()).rejects.toThrow('first');
  expect(await credentials()).toBe(key);
});

test('what never answers ends with the signal, and is made anew', async () => {
  const makes = [async () => never, async () => async () => key];
  const credentials = boundedProvider(() => (makes.shift() ?? (async () => never))());
  const stop = new AbortController();
  const waiting = credentials(stop.signal);
  stop.abort(new Error('stopping'));
  await expect(waiting).rejects.toThrow('stopping');
  await expect(credentials(stop.signal)).rejects.toThrow('stopping');
  expect(await credentials()).toBe(key);
});

test('nothing is asked for a caller that has stopped waiting', async () => {
  const loaded = Promise.withResolvers<typeof ask>();
  const ask = vi.fn(async () => key);
  const stop = new AbortController();
  const waiting = boundedProvider(() => loaded.promise)(stop.signal);
  stop.abort(new Error('stopping'));
  await expect(waiting).rejects.toThrow('stopping');
  loaded.resolve(ask);
  await loaded.promise;
  await new Promise((resolve) => setImmediate(resolve));
  expect(ask).not.toHaveBeenCalled();
});

test('or after ten seconds', async () => {
  const limit = new AbortController();
  const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(limit.signal);
  const waiting = boundedProvider(async () => never)();
  limit.abort(new Error('ten seconds'));
  await expect(waiting).rejects.toThrow('ten seconds');
  expect(timeout).toHaveBeenCalledWith(10_000);
});
