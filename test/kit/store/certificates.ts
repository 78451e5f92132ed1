/** Certificates on record: who has which key, and how many. */
import type { Issuance, Store, UnexpiredQuery } from '@chancery/ca/store/store.ts';
import type { Target } from '@chancery/shared/revocation/revocation.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { after, NOW } from '../certificates.ts';
import { refusal } from '../refusal.ts';
import { event, id, issuance } from './records.ts';
import type { Subject } from './subject.ts';

const elsewhere = refusal('csr_key', /^the key belongs to another node$/);

export function certificateTests(subject: Subject): void {
  listTests(subject);
  keyTests(subject);
  derivedTests(subject);
  agentTests(subject);
}

const recordIn =
  (subject: Subject) =>
  (changes: Partial<Issuance> = {}) =>
    subject.store.record({ ...issuance, ...changes }, event);

const serialsIn =
  (subject: Subject) =>
  async (query: Parameters<Store['issued']>[0]): Promise<readonly string[]> =>
    (await subject.store.issued(query)).map(({ serial }) => serial);

function listTests(subject: Subject): void {
  const [record, serials] = [recordIn(subject), serialsIn(subject)];

  test('an issuance is read as it was written, across a restart', async () => {
    const whole = { ...issuance, origin: '40cc', succeeds: '40dd' };
    await record();
    await record({ ...whole, serial: '40ee' });
    await subject.restart();
    expect(await subject.store.issuance('40aa')).toEqual({ ...issuance, recordedAt: NOW });
    expect(await subject.store.issuance('40ee')).toEqual({ ...whole, serial: '40ee', recordedAt: NOW });
    expect(await subject.store.issuance('40ab')).toBeUndefined();
    expect(await subject.store.events(0, 1)).toEqual([{ sequence: 1, at: NOW, event }]);
  });

  test('issuances are listed newest first, by SPIFFE ID where asked, and by the beginning of a serial', async () => {
    const other = parseSpiffeId('spiffe://prod.example/other');
    await record({ serial: '01' });
    await record({ serial: '03', id: other });
    await record({ serial: '0234' });
    expect(await serials({ limit: 10 })).toEqual(['0234', '03', '01']);
    expect(await serials({ limit: 1 })).toEqual(['0234']);
    expect(await serials({ limit: 10, id: other })).toEqual(['03']);
    expect((await subject.store.issuedFrom('023')).map(({ serial }) => serial)).toEqual(['0234']);
  });

  test('a serial that is there is refused with its audit entry, and its neighbours are kept', async () => {
    const writes = ['01', '01', '02'].map((serial) => record({ serial }));
    const answers = await Promise.allSettled(writes);
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(answers[1]).toMatchObject({ reason: refusal('store', /UNIQUE constraint|duplicate key/) });
    expect(await serials({ limit: 10 })).toEqual(['02', '01']);
    expect(await subject.store.events(0, 10)).toHaveLength(2);
  });

  test('issuances are pruned when they have expired, never before', async () => {
    await record({ serial: '01', notAfter: after(-1) });
    await record({ serial: '02', notAfter: NOW });
    await record({ serial: '03', notAfter: after(1) });
    expect(await subject.store.issuance('01')).toBeDefined();
    expect(await subject.store.prune(NOW)).toBe(1);
    expect(await subject.store.issuance('01')).toBeUndefined();
    expect(await serials({ limit: 10 })).toEqual(['03', '02']);
    expect(await subject.store.prune(NOW)).toBe(0);
  });

  test('a thousand are pruned at once, the first to end first', async () => {
    const serials = Array.from({ length: 1_001 }, (_, n) => (0x4000_0000 + n).toString(16));
    await Promise.all(serials.map((serial, n) => record({ serial, notAfter: after(n - 2000) })));
    expect(await subject.store.prune(NOW)).toBe(1000);
    expect(await serialsIn(subject)({ limit: 10 })).toEqual(serials.slice(-1));
    expect(await subject.store.prune(NOW)).toBe(1);
    expect(await subject.store.prune(NOW)).toBe(0);
  });
}

function keyTests(subject: Subject): void {
  const record = recordIn(subject);

  test.each<[string, Partial<Issuance>, boolean]>([
    ['another node', { node: 'b' }, true],
    ['another platform', { platform: 'unix' }, true],
    ['the same node', {}, false],
    ['another node until just now', { node: 'b', notAfter: NOW }, false],
    ['another node with another key', { node: 'b', keySha256: Buffer.alloc(32, 2) }, false],
  ])('a key that is held by %s is refused: %o %s', async (_, changes, refused) => {
    await record({ serial: '01', ...changes });
    const second = record({ serial: '02' });
    if (refused) await expect(second).rejects.toThrow(elsewhere);
    else await second;
    expect(await subject.store.events(0, 10)).toHaveLength(refused ? 1 : 2);
  });

  test('a key is held across a restart, until its certificate expires', async () => {
    await record({ serial: '01', node: 'b' });
    await subject.restart();
    await expect(record({ serial: '02' })).rejects.toThrow(elsewhere);
    subject.clock.advanceTo(after(60));
    await subject.store.prune(NOW);
    await record({ serial: '02', notAfter: after(120) });
  });

  test('a key that expired while the clock was ahead is held again when that is set back', async () => {
    await record({ serial: '01', node: 'b' });
    subject.clock.advanceTo(after(7200));
    await subject.store.prune(NOW);
    subject.clock.jump(after(1));
    await expect(record({ serial: '02' })).rejects.toThrow(elsewhere);
    await record({ serial: '03', node: 'b' });
  });

  test('a record that failed holds no key', async () => {
    await record({ serial: '01', keySha256: Buffer.alloc(32, 2) });
    await expect(record({ serial: '01', node: 'b' })).rejects.toThrow(refusal('store', /./));
    await record({ serial: '02' });
  });

  test('a record that failed takes no key from who holds it', async () => {
    await record({ serial: '01' });
    const failed = record({ serial: '01', keySha256: Buffer.alloc(32, 2) });
    await expect(failed).rejects.toThrow(refusal('store', /UNIQUE|duplicate/));
    await expect(record({ serial: '02', node: 'b' })).rejects.toThrow(elsewhere);
  });
}

function derivedTests(subject: Subject): void {
  const record = recordIn(subject);
  const derived = (n: number) => ({ serial: n.toString(16).padStart(8, '0'), origin: '40aa', node: 'g' });

  test('certificates with an origin are counted by node, across a restart, and refused ones are not', async () => {
    await record({ serial: '01', node: 'h', keySha256: Buffer.alloc(32, 2) });
    await Promise.all(Array.from({ length: 9_999 }, (_, n) => record(derived(n))));
    await expect(record(derived(0))).rejects.toThrow(refusal('store', /UNIQUE|duplicate/));
    await expect(record({ ...derived(10_000), keySha256: Buffer.alloc(32, 2) })).rejects.toThrow(elsewhere);
    await record(derived(10_000));
    await subject.restart();
    const full = refusal('rate', /^tpm\/g has 10000 valid certificates by IssueX509$/);
    await expect(record(derived(10_001))).rejects.toThrow(full);
    await record({ ...derived(10_001), node: 'h', keySha256: Buffer.alloc(32, 2) });
    subject.clock.advanceTo(after(7200));
    await subject.store.prune(NOW);
    subject.clock.jump(after(1));
    await expect(record(derived(10_001))).rejects.toThrow(full);
    subject.clock.advanceTo(after(60));
    await record({ ...derived(10_002), notAfter: after(120) });
  });
}

function agentTests(subject: Subject): void {
  const record = recordIn(subject);
  const certified = (target: Target, changes: Partial<UnexpiredQuery> = {}) =>
    subject.store.certified({ now: NOW, target, ...changes });

  test('who holds an unexpired certificate is told by target', async () => {
    await record({ serial: '01', notAfter: NOW });
    await record({ serial: '02', origin: '01' });
    const node = { platform: 'tpm', node: 'a' };
    const held = { serial: '02', origin: '01', id, identity: 'web', issuer: '40bb', node };
    for (const [kind, value] of [
      ['id', id],
      ['pattern', '*'],
      ['serial', '01'],
      ['node', 'tpm/a'],
    ] as const)
      expect(await certified({ kind, value })).toEqual({ list: [held], next: undefined });
    expect((await certified({ kind: 'id', value: `${id}2` })).list).toEqual([]);
    expect((await certified({ kind: 'id', value: id }, { now: after(60) })).list).toEqual([]);
  });

  test.each<[string, string, boolean]>([
    ['tpm', 'a', true],
    ['tpm', 'b', false],
    ['aws', 'a', false],
    ['aws+tpm', 'x+a', true],
    ['tpm+aws', 'a+x', true],
    ['aws+tpm', 'x+aa', false],
  ])('a certificate of %s/%s is asked for by its node', async (platform, node, isHit) => {
    await record({ platform, node });
    const { list } = await certified({ kind: 'node', value: 'tpm/a' });
    expect(list).toHaveLength(isHit ? 1 : 0);
  });

  test.each<[string, Target]>([
    ['a pattern', { kind: 'pattern', value: '*' }],
    ['a SPIFFE ID', { kind: 'id', value: id }],
    ['a node', { kind: 'node', value: 'tpm/a' }],
    ['an origin', { kind: 'serial', value: '40cc' }],
  ])('many certificates of %s come in pages of at most 1000, the last to end first', async (_, target) => {
    const serials = Array.from({ length: 2_300 }, (_, n) => (0x4000_0000 + n).toString(16));
    // Several end at the same moment.
    await Promise.all(
      serials.map((serial, n) =>
        record({ serial, origin: '40cc', notAfter: after(60 + Math.floor(n / 700)) }),
      ),
    );
    const found: string[] = [];
    let [page, pages] = [await certified(target), 1];
    for (; page.next !== undefined; pages += 1) {
      expect(page.list.length).toBeLessThanOrEqual(1000);
      found.push(...page.list.map(({ serial }) => serial));
      page = await certified(target, { after: page.next });
    }
    found.push(...page.list.map(({ serial }) => serial));
    expect(found).toEqual(serials.toReversed());
    expect(pages).toBe(3);
  });

  test('a succession lasts as long as the old certificate', async () => {
    await record({ serial: '01', notAfter: after(30) });
    await record({ serial: '02', succeeds: '01' });
    const node = { platform: 'tpm', node: 'a' };
    expect(await subject.store.successions(9)).toEqual([{ old: '01', next: '02', until: after(30), node }]);
    subject.clock.advanceTo(after(30));
    expect(await subject.store.successions(9)).toEqual([]);
  });

  test('of many successions the newest are read, oldest first', async () => {
    await record({ serial: '01' });
    for (const serial of ['02', '03', '04']) await record({ serial, succeeds: '01' });
    expect((await subject.store.successions(2)).map(({ next }) => next)).toEqual(['03', '04']);
  });
}
