import { expect, test } from 'vitest';
import { OpenRequests } from './open-requests.ts';

test('of the requests that nobody waits for, the newest 1,000 are remembered', () => {
  const requests = new OpenRequests();
  for (let id = 0; id <= 1_000; id += 1) requests.leave(id);
  expect([0, 1, 1_000].map((id) => requests.isOwed(id))).toEqual([false, true, true]);
});
