import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { readConfigFile } from './config-file.ts';

const dir = mkdtempSync(join(tmpdir(), 'chy-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = join(dir, 'ca.yaml');
beforeEach(() => {
  rmSync(file, { recursive: true, force: true });
  writeFileSync(file, 'a: 1\n');
  chmodSync(file, 0o644);
});
const read = () => readConfigFile(file, '; init makes one');

test.each([0o600, 0o644, 0o444, 0o664])('a config of mode %i of this user and group is read', (mode) => {
  chmodSync(file, mode);
  expect(read()).toBe('a: 1\n');
});

test('a link to one is followed', () => {
  const link = join(dir, 'link.yaml');
  symlinkSync(file, link);
  expect(readConfigFile(link, '')).toBe('a: 1\n');
});

test('one that others may write is refused', () => {
  chmodSync(file, 0o646);
  expect(read).toThrow(refusal('config', /others may write it \(mode 646\).*: chmod go-w \S+ca\.yaml$/));
});

const asRoot = geteuid?.() === 0;
if (!asRoot) console.warn('skipped: another owner and another group need root');
test.skipIf(!asRoot)('one of another user, or that another group may write, is refused', () => {
  chownSync(file, 12_345, 0);
  expect(read).toThrow(refusal('config', /belongs to uid 12345, and this is uid 0: run as uid 12345/));
  chownSync(file, 0, 12_345);
  expect(read()).toBe('a: 1\n');
  chmodSync(file, 0o664);
  expect(read).toThrow(refusal('config', /others may write it/));
});

test.skipIf(!asRoot)('I72 one that a link of another user leads to is refused, wherever the link is', () => {
  const [link, folder] = [join(dir, 'theirs.yaml'), join(dir, 'folder')];
  symlinkSync(file, link);
  lchownSync(link, 12_345, 12_345);
  expect(() => readConfigFile(link, '')).toThrow(
    refusal('config', /theirs\.yaml: the link \S+theirs\.yaml belongs to uid 12345; expected root/),
  );
  symlinkSync(dir, folder);
  lchownSync(folder, 12_345, 12_345);
  expect(() => readConfigFile(join(folder, 'ca.yaml'), '')).toThrow(refusal('config', /the link \S+folder/));
});

test('a folder, a missing file and one that is too large are refused in words', () => {
  rmSync(file);
  expect(read).toThrow(refusal('config', /ca\.yaml: no such file; init makes one$/));
  mkdirSync(file);
  expect(read).toThrow(refusal('config', /a file is expected, found a folder; name the file in it/));
  rmSync(file, { recursive: true });
  writeFileSync(file, '#'.repeat(1024 * 1024 + 1));
  expect(read).toThrow(refusal('config', /1048577 bytes, at most 1048576$/));
});
