/** Certificates by the authority that signed them, and what may not happen while there are any. */
import type { Holding, HoldingsQuery, Issuance } from '@chancery/ca/store/store.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { after, NOW } from '../certificates.ts';
import { refusal } from '../refusal.ts';
import { authority, event, id, issuance } from './records.ts';
import type { Subject } from './subject.ts';

const OTHER_KEY = Buffer.alloc(32, 2);
const other = parseSpiffeId('spiffe://prod.example/other');
const [issuer, node] = [issuance.issuer, { platform: 'tpm', node: 'a' }];

/** In this order: four under one authority, one of which has expired, and one under another. */
const RECORDS: readonly Partial<Issuance>[] = [
  { serial: '01', notAfter: after(30), bundle: 4n },
  { serial: '02', notAfter: after(50), bundle: 5n },
  { serial: '03', notAfter: after(40), id: other },
  { serial: '04', notAfter: after(1) },
  { serial: '05', issuer: '40cc', notAfter: after(99) },
];

export function holdingTests(subject: Subject): void {
  const recordAll = async (): Promise<void> => {
    for (const each of RECORDS) await subject.store.record({ ...issuance, ...each }, event);
  };
  const held = async (query: Partial<HoldingsQuery> = {}): Promise<readonly Holding[]> => {
    const { list, next } = await subject.store.holdings({ issuer, now: after(2), ...query });
    expect(next).toBeUndefined();
    return list;
  };

  test('unexpired certificates under one authority are counted by holder, the last to end first', async () => {
    await recordAll();
    await subject.restart();
    expect(await held()).toEqual([
      { id, node, count: 2, until: after(50) },
      { id: other, node, count: 1, until: after(40) },
    ]);
    expect(await held({ now: after(50) })).toEqual([]);
    expect(await held({ issuer: '40dd' })).toEqual([]);
  });

  test('certificates are counted that came with an older bundle, or with one that is not known', async () => {
    await recordAll();
    expect(await held({ bundleBelow: 5n })).toEqual([
      { id: other, node, count: 1, until: after(40) },
      { id, node, count: 1, until: after(30) },
    ]);
    expect((await held({ bundleBelow: 4n })).map((each) => each.id)).toEqual([other]);
    expect((await subject.store.issuance('02'))?.bundle).toBe(5n);
  });

  test('a page has 10000 certificates, and the next page goes on behind them', async () => {
    const many = Array.from({ length: 10_001 }, (_, n) =>
      subject.store.record({ ...issuance, serial: n.toString(16).padStart(4, '0') }, event),
    );
    await Promise.all(many);
    const first = await subject.store.holdings({ issuer, now: NOW });
    expect(first.list.map(({ count }) => count)).toEqual([10_000]);
    const second = await subject.store.holdings({ issuer, now: NOW, after: first.next });
    expect(second).toEqual({ list: [{ id, node, count: 1, until: issuance.notAfter }], next: undefined });
  });

  test('an authority under which certificates are unexpired is not moved where that is a condition', async () => {
    await subject.store.saveAuthority(authority, event);
    const next = { ...authority, serial: '40dd', state: 'prepared' } as const;
    await subject.store.saveAuthority(next, event);
    await recordAll();
    await subject.store.record(
      { ...issuance, serial: '06', platform: 'self', keySha256: OTHER_KEY, notAfter: after(99) },
      event,
    );
    const moves = [{ serial: next.serial, from: 'prepared', to: 'published' }] as const;
    const move = (now: Date) =>
      subject.store.moveAuthorities(moves, event, {
        issuers: ['40dd', issuer],
        exceptPlatform: 'self',
        now,
      });
    const before = (await subject.store.events(0, 20)).length;
    expect(await move(after(49))).toBeUndefined();
    expect(await subject.store.events(0, 20)).toHaveLength(before);
    expect(await move(after(50))).toEqual({ sequence: 2n });
  });

  test('nothing is recorded under an authority that was removed, and one that retires may end its work', async () => {
    await subject.store.saveAuthority(authority, event);
    const intermediate = { ...authority, serial: '40dd', kind: 'intermediate', state: 'prepared' } as const;
    await subject.store.saveAuthority(intermediate, event);
    const record = (serial: string) =>
      subject.store.record({ ...issuance, serial, issuer: intermediate.serial }, event);
    const move = (from: 'prepared' | 'active' | 'retiring', to: 'active' | 'retiring' | 'removed') =>
      subject.store.moveAuthorities([{ serial: intermediate.serial, from, to }], event);
    await move('prepared', 'active');
    await move('active', 'retiring');
    await record('01');
    await move('retiring', 'removed');
    await expect(record('02')).rejects.toThrow(refusal('authority_unfit', /^authority 40dd was removed; /));
    expect((await subject.store.issued({ limit: 9 })).map(({ serial }) => serial)).toEqual(['01']);
  });
}
