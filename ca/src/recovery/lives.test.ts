/** I286, I287: states of lives, none of which has heard of another, and gateways that are revoked. */
import { join } from 'node:path';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseTarget } from '@chancery/shared/revocation/revocation.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { revocationsDigest } from '@chancery/shared/voucher/state-digest.ts';
import { signState } from '@chancery/shared/voucher/state-note.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { newLogKey } from '../../../test/kit/voucher.ts';
import { openRevocations, type Revocations } from '../revocation/revocations.ts';
import { beginLife } from '../store/sqlite/file/second-life.ts';
import { openSqlite } from '../store/sqlite/sqlite.ts';
import type { Store } from '../store/store.ts';
import { Recovery } from './recovery.ts';

const trustDomain = parseTrustDomain('prod.example');
const [gateway, second, web] = ['gateway', 'second', 'web'].map((name) =>
  parseSpiffeId(`spiffe://prod.example/${name}`),
) as [ReturnType<typeof parseSpiffeId>, ReturnType<typeof parseSpiffeId>, ReturnType<typeof parseSpiffeId>];
const log = newLogKey(trustDomain);
const clock = new ManualClock(NOW);
const from = { by: gateway, id: gateway, serial: '40f0' };
type Revoked = Parameters<typeof revocationsDigest>[0][number];

const revoked = (number: number, changes: Partial<Revoked> = {}): Revoked => ({
  ...{ number: BigInt(number), kind: 'id', value: `spiffe://prod.example/gone${number}`, serials: [] },
  ...{ reason: 'keyCompromise', until: 0n, ...changes },
});

function handed(number: number, list: readonly Revoked[]) {
  const claim = { part: 'revocations', number: BigInt(number), digest: revocationsDigest(list) } as const;
  return { note: signState(claim, log.verifier, log.privateKey), list, checkpoint: '' };
}

let folder: string;
let store: Store;
let revocations: Revocations;
let recovery: Recovery;
let awaited: readonly string[];
const path = () => join(folder, 'ca.db');

async function open(): Promise<void> {
  store = await openSqlite(path(), clock);
  revocations = await openRevocations({ store, clock, trustDomain, cautious: () => clock.now() } as never);
  const authorities = { current: () => [], onChange: () => () => {} };
  recovery = await Recovery.open({
    bundle: { current: () => ({ jwtAuthorities: [] }) },
    ...{ store, revocations, clock, authorities, log: silentLog, verifier: log.verifier },
    gateways: () => new Set(awaited),
    settle: async () => {},
    longestSeconds: 3600,
  });
}

async function restore(): Promise<void> {
  await store.close();
  const about = { now: clock.now(), backupAt: clock.now(), lost: [], reason: undefined, by: 'uid 0' };
  beginLife(path(), { ...about, entries: 2, holds: true });
  await open();
}

/** Two revocations are in the backup, so its number is 2. */
beforeEach(async () => {
  folder = makeFolder();
  awaited = [gateway];
  await open();
  for (const n of [1, 2]) {
    const target = parseTarget('id', `spiffe://prod.example/gone${n}`);
    await revocations.revoke({ target, reason: 'keyCompromise', seconds: 0, by: 'uid 0' });
  }
  await restore();
});
afterEach(async () => {
  await store.close();
  removeFolder(folder);
});

const numbers = () => revocations.standing().map(({ number }) => number);
const kept = async () =>
  (await store.events(0, 1000)).flatMap(({ event }) => (event.type === 'ca.handedBack' ? [event.kept] : []));
const known = [revoked(1), revoked(2)];

test('I286 a state is asked for by what it says, whatever its number, and takes nothing back', async () => {
  // Of a life that was lost as well: it began with the same backup, and its numbers are above all of the first.
  await recovery.take(handed(900_000, known), { by: web, id: web });
  const first = handed(3, [...known, revoked(3)]);
  expect(await recovery.take({ ...first, list: [] }, from)).toBe(true);
  expect(recovery.whyHeld()).toBeDefined();
  await recovery.take(first, from);
  expect([numbers(), recovery.whyHeld()]).toEqual([[1, 2, 3], undefined]);
  await recovery.take(handed(900_001, [revoked(1)]), { by: web, id: web });
  expect(numbers()).toEqual([1, 2, 3]);
  expect(await kept()).toEqual([[], [3], [2, 3]]);
});

test('I286 after another restore, of a newer backup, what was handed back to no life is asked for', async () => {
  await restore();
  expect(await recovery.take({ ...handed(3, [...known, revoked(3)]), list: [] }, from)).toBe(true);
  await recovery.take(handed(3, [...known, revoked(3)]), from);
  await restore();
  expect(await recovery.take({ ...handed(3, [...known, revoked(3)]), list: [] }, from)).toBe(false);
  expect(await recovery.take({ ...handed(4, [...known, revoked(4)]), list: [] }, from)).toBe(true);
});

test.each([
  ['its SPIFFE ID', revoked(3, { value: gateway })],
  ['a pattern', revoked(3, { kind: 'pattern', value: 'spiffe://prod.example/*' })],
  ['its certificate', revoked(3, { kind: 'serial', value: '40f0' })],
  ['its node', revoked(3, { kind: 'node', value: 'unix/n1', serials: ['40f0'] })],
])('I287 a gateway that is revoked by %s, as another one hands back, ends no wait', async (_, by) => {
  awaited = [gateway, second];
  await recovery.take(handed(2, known), from);
  await recovery.take(handed(3, [...known, by]), { by: second, id: second, serial: '40f1' });
  for (const restart of [false, true]) {
    if (restart) await store.close();
    if (restart) await open();
    expect(recovery.whyHeld()).toMatch(/hand back: spiffe:\/\/prod\.example\/gateway/);
    expect((await store.recovery())?.holds).toBe(true);
  }
  await revocations.lift(3, 'uid 0');
  await recovery.take(handed(2, known), { ...from, serial: '40f2' });
  expect(recovery.whyHeld()).toBeUndefined();
});
