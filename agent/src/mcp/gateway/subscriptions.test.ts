import { expect, test } from 'vitest';
import { STRANGER, TRIAGE } from '../../../../test/kit/mcp/world/world.ts';
import { Subscriptions } from './subscriptions.ts';

test('each caller has places of its own, and gets back what it gives back, once', () => {
  const subscriptions = new Subscriptions();
  const all = subscriptions.left(TRIAGE);
  const [first, second] = [subscriptions.take(TRIAGE, 3), subscriptions.take(TRIAGE, 2)];
  expect([subscriptions.left(TRIAGE), subscriptions.left(STRANGER)]).toEqual([all - 5, all]);
  first();
  first();
  expect(subscriptions.left(TRIAGE)).toBe(all - 2);
  second();
  expect(subscriptions.left(TRIAGE)).toBe(all);
});
