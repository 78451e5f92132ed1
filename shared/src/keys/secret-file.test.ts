import fs, { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { replaceFile, writeFileAtomic } from './secret-file.ts';

let folder: string;
beforeEach(() => {
  folder = makeFolder();
});
afterEach(() => removeFolder(folder));

describe.each([
  ['writeFileAtomic', async (...of: Parameters<typeof replaceFile>) => writeFileAtomic(...of)],
  ['replaceFile', replaceFile],
])('%s', (_, write) => {
  test('replaces a file whole, with the mode that was asked for, and leaves nothing beside it', async () => {
    const path = join(folder, 'key');
    await write(path, Buffer.from('one'), 0o600);
    await write(path, Buffer.from('two'), 0o640);
    expect([readFileSync(path, 'utf8'), statSync(path).mode & 0o777]).toEqual(['two', 0o640]);
    expect(readdirSync(folder)).toEqual(['key']);
  });

  test('that cannot put it there says where, and leaves nothing', async () => {
    const path = join(folder, 'key');
    mkdirSync(join(path, 'in', 'the', 'way'), { recursive: true });
    const written = write(path, Buffer.from('one'), 0o600);
    await expect(written).rejects.toThrow(refusal('file', /key could not be written: /));
    expect(readdirSync(folder)).toEqual(['key']);
  });
});

test('replaceFile: the bytes are on the disk before the name, and the name before it resolves', async () => {
  const steps: string[] = [];
  const { open, rename } = fs.promises;
  vi.spyOn(fs.promises, 'open').mockImplementation(async (path, ...rest) => {
    const file = await open(path, ...rest);
    const sync = file.sync.bind(file);
    file.sync = async () => {
      await sync();
      steps.push(`sync ${basename(String(path)).replace(/\.[0-9a-f]{12}\./, '.')}`);
    };
    return file;
  });
  vi.spyOn(fs.promises, 'rename').mockImplementation(async (...names) => {
    await rename(...names);
    steps.push('rename');
  });
  try {
    await replaceFile(join(folder, 'key'), Buffer.from('one'), 0o600);
    expect(steps).toEqual(['sync key.tmp', 'rename', `sync ${basename(folder)}`]);
  } finally {
    vi.restoreAllMocks();
  }
});
