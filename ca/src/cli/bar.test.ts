import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { waitedFor } from './bar.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a call of more than a second shows how long it has taken, and a short one nothing', async () => {
  const shown: string[] = [];
  const io = { progress: (line: string) => void shown.push(line) };
  expect(await waitedFor(io, 'reviewing', async () => 7)).toBe(7);
  expect(shown).toEqual([]);
  const { promise, resolve } = Promise.withResolvers<void>();
  const waited = waitedFor(io, 'reviewing', () => promise);
  vi.advanceTimersByTime(2_500);
  resolve();
  await waited;
  vi.advanceTimersByTime(5_000);
  expect(shown).toEqual(['reviewing: 1 s', 'reviewing: 2 s', '']);
});
