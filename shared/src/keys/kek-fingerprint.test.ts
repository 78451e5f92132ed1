/** Names of key-encryption keys. */
import { hash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { createKek, readKek } from './kek.ts';
import { KEK_FINGERPRINT, kekFingerprint, kekFingerprints } from './kek-fingerprint.ts';

let dir: string;
let path: string;
beforeEach(() => {
  dir = makeFolder();
  path = join(dir, 'kek');
});
afterEach(() => removeFolder(dir));

const PASSPHRASE = 'correct horse battery staple';
function phrase(text = PASSPHRASE): string {
  const file = join(dir, 'phrase');
  fs.writeFileSync(file, `${text}\n`, { mode: 0o600 });
  return file;
}

test('a key has one of its own, which is no digest of the key alone', () => {
  createKek(path);
  createKek(join(dir, 'other'));
  expect(kekFingerprint(path)).toMatch(KEK_FINGERPRINT);
  expect(kekFingerprint(path)).toBe(kekFingerprint(path));
  expect(kekFingerprint(path)).not.toBe(kekFingerprint(join(dir, 'other')));
  expect(hash('sha256', readKek(path), 'hex')).not.toContain(kekFingerprint(path).slice(7));
});

test('I261 of one by a passphrase it says the salt: it is the same where the passphrase is another or away', () => {
  const file = phrase();
  createKek(path, file);
  const before = kekFingerprint(path);
  expect(before).toMatch(/^scrypt-/);
  phrase('another one, as long as the first');
  expect(kekFingerprint(path)).toBe(before);
  fs.rmSync(file);
  expect(kekFingerprint(path)).toBe(before);
});

test('the same passphrase with another salt is another key', () => {
  createKek(path, phrase());
  createKek(join(dir, 'again'), phrase());
  expect(kekFingerprint(join(dir, 'again'))).not.toBe(kekFingerprint(path));
});

test('at a path are the key in force, the next and the one before', () => {
  expect(kekFingerprints(path)).toEqual([]);
  for (const each of ['kek', 'kek.before', 'kek.next']) createKek(join(dir, each));
  expect(kekFingerprints(path)).toEqual(
    ['kek', 'kek.next', 'kek.before'].map((each) => kekFingerprint(join(dir, each))),
  );
});
