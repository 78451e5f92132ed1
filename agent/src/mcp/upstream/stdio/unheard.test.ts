import { expect, test } from 'vitest';
import { Unheard } from './unheard.ts';

const says = (data: string) => ({
  kind: 'notification' as const,
  method: 'notifications/message',
  params: { data },
});

test('messages come once and in order, the newest hundred of them', () => {
  const unheard = new Unheard();
  for (let each = 0; each < 150; each += 1) unheard.hold(says(`${each}`));
  expect(unheard.take()).toEqual(Array.from({ length: 100 }, (_, each) => says(`${each + 50}`)));
  expect(unheard.take()).toEqual([]);
});

test('they are a megabyte at most', () => {
  const unheard = new Unheard();
  for (let each = 0; each < 10; each += 1) unheard.hold(says('x'.repeat(300_000)));
  unheard.hold(says('x'.repeat(2_000_000)));
  expect(unheard.take()).toHaveLength(3);
});
