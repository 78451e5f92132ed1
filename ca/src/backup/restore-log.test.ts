/** What a restore takes from a copy of the log: what it has verified, in the pass that verifies it. */
import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import promises from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { signCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { draft } from '../../../test/kit/store/records.ts';
import { tileLog } from '../../../test/kit/tlog.ts';
import { newLogKey } from '../../../test/kit/voucher.ts';
import { logEndOf } from '../store/sqlite/file/second-life.ts';
import { openSqlite } from '../store/sqlite/sqlite.ts';
import { restore } from './restore.ts';

const trustDomain = 'prod.example' as never;
const key = newLogKey(trustDomain);
let folder: string;
let backup: string;
const database = () => join(backup, 'ca.db');

/** A database with one entry that no checkpoint covers. */
beforeEach(async () => {
  folder = makeFolder();
  backup = join(folder, 'backup');
  mkdirSync(join(backup, 'keys'), { recursive: true });
  const store = await openSqlite(database(), new ManualClock(NOW));
  await store.revoke(draft, 9);
  await store.close();
});
afterEach(() => removeFolder(folder));

function describeBackup(): void {
  const sha256 = hash('sha256', readFileSync(database()), 'hex');
  const files = [{ name: 'ca.db', bytes: statSync(database()).size, sha256 }];
  const about = { format: 1, trustDomain, madeAt: NOW.toISOString(), schema: 1, newestEvent: 1 };
  writeFileSync(join(backup, 'manifest.json'), JSON.stringify({ ...about, checkpoint: null, files }), {
    mode: 0o600,
  });
}

const revocationOf = (name: string): string => {
  const target = { kind: 'id', value: `spiffe://prod.example/${name}` };
  const event = { type: 'revocation.made', number: 2, target, reason: 'keyCompromise', by: 'ada' };
  return JSON.stringify({ at: NOW.toISOString(), ...event });
};

function logOf(entries: readonly string[]): Map<string, Uint8Array> {
  const { files, root } = tileLog(entries.map((each) => Buffer.from(each)));
  const note = signCheckpoint({ size: entries.length, root }, key.verifier, key.privateKey);
  return files.set('checkpoint', Buffer.from(note));
}

function restored(read: ((path: string) => Uint8Array | undefined) | undefined, checkpointCopies?: string) {
  describeBackup();
  const audit = { checkpointCopies, copyEvery: 3600 };
  const settings = {
    ...{ dataDir: join(folder, 'data'), trustDomain },
    ...{ keyEncryptionKey: join(folder, 'kek'), passphrase: undefined, audit },
  };
  const log = read && { read: async (path: string) => read(path), key: () => key.verifier };
  return restore({
    ...{ backup, settings, log },
    ...{ reason: undefined, by: 'the test', now: NOW, isOldAgreed: false, dryRun: true },
    onProgress: () => {},
  });
}

test('I276 what is put in place of a file after it was verified is not put in', async () => {
  const { entries } = logEndOf(database());
  const honest = logOf([...entries, revocationOf('stolen')]);
  const spoilt = logOf([...entries, revocationOf('honest')]);
  const seen = new Set<string>();
  const { lost } = await restored((path) => {
    const files = seen.has(path) && path !== 'checkpoint' ? spoilt : honest;
    seen.add(path);
    return files.get(path);
  });
  expect(lost.map(({ event }) => event)).toEqual([expect.stringContaining('prod.example/stolen')]);
});

test('a log that goes on otherwise than the backup is refused, with the entry', async () => {
  const other = logOf([revocationOf('other'), revocationOf('stolen')]);
  await expect(restored((path) => other.get(path))).rejects.toThrow(
    refusal('tlog', /entry 0 of the log is another one than in the backup/),
  );
});

test('I308 where a copy of a checkpoint has more than is restored, it says that the log will not go on', async () => {
  const copies = join(folder, 'copies');
  const unreadable = /^the copies of checkpoints cannot be read, .*ENOENT/;
  expect((await restored(undefined, copies)).standstill).toMatch(unreadable);
  mkdirSync(copies);
  for (const size of [1, 2, 0]) writeFileSync(join(copies, `${size}.checkpoint`), '');
  const without = await restored(undefined, copies);
  expect(without.standstill).toMatch(
    /will not go on: the copy 2\.checkpoint in .* than the 1 of what .*\(--log\)/,
  );
  expect((await restored(undefined)).standstill).toBeUndefined();
  const log = logOf([...logEndOf(database()).entries, revocationOf('stolen')]);
  const withLog = await restored((path) => log.get(path), copies);
  expect([withLog.lost.length, withLog.standstill]).toEqual([1, undefined]);
});

test('I324 a mount for copies that does not answer is waited for some seconds, and named', async () => {
  const copies = join(folder, 'copies');
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const asked = vi.spyOn(promises, 'readdir').mockReturnValue(new Promise(() => {}));
  try {
    const restoring = restored(undefined, copies);
    await vi.waitFor(() => expect(asked).toHaveBeenCalled());
    vi.advanceTimersByTime(5_000);
    const { standstill, hangs } = await restoring;
    expect(standstill).toMatch(/cannot be read, so the audit log may not go on: .*copies does not answer$/);
    expect(hangs).toBe(true);
  } finally {
    vi.useRealTimers();
    vi.restoreAllMocks();
  }
});

test.each([0, 1])(
  'I277 a backup of %i signed entries is older than what was pruned, and is told so',
  async (size) => {
    const entries = [...logEndOf(database()).entries, ...Array<string>(65_600).fill(revocationOf('x'))];
    const log = logOf(entries);
    for (const path of log.keys()) if (/^tile\/(entries|0)\/\d\d\d$/.test(path)) log.delete(path);
    if (size > 0) {
      const note = Buffer.from(logOf(entries.slice(0, size)).get('checkpoint') ?? []).toString();
      const db = new DatabaseSync(database());
      db.prepare('INSERT INTO checkpoints VALUES (?, ?, 1, ?, 0)').run(size, '', note);
      db.close();
    }
    const says =
      /log begins with entry 65536: .* pruned.*; and the backup has \d entries: use a backup of at least/;
    await expect(restored((path) => log.get(path))).rejects.toThrow(refusal('backup', says));
  },
);
