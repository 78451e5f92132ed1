import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { geteuid, umask } from 'node:process';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { MAX_SOCKET_PATH_BYTES } from '../text/socket-path.ts';
import { listenPrivately } from './private-socket.ts';

const isRoot = geteuid?.() === 0;
const NOBODY = 65_534;
let folder: string;
let path: string;
let servers: net.Server[];
let children: ChildProcess[];
beforeEach(() => {
  folder = makeFolder();
  path = join(folder, 'some.sock');
  [servers, children] = [[], []];
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const each of children) each.kill('SIGKILL');
  await Promise.all(servers.map((each) => new Promise((resolve) => each.close(resolve))));
  removeFolder(folder);
});

/** A server that greets its callers with its name. */
async function listen(name = 'first', options: { mode?: number; path?: string } = {}) {
  const server = net.createServer((socket) => socket.on('error', () => {}).end(name));
  servers.push(server);
  await listenPrivately(server, { path, mode: 0o600, advice: 'stop it', ...options });
  return server;
}
async function greeting(): Promise<string> {
  return Buffer.concat(await net.connect(path).toArray()).toString();
}
const modeOf = (file: string): number => fs.statSync(file).mode & 0o777;
const inFolder = (): readonly string[] => fs.readdirSync(folder);

/** Leaves its socket behind. */
const killed = (): void => {
  const script = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script, path]);
};

/** Listens and then does nothing, not even accept; `backlog` callers may wait in its queue. */
async function stuck(backlog: number): Promise<number | undefined> {
  const script = `require('net').createServer().listen({ path: process.argv[1], backlog: ${backlog} }, () => {
    require('fs').writeSync(1, 'ready');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  })`;
  const child = spawn(process.execPath, ['-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  await once(child.stdout, 'data');
  return child.pid;
}

describe('a private socket', () => {
  test.each([0o600, 0o666])('has mode %o before anybody can call, whatever the umask', async (mode) => {
    const atOnce: number[] = [];
    const { listen: original } = net.Server.prototype;
    vi.spyOn(net.Server.prototype, 'listen').mockImplementation(function (this: net.Server, ...args) {
      original.apply(this, args);
      atOnce.push(...inFolder().map((name) => modeOf(join(folder, name))));
      return this;
    });
    const before = umask(0);
    try {
      await listen('first', { mode });
      expect(umask()).toBe(0);
    } finally {
      umask(before);
    }
    expect({ atOnce, now: modeOf(path) }).toEqual({ atOnce: [mode], now: mode });
  });

  test('is served, and its file is removed when the server closes', async () => {
    const server = await listen();
    expect(await greeting()).toBe('first');
    await new Promise((resolve) => server.close(resolve));
    expect(inFolder()).toEqual([]);
  });

  test('I78 is kept when an older server closes whose own file was removed', async () => {
    const first = await listen('first');
    fs.unlinkSync(path);
    const second = await listen('second');
    await new Promise((resolve) => first.close(resolve));
    expect(await greeting()).toBe('second');
    await new Promise((resolve) => second.close(resolve));
    expect(inFolder()).toEqual([]);
  });

  test('may have the longest path that the system allows', async () => {
    path = join(folder, 'x'.repeat(MAX_SOCKET_PATH_BYTES - folder.length - 1));
    await listen();
    expect(await greeting()).toBe('first');
  });

  test('replaces the file that a killed process left, and leaves no other file', async () => {
    killed();
    expect(inFolder()).toEqual(['some.sock']);
    await listen();
    expect(await greeting()).toBe('first');
    expect(inFolder()).toEqual(['some.sock']);
  });
});

describe('a socket that another process serves is never taken', () => {
  test('if the process answers', async () => {
    await listen('first');
    const message = `another process (pid ${process.pid}) serves ${path}: stop it`;
    await expect(listen('second')).rejects.toMatchObject({ code: 'unavailable', message });
    expect(await greeting()).toBe('first');
  });

  test('if the process no longer accepts', async () => {
    const pid = await stuck(8);
    const message = `another process (pid ${pid}) serves ${path}: stop it`;
    await expect(listen()).rejects.toMatchObject({ code: 'unavailable', message });
    expect(inFolder()).toEqual(['some.sock']);
  });

  test('if its queue is full', async () => {
    await stuck(0);
    const waiting: net.Socket[] = [];
    let full = false;
    while (!full) {
      const socket = net.connect(path);
      waiting.push(socket);
      full = await new Promise((resolve) => {
        socket.once('connect', () => resolve(false)).once('error', () => resolve(true));
      });
    }
    await expect(listen()).rejects.toThrow(refusal('unavailable', /^another process may serve .*EAGAIN/));
    expect(inFolder()).toEqual(['some.sock']);
    for (const each of waiting) each.destroy();
  });

  test('if two find the same dead socket at once: the faster one keeps it', async () => {
    killed();
    const both = await Promise.allSettled([listen('first'), listen('second')]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(both.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: refusal('unavailable', /another process/),
    });
    const winner = both[0].status === 'fulfilled' ? 'first' : 'second';
    expect(await greeting()).toBe(winner);
    expect(inFolder()).toEqual(['some.sock']);
  });
});

describe('a private socket is refused', () => {
  test.each<readonly [string, () => void]>([
    ['a file', () => fs.writeFileSync(path, 'precious')],
    ['a folder', () => fs.mkdirSync(path)],
    ['a link, wherever it leads', () => fs.symlinkSync('/dev/log', path)],
  ])('where %s is in its place', async (_, put) => {
    put();
    const before = fs.lstatSync(path).ino;
    await expect(listen()).rejects.toThrow(refusal('file', /some\.sock is in the way and is not a socket$/));
    expect(fs.lstatSync(path).ino).toBe(before);
  });

  test.runIf(isRoot)('where a socket of another user is in its place', async () => {
    killed();
    fs.chownSync(path, NOBODY, NOBODY);
    const message = `the socket ${path} belongs to uid ${NOBODY}; expected root`;
    await expect(listen()).rejects.toMatchObject({ code: 'file', message });
  });

  test('in a folder that others may write in', async () => {
    fs.chmodSync(folder, 0o777);
    await expect(listen()).rejects.toThrow(
      refusal('file_mode', /^others may write in .*: mode 777; chmod go-w /),
    );
    expect(inFolder()).toEqual([]);
  });

  test.runIf(isRoot)('in a folder of another user', async () => {
    fs.chownSync(folder, NOBODY, NOBODY);
    await expect(listen()).rejects.toThrow(refusal('file_mode', /belongs to uid 65534; expected root$/));
  });

  test.runIf(isRoot)('behind a link of another user', async () => {
    fs.mkdirSync(join(folder, 'real'), 0o700);
    fs.symlinkSync('real', join(folder, 'link'));
    fs.lchownSync(join(folder, 'link'), NOBODY, NOBODY);
    const behind = listen('first', { path: join(folder, 'link', 'some.sock') });
    await expect(behind).rejects.toThrow(refusal('file_mode', /^the link .*link belongs to uid 65534/));
  });

  test.each([
    [
      'without a folder for it',
      () => join(folder, 'none', 'a.sock'),
      /none\/a\.sock: its folder does not exist$/,
    ],
    ['where its path is too long', () => join(folder, 'x'.repeat(120)), /use a shorter path$/],
  ])('%s', async (_, where, message) => {
    await expect(listen('first', { path: where() })).rejects.toThrow(refusal('unavailable', message));
  });
});
