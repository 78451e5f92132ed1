/** A CA that once ran with its clock ahead: row I57. */
import { silentLog } from '@chancery/shared/log.ts';
import { afterEach, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../kit/ca.ts';
import { joinAs } from '../kit/join.ts';

let ca: TestCa;
afterEach(() => ca.close());

const HOUR = 3600;
const ID = `spiffe://${TRUST_DOMAIN}/a`;

test.each([
  ['two hours', 2 * HOUR],
  ['three days', 72 * HOUR],
])('I57 a CA whose clock was %s ahead issues as soon as it is right', async (_, ahead) => {
  const warned: string[] = [];
  const log = { ...silentLog, warn: (_fields: object, says: string) => void warned.push(says) };
  ca = await startTestCa({}, log);
  ca.clock.move(ahead);
  ca = await ca.restarted();
  await ca.apply({ kind: 'Identity', name: 'a', platform: 'unix', id: ID });
  expect(warned).toEqual([]);
  ca.clock.move(-ahead);
  ca = await ca.restarted();
  // After three days the kit has made an intermediate before the CA looks.
  if (ahead === 2 * HOUR)
    expect(warned).toContainEqual(expect.stringMatching(/newest record is in the future/));
  expect((await joinAs(ca)).id).toBe(ID);
});
