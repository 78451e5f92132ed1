import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, expect, test } from 'vitest';
import { after, NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../../test/kit/processes.ts';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { authority, draft, event, issuance } from '../../../../../test/kit/store/records.ts';
import { openSqlite } from '../sqlite.ts';
import { lookAt } from './look.ts';
import { MIGRATIONS } from './schema.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));

test('a database from before there was one number keeps the numbers that agents know, and goes on above', async () => {
  const path = join(folder, 'old.db');
  const step = MIGRATIONS.findIndex((sql) => sql.includes('CREATE TABLE state'));
  const old = new DatabaseSync(path);
  for (const sql of MIGRATIONS.slice(0, step)) old.exec(sql);
  old.exec(`
    INSERT INTO authorities VALUES (x'40bb', 'root', x'00', 0);
    INSERT INTO registry VALUES (7, '[]', 0);
    INSERT INTO revocations VALUES (NULL, 'id', 'spiffe://prod.example/a', 'superseded', '', 0, NULL, NULL, NULL);
    INSERT INTO revocations VALUES (NULL, 'id', 'spiffe://prod.example/b', 'superseded', '', 0, NULL, '', 0);
    PRAGMA user_version = ${step}`);
  old.close();
  const store = await openSqlite(path, new ManualClock(NOW));
  expect((await store.authorities()).map(({ sequence }) => sequence)).toEqual([1n]);
  expect((await store.revocations()).sequence).toBe(3n);
  expect(await store.registry()).toMatchObject({ version: 7, sequence: 11n });
  expect((await store.revoke(draft, 9)).sequence).toBe(12n);
  expect(await store.saveRegistry({ version: 8, resources: '[]' }, event)).toEqual({ sequence: 13n });
  await store.close();
});

test('a database from before there were states has a root that signs, and the newest intermediate under it', async () => {
  const path = join(folder, 'stateless.db');
  const step = MIGRATIONS.findIndex((sql) => sql.includes('ADD COLUMN state'));
  const old = new DatabaseSync(path);
  for (const sql of MIGRATIONS.slice(0, step)) old.exec(sql);
  old.exec(`
    INSERT INTO authorities VALUES (x'40aa', 'root', x'00', 9000, 1);
    INSERT INTO authorities VALUES (x'40bb', 'intermediate', x'01', 2000, 41);
    INSERT INTO authorities VALUES (x'40cc', 'intermediate', x'02', 3000, 42);
    INSERT INTO authorities VALUES (x'40dd', 'intermediate', x'03', 1000, 40);
    UPDATE state SET sequence = 42;
    PRAGMA user_version = ${step}`);
  old.close();
  const generation = join(folder, 'stateless');
  const looked = lookAt(path, generation)?.authorities ?? [];
  expect(looked.map(({ state }) => state)).toEqual(Array(4).fill('active'));
  const places = ['40dd', '40bb', '40cc', '40aa'].map((reference) => ({ home: 'file', reference }));
  expect(looked.map(({ key }) => key)).toEqual(places);
  const store = await openSqlite(path, new ManualClock(NOW));
  const all = await store.authorities();
  expect(all.map(({ key }) => key)).toEqual(places);
  const found = all.map(({ certificate, notAfter, movedAt, key, ordinal, ...each }) => each);
  const algorithm = 'ecdsa-p256';
  expect(found).toEqual([
    { serial: '40dd', kind: 'intermediate', state: 'retiring', algorithm, sequence: 0n },
    { serial: '40bb', kind: 'intermediate', state: 'retiring', algorithm, sequence: 0n },
    { serial: '40cc', kind: 'intermediate', state: 'active', algorithm, sequence: 0n },
    { serial: '40aa', kind: 'root', state: 'active', algorithm, sequence: 1n },
  ]);
  await store.saveAuthority({ ...authority, serial: '40ee', state: 'prepared' }, event);
  const published = { serial: '40ee', from: 'prepared', to: 'published' } as const;
  expect(await store.moveAuthorities([published], event)).toEqual({ sequence: 43n });
  await store.close();
});

test('I179 a countersignature from before its giver was kept does not count', async () => {
  const path = join(folder, 'countersigned.db');
  const step = MIGRATIONS.findIndex((sql) => sql.includes('COLUMN countersigner'));
  const old = new DatabaseSync(path);
  for (const sql of MIGRATIONS.slice(0, step)) old.exec(sql);
  old.exec(`INSERT INTO requests (verb, digest, about, person, requested_by, requested_at, until, countersigned_by)
    VALUES ('lift', 'd', 'revocation 1', '${issuance.id}', 'ada', 0, ${after(60).getTime()}, 'bob');
    PRAGMA user_version = ${step}`);
  old.close();
  const store = await openSqlite(path, new ManualClock(NOW));
  expect(await store.useRequest('d', issuance.id)).toBeUndefined();
  expect(await store.requests()).toMatchObject([{ countersignedBy: undefined }]);
  await store.close();
});

test('a database from before there was an index knows its successions and key holders, and indexes its events', async () => {
  const path = join(folder, 'unindexed.db');
  const step = MIGRATIONS.findIndex((sql) => sql.includes('CREATE TABLE audit_words'));
  const old = new DatabaseSync(path);
  for (const sql of MIGRATIONS.slice(0, step)) old.exec(sql);
  const insert =
    old.prepare(`INSERT INTO certificates (serial, id, platform, node, identity, key_sha256, issuer,
    not_before, not_after, recorded_at, succeeds) VALUES (?, ?, 'tpm', 'a', 'web', ?, x'40bb', 0, ?, 0, ?)`);
  insert.run(Buffer.from('01', 'hex'), issuance.id, Buffer.alloc(32, 9), after(30).getTime(), null);
  insert.run(
    Buffer.from('02', 'hex'),
    issuance.id,
    Buffer.alloc(32, 8),
    after(60).getTime(),
    Buffer.from('01', 'hex'),
  );
  const told = { type: 'request.refused', rpc: 'Renew', code: 'csr_pop', detail: 'x', peer: 'y' };
  old.prepare('INSERT INTO audit (at, event, leaf) VALUES (1, ?, 1)').run(JSON.stringify(told));
  old.exec(`PRAGMA user_version = ${step}`);
  old.close();
  const store = await openSqlite(path, new ManualClock(NOW));
  const node = { platform: 'tpm', node: 'a' };
  expect(await store.successions(9)).toEqual([{ old: '01', next: '02', until: after(30), node }]);
  const taken = store.record({ ...issuance, serial: '03', node: 'b', keySha256: Buffer.alloc(32, 9) }, event);
  await expect(taken).rejects.toThrow(refusal('csr_key', /another node/));
  const query = { words: ['csr_pop'], text: '', decision: undefined, since: 0, until: 9e15 };
  const find = () => store.search({ ...query, place: undefined, backwards: true, limit: 9 });
  expect((await find()).found).toHaveLength(1);
  expect(await store.indexEvents(10)).toBe(false);
  expect((await find()).found).toHaveLength(1);
  await store.close();
});

test('where calls were reported before rules were words, a pruned log is indexed anew', async () => {
  const path = join(folder, 'ruleless.db');
  const step = MIGRATIONS.findIndex((sql) => sql.includes('DELETE FROM audit_words'));
  const old = new DatabaseSync(path);
  for (const sql of MIGRATIONS.slice(0, step)) old.exec(sql);
  const call = { type: 'call.recorded', reporter: issuance.id, record: { server: 's', rule: 'a' } };
  const insert = old.prepare('INSERT INTO audit (sequence, at, event, leaf) VALUES (?, 1, ?, 1)');
  for (const sequence of [256, 257]) insert.run(sequence, JSON.stringify(call));
  old.exec(`INSERT INTO audit_blocks VALUES (1, 200, 1, 1); UPDATE audit_mark SET through = 257, entries = 202;
    INSERT INTO checkpoints VALUES (202, '', 257, '', 0);
    INSERT INTO spools VALUES ('${issuance.id}', x'01', 2, 0);
    PRAGMA user_version = ${step}`);
  old.close();
  const store = await openSqlite(path, new ManualClock(NOW));
  const query = { words: ['"rule":"a"'], text: '', decision: undefined, since: 0, until: 9e15 };
  const find = async () =>
    (await store.search({ ...query, place: undefined, backwards: false, limit: 9 })).found.map(
      ({ index }) => index,
    );
  expect(await find()).toEqual([200, 201]);
  await store.indexEvents(10);
  expect(await find()).toEqual([200, 201]);
  await store.close();
});

test('a new database begins at 1', async () => {
  const store = await openSqlite(':memory:', new ManualClock(NOW));
  expect(await store.registry()).toBeUndefined();
  expect(await store.saveRegistry({ version: 1, resources: '[]' }, event)).toEqual({ sequence: 1n });
  await store.close();
});

test('I278 what was claimed to be stolen is claimed still, whatever sentence stood for it, and revokes nothing', async () => {
  const path = join(folder, 'claimed.db');
  const step = MIGRATIONS.findIndex((sql) => sql.includes('TABLE claimed_authorities'));
  const old = new DatabaseSync(path);
  for (const sql of MIGRATIONS.slice(0, step)) old.exec(sql);
  const says = 'nobody: handed back without a certificate, and not in force';
  old.exec(`
    INSERT INTO revocations VALUES (1, 'id', 'spiffe://prod.example/a', 'superseded', '', 0, NULL, NULL, NULL, 5);
    INSERT INTO revocations VALUES (2, 'id', 'spiffe://prod.example/b', 'superseded', '', 0, NULL, 'ada', 9, 6);
    INSERT INTO revocations VALUES (3, 'authority', 'ab', 'keyCompromise', 'web', 0, NULL, '${says}', 9, 8);
    UPDATE state SET sequence = 8;
    PRAGMA user_version = ${step}`);
  old.close();
  const store = await openSqlite(path, new ManualClock(NOW));
  const { list, sequence } = await store.revocations();
  // Agents have heard that number.
  expect([list.map(({ number }) => number), sequence]).toEqual([[1], 8n]);
  await store.close();
  const db = new DatabaseSync(path);
  expect(db.prepare('SELECT n, value FROM claimed_authorities').all()).toEqual([{ n: 3, value: 'ab' }]);
  expect(db.prepare('SELECT n FROM revocations ORDER BY n').all()).toEqual([{ n: 1 }, { n: 2 }]);
  db.close();
});
