import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { inFile, readWholeFile } from './whole-file.ts';

const dir = mkdtempSync(join(tmpdir(), 'chy-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = join(dir, 'file');
afterEach(() => rmSync(file, { recursive: true, force: true }));
const read = () =>
  inFile(file, 'config', () => readWholeFile(file, { maxBytes: 8, code: 'config' })).toString();

test('I71 a file of exactly the accepted size is read, also through a link', () => {
  writeFileSync(file, '12345678');
  expect(read()).toBe('12345678');
  symlinkSync(file, join(dir, 'link'));
  expect(readWholeFile(join(dir, 'link'), { maxBytes: 8, code: 'config' }).toString()).toBe('12345678');
});

test.each([
  ['a pipe', () => execFileSync('mkfifo', [file]), /file: a regular file is expected, found a pipe$/],
  ['a device without an end', () => symlinkSync('/dev/zero', file), /found a device$/],
  ['a folder', () => mkdirSync(file), /a file is expected, found a folder; name the file in it$/],
  ['a larger file', () => writeFileSync(file, '123456789'), /file: 9 bytes, at most 8$/],
  ['a file of the kernel, which states a size of 0', () => symlinkSync('/proc/cpuinfo', file), /more than 8/],
  ['nothing', () => {}, /file: no such file or folder$/],
  ['a file below a file', () => symlinkSync('/proc/cpuinfo/x', file), /is a file, not a folder$/],
])('I71 %s is refused at once, with the name and what was found', (_, make, says) => {
  make();
  expect(read).toThrow(refusal('config', says));
});

test('I71 a socket is refused', async () => {
  const server = createServer().listen(file);
  await new Promise((resolve) => server.once('listening', resolve));
  expect(read).toThrow(refusal('config', /found a socket$/));
  await new Promise((resolve) => server.close(resolve));
});
