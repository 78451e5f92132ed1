import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { ensureNotLocked, type FolderLock, lockFolder } from './folder-lock.ts';

const HAS_GLIBC = 'glibcVersionRuntime' in (process.report.getReport() as { header: object }).header;
if (!HAS_GLIBC) console.warn('skipped: folders are locked only where there is glibc');

let folder: string;
let locks: FolderLock[];
let children: ChildProcess[];
beforeEach(() => {
  folder = makeFolder();
  [locks, children] = [[], []];
});
afterEach(async () => {
  for (const each of locks) await each.close();
  for (const each of children) each.kill('SIGKILL');
  removeFolder(folder);
});

function lock(): FolderLock {
  const taken = lockFolder(folder, 'stop it') ?? expect.fail('no lock');
  locks.push(taken);
  return taken;
}

/** Another process that holds the lock until it is killed. */
async function holder(): Promise<ChildProcess> {
  const script = `
    const { lockFolder } = await import(${JSON.stringify(new URL('./folder-lock.ts', import.meta.url))});
    lockFolder(${JSON.stringify(folder)}, '');
    process.stdout.write('ready');
    setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  await once(child.stdout, 'data');
  return child;
}

test.skipIf(!HAS_GLIBC)(
  'a folder that another process holds is refused with its pid, until it is killed',
  async () => {
    const child = await holder();
    const message = `another process (pid ${child.pid}) uses ${folder}: stop it`;
    const refused = expect.objectContaining({ code: 'unavailable', message });
    expect(lock).toThrow(refused);
    expect(() => ensureNotLocked(folder, 'stop it')).toThrow(refused);
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    ensureNotLocked(folder, 'stop it');
    lock();
  },
);

test.skipIf(!HAS_GLIBC)(
  'a folder is not locked twice, not even by one process, and is free once closed',
  async () => {
    const first = lock();
    expect(lock).toThrow(refusal('unavailable', /stop it$/));
    await first.close();
    await first.close();
    lock();
  },
);

test.skipIf(!HAS_GLIBC)('a process that it starts does not hold the lock', async () => {
  const first = lock();
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
  children.push(child);
  await once(child, 'spawn');
  await first.close();
  lock();
});

test('a folder that is missing is not locked', () => {
  ensureNotLocked(join(folder, 'none'), 'stop it');
  expect(fs.readdirSync(folder)).toEqual([]);
});
