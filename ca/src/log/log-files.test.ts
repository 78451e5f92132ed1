import fs from 'node:fs/promises';
import { join, relative } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { logFiles } from './log-files.ts';

const folder = makeFolder();
afterEach(() => {
  vi.restoreAllMocks();
  removeFolder(folder);
});

test('a full tile is synced before it has its name, and then each folder up to that of the log', async () => {
  const done: string[] = [];
  const [open, rename] = [fs.open.bind(fs), fs.rename.bind(fs)];
  vi.spyOn(fs, 'open').mockImplementation(async (path, ...more) => {
    const file = await open(path, ...more);
    const sync = file.sync.bind(file);
    vi.spyOn(file, 'sync').mockImplementation(() => {
      done.push(`sync ${relative(folder, String(path))}`);
      return sync();
    });
    return file;
  });
  vi.spyOn(fs, 'rename').mockImplementation((from, to) => {
    done.push(`name ${relative(folder, String(to))}`);
    return rename(from, to);
  });
  await logFiles(folder).writeSynced('tile/0/x001/234', Buffer.of(1));
  expect(done).toEqual([
    'sync tile/0/x001/234.tmp',
    'name tile/0/x001/234',
    ...['tile/0/x001', 'tile/0', 'tile', ''].map((each) => `sync ${each}`),
  ]);
  expect(await fs.readFile(join(folder, 'tile/0/x001/234'))).toEqual(Buffer.of(1));
});
