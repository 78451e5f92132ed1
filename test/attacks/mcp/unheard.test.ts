/** A gateway whose CA is silent: what a revocation would cut off must not go on for ever. */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  callerOf,
  callOf,
  MODERN_META,
  modernHeaders,
  startPlayed,
  stopPlayed,
} from '../../kit/mcp/clients/caller.ts';
import type { FakeServer } from '../../kit/mcp/servers/server.ts';
import type { World } from '../../kit/mcp/world/world.ts';

let world: World;
let server: FakeServer;
let silent = false;
beforeEach(async () => {
  silent = false;
  const ensureHeard = (): void => {
    if (silent) throw new IdentityError('ca_unheard', 'the CA was not heard for 301 s');
  };
  ({ server, world } = await startPlayed({ ensureHeard }));
});
afterEach(() => stopPlayed(world, server));

const { post } = callerOf(() => world);
const call = (id: number) =>
  post(callOf(id, 'echo', { _meta: MODERN_META }), modernHeaders('tools/call', 'echo'));

test('I126, M24 new calls are refused and on record while the CA is silent for too long, and pass again after that', async () => {
  expect(await call(1)).toMatchObject({ status: 200 });
  silent = true;
  const refused = await call(2);
  expect(refused).toMatchObject({ status: 503 });
  expect(JSON.stringify(refused)).toMatch(/the gateway has not heard from its CA for too long/);
  expect(world.events.at(-1)).toMatchObject({ stage: 'refused', code: 'ca_unheard' });
  expect(server.seen.filter(({ json }) => json?.id === 2)).toEqual([]);
  silent = false;
  expect(await call(3)).toMatchObject({ status: 200 });
});
