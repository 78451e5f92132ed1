import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeFolder } from './make-folder.ts';

const dir = fs.mkdtempSync(join(os.tmpdir(), 'make-folder-'));
afterAll(() => fs.rmSync(dir, { recursive: true }));

test('makes the missing folders, and does nothing if there are none', () => {
  const path = join(dir, 'a', 'b', 'c');
  makeFolder(path, 0o700);
  makeFolder(path, 0o755);
  expect(fs.statSync(path).mode & 0o777).toBe(0o700);
  expect(fs.statSync(join(dir, 'a')).mode & 0o777).toBe(0o700);
});

test('ends if a parent exists but refuses children as missing', () => {
  expect(() => makeFolder('/proc/chancery/data', 0o700)).toThrow(/ENOENT.*\/proc\/chancery/);
});

test('a file in the way is refused by its path', () => {
  const file = join(dir, 'file');
  fs.writeFileSync(file, '');
  expect(() => makeFolder(file, 0o700)).toThrow(/EEXIST/);
  expect(() => makeFolder(join(file, 'below'), 0o700)).toThrow(/ENOTDIR/);
});
