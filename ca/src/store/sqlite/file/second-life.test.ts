import { join } from 'node:path';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../../test/kit/processes.ts';
import { refusal } from '../../../../../test/kit/refusal.ts';
import type { AuthorityRecord } from '../../store.ts';
import { openSqlite } from '../sqlite.ts';
import { beginLife } from './second-life.ts';

let folder: string;
beforeEach(() => {
  folder = makeFolder();
});
afterEach(() => removeFolder(folder));

test('I118 records that a copy of the log has are not taken again in the life after', async () => {
  const path = join(folder, 'ca.db');
  await (await openSqlite(path, new ManualClock(NOW))).close();
  const spool = { reporter: parseSpiffeId('spiffe://prod.example/gateway'), spool: 'ab'.repeat(16) };
  const record = { id: 'a', stage: 'decided', time: NOW.toISOString(), server: 's' };
  const event = (number: number) =>
    ({ type: 'call.recorded', ...spool, serial: '40aa', number, record }) as const;
  const lost = [1, 2, 3].map((number) => ({ at: NOW, event: JSON.stringify(event(number)) }));
  beginLife(path, {
    now: NOW,
    backupAt: NOW,
    lost,
    reason: undefined,
    by: 'the test',
    entries: 3,
    holds: false,
  });
  const store = await openSqlite(path, new ManualClock(NOW));
  expect(await store.reportedThrough(spool)).toMatchObject({ through: 3 });
  const more = [3, 4].map((number) => ({
    ...event(number),
    record: { ...record, stage: 'decided' as const },
  }));
  expect(await store.report(spool, 1, more)).toMatchObject({ through: 4 });
  const events = (await store.events(0, 9)).map(({ event }) => event);
  expect(events.flatMap((each) => (each.type === 'call.recorded' ? [each.number] : []))).toEqual([
    1, 2, 3, 4,
  ]);
  await store.close();
});

describe('a root that was made after the backup', () => {
  const [FIRST, SECOND] = ['40aa', '40bb'];
  const notAfter = NOW.toISOString();
  const key = { home: 'standby', reference: SECOND };
  const certified = (standby: object): AuditEvent => ({
    type: 'authority.certified',
    kind: 'root',
    serial: SECOND,
    notAfter,
    ...standby,
  });
  const standby = { standby: { ...key, algorithm: 'ecdsa-p256' } };
  const published: AuditEvent = {
    type: 'authority.moved',
    moves: [{ serial: SECOND, from: 'prepared', to: 'published' }],
    voucher: { by: 'ab', certificate: Buffer.from('second').toString('base64'), signature: '' },
  };
  const tainted: AuditEvent = {
    type: 'authority.tainted',
    kind: 'root',
    serial: FIRST,
    moves: [
      { serial: SECOND, from: 'published', to: 'active' },
      { serial: FIRST, from: 'active', to: 'removed' },
    ],
    reason: 'stolen',
    by: 'the test',
  };
  const root = {
    ...({ serial: FIRST, kind: 'root', state: 'active', algorithm: 'ecdsa-p256' } as const),
    ...{ key: { home: 'file', reference: FIRST }, certificate: Buffer.from('first'), notAfter: NOW },
  };
  /** What a CA above has certified of the first root. */
  const CHAIN = [Buffer.from('cross'), Buffer.from('above')];
  const after = (...events: readonly AuditEvent[]) => afterBackupOf([root], events);
  const afterBackupOf = async (roots: readonly AuthorityRecord[], events: readonly AuditEvent[]) => {
    const path = join(folder, 'ca.db');
    const before = await openSqlite(path, new ManualClock(NOW));
    for (const each of roots) await before.saveAuthority(each, certified({}));
    await before.saveCross({ root: FIRST, chain: CHAIN, after: 0n }, certified({}));
    await before.close();
    const lost = events.map((event) => ({ at: NOW, event: JSON.stringify(event) }));
    beginLife(path, {
      now: NOW,
      backupAt: NOW,
      lost,
      reason: undefined,
      by: 'the test',
      entries: 0,
      holds: false,
    });
    const store = await openSqlite(path, new ManualClock(NOW));
    try {
      const authorities = await store.authorities();
      const { publication = 0 } = authorities.find(({ serial }) => serial === SECOND) ?? {};
      const [voucher] = publication === 0 ? [] : await store.events(publication - 1, 1);
      return { authorities, voucher };
    } finally {
      await store.close();
    }
  };

  test('and stands by is on record again, with its key where it was carried, and its voucher', async () => {
    const { authorities, voucher } = await after(certified(standby), published);
    expect(authorities).toContainEqual(
      expect.objectContaining({
        ...{ serial: SECOND, kind: 'root', state: 'published', standby: true, key, notAfter: NOW },
        certificate: Buffer.from('second'),
      }),
    );
    expect(voucher?.event).toEqual(published);
    const [first, second] = authorities.map(({ sequence }) => sequence);
    expect(first).toBe(second);
  });

  test('and signs since the other one was tainted signs here, too', async () => {
    const { authorities } = await after(certified(standby), published, tainted);
    expect(authorities.map(({ serial, state }) => [serial, state])).toEqual([
      [FIRST, 'removed'],
      [SECOND, 'active'],
    ]);
  });

  test('and was prepared in the backup is published again, with its voucher, for agents that are behind', async () => {
    const prepared = { ...root, serial: SECOND, state: 'prepared', notAfter: new Date(0) } as const;
    const { authorities, voucher } = await afterBackupOf([root, prepared], [published]);
    expect(authorities.map(({ serial, state }) => [serial, state])).toEqual([
      [SECOND, 'published'],
      [FIRST, 'active'],
    ]);
    expect(voucher?.event).toEqual(published);
  });

  test('leaves the chain that a CA above gave to the root of the backup, with a number of the new life', async () => {
    const { authorities } = await after();
    const [root] = authorities;
    expect(root?.cross?.chain.map((der) => Buffer.from(der))).toEqual(CHAIN);
    expect(root?.sequence).toBeGreaterThan(root?.cross?.sequence ?? 0n);
  });

  const imported = {
    type: 'authority.crossCertified',
    ...{ root: SECOND, chain: [], notAfter, by: 'the test' },
  } as const satisfies AuditEvent;

  test('I251 a chain from a CA above that was imported after the backup is missed, until it is imported again', async () => {
    const second = { ...root, serial: SECOND, state: 'prepared', notAfter: new Date(0) } as const;
    const { authorities } = await afterBackupOf([root, second], [imported, { ...imported, root: FIRST }]);
    const [missed, kept] = authorities;
    expect(missed).toMatchObject({ serial: SECOND, crossLost: expect.any(BigInt) });
    expect(missed?.cross).toBeUndefined();
    expect(kept).toMatchObject({ serial: FIRST, cross: expect.anything() });
    expect(kept?.crossLost).toBeUndefined();
    const store = await openSqlite(join(folder, 'ca.db'), new ManualClock(NOW));
    const draft = { root: SECOND, chain: CHAIN, after: missed?.crossLost ?? 0n };
    expect(await store.saveCross({ ...draft, after: 0n }, imported)).toBeUndefined();
    await store.saveCross(draft, imported);
    const [back] = await store.authorities();
    expect(back?.crossLost).toBeUndefined();
    expect(back?.cross?.chain).toHaveLength(2);
    await store.close();
  });

  test('and stands by, but was not in the bundle, is known to nobody', async () => {
    const { authorities } = await after(certified(standby));
    expect(authorities.map(({ serial }) => serial)).toEqual([FIRST]);
  });

  test('what a rotation did after the backup is done again, as far as the backup has the authorities', async () => {
    const [rotated, removed] = [
      [
        ['active', 'retiring'],
        ['published', 'active'],
      ],
      [['retiring', 'removed']],
    ].map(
      (moves): AuditEvent =>
        ({
          type: 'authority.moved',
          moves: moves.map(([from, to], n) => ({ serial: [FIRST, SECOND][n], from, to })),
        }) as AuditEvent,
    ) as [AuditEvent, AuditEvent];
    const { authorities } = await after(certified(standby), published, rotated, removed);
    expect(authorities.map(({ serial, state }) => [serial, state])).toEqual([
      [FIRST, 'removed'],
      [SECOND, 'active'],
    ]);
  });

  test('and would leave no root that signs is refused: a CA without one does not start', async () => {
    await expect(after(tainted)).rejects.toThrow(refusal('store', /none of the backup: use a newer backup/));
  });

  test('and does not stand by is refused: its key is lost', async () => {
    await expect(after(certified({}), published)).rejects.toThrow(
      refusal('store', /its key is not in it: use a newer backup/),
    );
  });
});

test('I225 what a rotation of JWT keys did after the backup is done again, and a key that left stays away', async () => {
  const path = join(folder, 'ca.db');
  const before = await openSqlite(path, new ManualClock(NOW));
  const event = { type: 'jwtKey.made', serial: '40aa', algorithm: 'ecdsa-p256', keySha256: '' } as const;
  const key = { home: 'file', reference: 'x' };
  for (const [serial, state] of [
    ['40aa', 'active'],
    ['40bb', 'prepared'],
  ] as const)
    await before.saveJwtKey(
      { kind: 'jwt', serial, state, algorithm: 'ecdsa-p256', key, spki: Buffer.from(serial) },
      event,
    );
  await before.close();
  const steps = [
    [['40bb', 'prepared', 'published']],
    [
      ['40aa', 'active', 'retiring'],
      ['40bb', 'published', 'active'],
    ],
    [['40aa', 'retiring', 'removed']],
    [['40cc', 'prepared', 'published']],
  ];
  const lost = steps.map((moves) => ({
    at: NOW,
    event: JSON.stringify({
      type: 'jwtKey.moved',
      moves: moves.map(([serial, from, to]) => ({ serial, from, to })),
    }),
  }));
  const about = { now: NOW, backupAt: NOW, reason: undefined, by: 'the test', entries: 0, holds: false };
  beginLife(path, { ...about, lost });
  const store = await openSqlite(path, new ManualClock(NOW));
  const { jwtKeys } = await store.allAuthorities();
  expect(jwtKeys.map(({ serial, state }) => [serial, state])).toEqual([
    ['40aa', 'removed'],
    ['40bb', 'active'],
  ]);
  await store.close();
});
