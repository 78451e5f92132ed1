/** What a restore refuses before it reads the files of the backup. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createKek } from '@chancery/shared/keys/kek.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { restore } from './restore.ts';

let folder: string;
beforeEach(() => {
  folder = makeFolder();
});
afterEach(() => removeFolder(folder));

const order = (days: number, isOldAgreed: boolean) => ({
  backup: folder,
  settings: {
    dataDir: join(folder, 'data'),
    trustDomain: 'prod.example' as never,
    keyEncryptionKey: join(folder, 'kek'),
    passphrase: undefined,
    audit: { checkpointCopies: undefined, copyEvery: 3600, keep: undefined },
  },
  log: undefined,
  reason: undefined,
  by: 'the test',
  now: after(days * 86_400),
  isOldAgreed,
  dryRun: true,
  onProgress: () => {},
});

const OLD = /is of 2026-06-01T12:00:00\.000Z, which is 367 days ago by the clock.*give --yes/;
test.each<[number, boolean, RegExp]>([
  [367, false, OLD],
  [367, true, /^(?!.*days ago)/],
  [366, false, /^(?!.*days ago)/],
])(
  'a backup of %s days ago is restored with the word of an operator alone (%s)',
  async (days, agreed, says) => {
    const about = { trustDomain: 'prod.example', madeAt: NOW.toISOString() };
    const files = [{ name: 'ca.db', bytes: 1, sha256: 'ab'.repeat(32) }];
    const more = { format: 1, schema: 1, newestEvent: 1, checkpoint: null };
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...about, files, ...more }), {
      mode: 0o600,
    });
    await expect(restore(order(days, agreed))).rejects.toThrow(refusal('backup', says));
  },
);

const NAMED = `random-${'00'.repeat(16)}`;
const key = { name: 'keys/ab.key', bytes: 1, sha256: 'ab'.repeat(32) };
const another =
  /kek is another key-encryption key, random-[0-9a-f]{32}, than that of the backup, random-0+: bring/;
test.each<[string, object, RegExp]>([
  ['is said before its files are read', { files: [key], kek: NAMED }, another],
  ['is no matter if the keys open all the same', { files: [], kek: NAMED }, /is not a folder of a backup/],
  ['is not known of a backup of before', { files: [key] }, /is not a folder of a backup/],
])('that the key-encryption key is another one %s', async (_, manifest, says) => {
  createKek(join(folder, 'kek'));
  const about = { trustDomain: 'prod.example', madeAt: NOW.toISOString() };
  const more = { format: 1, schema: 1, newestEvent: 1, checkpoint: null };
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...about, ...more, ...manifest }), {
    mode: 0o600,
  });
  await expect(restore(order(0, false))).rejects.toThrow(refusal('backup', says));
});
