/** The spool of a gateway of several servers, of which one requires a record of each call: M144. */
import { openCallSpool } from '@chancery/agent/spool/call-spool.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { live } from '../../kit/mcp/world/world.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';
import { refusal } from '../../kit/refusal.ts';

const MIB = 1024 * 1024;
let folder: string;
let required: readonly string[];
let spool: ReturnType<typeof openCallSpool>;
beforeEach(() => {
  folder = makeFolder();
  required = ['mail'];
  spool = openCallSpool({
    folder: `${folder}/spool`,
    maxBytes: MIB,
    servers: ['everything', 'mail'],
    isRequired: (server) => required.includes(server),
    svid: live({} as Svid),
    target: () => {
      throw new IdentityError('unavailable', 'the CA is away');
    },
    random: () => 0,
    clock: systemClock,
    log: silentLog,
  });
});
afterEach(async () => {
  await spool.close();
  removeFolder(folder);
});

const call = (server: string) => ({
  ...{ id: 'a', stage: 'decided', time: new Date(), server, allow: true, reason: 'x'.repeat(1_000) },
});
const fill = (server: string): number => {
  let count = 0;
  while (spool.report().lost === 0) {
    spool.record(call(server));
    count += 1;
  }
  return count - 1;
};

test('M144 what a server without it writes leaves room for one that requires a record', () => {
  const first = fill('everything');
  expect(spool.report().bytes).toBeLessThanOrEqual(MIB / 2);
  expect([spool.refuses('everything'), spool.refuses('mail')]).toEqual([undefined, undefined]);
  for (let more = 0; more < first / 2; more += 1) spool.record(call('mail'));
  // The record that says what was lost came first, with the name of its server.
  expect(spool.report()).toMatchObject({ lost: 1, depth: first + 1 + Math.ceil(first / 2) });
});

test('M144 one that requires a record is refused where the spool is full, and the other goes on', () => {
  required = ['mail', 'everything'];
  const full = refusal('audit_spool', /is full/);
  expect(() => {
    for (;;) spool.record(call('mail'));
  }).toThrow(full);
  expect(spool.refuses('mail')).toMatch(/is full/);
  required = ['mail'];
  expect(spool.refuses('everything')).toBeUndefined();
  expect(() => spool.record(call('everything'))).not.toThrow();
  expect(() => spool.record(call('mail'))).toThrow(full);
});

test('M144 where none requires a record, one may fill the spool', () => {
  required = [];
  fill('everything');
  expect(spool.report().bytes).toBeGreaterThan((MIB * 3) / 4);
});
