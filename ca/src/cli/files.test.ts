import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Invocation, Io } from '@chancery/shared/cli/program.ts';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { readFiles } from './files.ts';

const dir = mkdtempSync(join(tmpdir(), 'chy-'));
afterAll(() => rmSync(dir, { recursive: true }));
const folder = join(dir, 'resources');
const file = join(folder, 'a.yaml');
beforeEach(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
});

function read(...paths: readonly string[]) {
  const said: string[] = [];
  const invocation = { texts: () => paths } as unknown as Invocation;
  const io = { err: (text: string) => said.push(text) } as unknown as Io;
  return readFiles(invocation, io).then((files) => ({ files, said: said.join('') }));
}

test('a folder gives its YAML files, and names the others', async () => {
  writeFileSync(file, 'a: 1\n');
  writeFileSync(join(folder, 'b.json'), '{}');
  expect(await read(folder)).toEqual({
    files: [{ name: file, text: 'a: 1\n' }],
    said: `not read: ${join(folder, 'b.json')}\n`,
  });
});

test('a folder without YAML is refused, with the names of what was skipped', async () => {
  for (const name of ['a.yaml.bak', '.hidden.yaml', 'a.json']) writeFileSync(join(folder, name), 'x');
  await expect(read(folder)).rejects.toEqual(
    refusal('file', /no \.yaml or \.yml file \(not read: \S+\.hidden\.yaml, \S+a\.json, \S+a\.yaml\.bak\)/),
  );
});

describe('I71 a file is refused at once, by its name', () => {
  test.each([
    [
      'a device without an end',
      () => symlinkSync('/dev/zero', file),
      /a regular file is expected, found a device$/,
    ],
    ['a pipe', () => execFileSync('mkfifo', [file]), /a regular file is expected, found a pipe$/],
    ['a large file', () => makeLarge(), /17179869184 bytes, at most 16777216$/],
    ['a missing file', () => {}, /no such file or folder$/],
    [
      'UTF-16',
      () => writeFileSync(file, '\ufeffa: 1\n', 'utf16le'),
      /the file is not UTF-8 but UTF-16; save it as UTF-8$/,
    ],
    [
      'Latin-1',
      () => writeFileSync(file, 'name: caf\xe9\n', 'latin1'),
      /the file is not UTF-8: see the byte at offset \d+; save it as UTF-8$/,
    ],
  ])('%s', async (_, make, says) => {
    make();
    await expect(read(file)).rejects.toEqual(refusal('file', new RegExp(`a\\.yaml: ${says.source}`)));
  });

  /** Of holes. */
  const makeLarge = (): void => {
    writeFileSync(file, '');
    truncateSync(file, 16 * 1024 ** 3);
  };
});
