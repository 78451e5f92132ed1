import { expect, test } from 'vitest';
import { inSlices } from './slices.ts';

test('what is more urgent comes between the slices, and everything runs once and in order', async () => {
  const done: (number | 'urgent')[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const later = inSlices();
  for (let n = 0; n < 40; n += 1) later(() => void done.push(n));
  later(resolve);
  setImmediate(() => done.push('urgent'));
  await promise;
  expect(done.indexOf('urgent')).toBe(16);
  expect(done.filter((each) => each !== 'urgent')).toEqual(Array.from({ length: 40 }, (_, n) => n));
});

test('work may add work, and it begins again after a pause', async () => {
  const done: string[] = [];
  const later = inSlices();
  for (const round of ['first', 'second']) {
    const { promise, resolve } = Promise.withResolvers<void>();
    later(() => {
      done.push(round);
      later(() => {
        done.push(`added by the ${round}`);
        resolve();
      });
    });
    await promise;
  }
  expect(done).toEqual(['first', 'added by the first', 'second', 'added by the second']);
});
