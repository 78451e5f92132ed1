import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { signalProcess } from '@chancery/shared/unix/pidfd.ts';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OutputSettings } from '../config/schema.ts';
import { type NotifyDeps, notifyReader } from './notify.ts';

const dir = mkdtempSync(join(tmpdir(), 'notify-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const pidFile = join(dir, 'pid');
const output: OutputSettings = { dir: join(dir, 'out'), mode: '0600' };
const ownUid = geteuid?.() ?? -1;
const deps = { signalProcess, ownPid: process.pid, ownUid };
const never = new AbortController().signal;
const notify = (told: OutputSettings, by: NotifyDeps) => notifyReader(told, by, never);
const signal = { pidFile, name: 'SIGUSR1' } as const;

let reader: ChildProcess;
let heard: string;
beforeEach(async () => {
  reader = startReader();
  heard = '';
  reader.stdout?.setEncoding('utf8').on('data', (text: string) => {
    heard += text;
  });
  await until('ready');
  writeFileSync(pidFile, `${reader.pid}\n`);
});
afterEach(async () => {
  const ended = once(reader, 'exit');
  if (reader.exitCode === null && reader.signalCode === null && reader.kill('SIGKILL')) await ended;
});

/** A program that says which signals it hears. */
function startReader(uid?: number): ChildProcess {
  const script = 'trap "echo heard" USR1; trap "echo hung up" HUP; echo ready; while :; do sleep 0.02; done';
  return spawn('/bin/sh', ['-c', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...(uid === undefined ? {} : { uid }),
  });
}

async function until(says: string): Promise<void> {
  while (!heard.includes(says)) await once(reader.stdout ?? reader, 'data');
}

const refused = (code: string, message: RegExp) => ({ code, message: expect.stringMatching(message) });

describe('I68 a signal', () => {
  test('reaches the process in the pid file', async () => {
    await notify({ ...output, signal }, deps);
    await until('heard');
    await notify({ ...output, signal: { ...signal, name: 'SIGHUP', program: 'sh' } }, deps);
    await until('hung up');
  });

  test.each(['', '0', '-1', '-4711', '+1', '1 2', '0x10', '1e3', '12345678901', 'pid', '07'])(
    'is not sent for a pid file with "%s"',
    async (content) => {
      writeFileSync(pidFile, content);
      const told = notify({ ...output, signal }, deps);
      await expect(told).rejects.toMatchObject(refused('file', /does not contain a pid/));
    },
  );

  test.each([
    ['process 1', '1', /names process 1; set outputs\[\].command instead/],
    ['the agent itself', String(process.pid), /names this agent's own process/],
  ])('is not sent to %s', async (_, content, says) => {
    writeFileSync(pidFile, content);
    const told = notify({ ...output, signal }, { ...deps, signalProcess: () => expect.fail('signalled') });
    await expect(told).rejects.toMatchObject(refused('file', says));
  });

  test('is not sent to a process of another user than the owner of the files', async () => {
    const told = notify({ ...output, uid: 4001, signal }, deps);
    const says = new RegExp(`names process ${reader.pid} \\(sh\\) of uid ${ownUid}; expected uid 4001`);
    await expect(told).rejects.toMatchObject(refused('file', says));
  });

  test('is sent to a process of the owner of the files, and not where the files are the agent’s', async () => {
    if (ownUid !== 0) return console.info('only root may start a process of another user');
    const theirs = startReader(4001);
    writeFileSync(pidFile, String(theirs.pid));
    try {
      await once(theirs.stdout ?? theirs, 'data');
      await notify({ ...output, uid: 4001, signal }, deps);
      await once(theirs.stdout ?? theirs, 'data');
      await expect(notify({ ...output, signal }, deps)).rejects.toMatchObject(
        refused('file', /of uid 4001; expected uid 0/),
      );
    } finally {
      theirs.kill('SIGKILL');
      await once(theirs, 'exit');
    }
  });

  test('is not sent to another program than the config names', async () => {
    const told = notify({ ...output, signal: { ...signal, program: 'nginx' } }, deps);
    await expect(told).rejects.toMatchObject(refused('file', /which runs sh; expected nginx/));
  });

  test('is not sent where there is no pid file or no process', async () => {
    const missing = notify({ ...output, signal: { ...signal, pidFile: join(dir, 'none') } }, deps);
    await expect(missing).rejects.toMatchObject(refused('file', /none: no such file or folder/));
    reader.kill('SIGKILL');
    await once(reader, 'exit');
    await expect(notify({ ...output, signal }, deps)).rejects.toMatchObject(
      refused('unavailable', /cannot be opened: ESRCH/),
    );
  });

  test('goes to the process that was looked at, not to a later one under its pid', async () => {
    // The shell reaps it, so that its pid is free.
    const shell = spawn('/bin/sh', ['-c', 'sleep 60 & echo $!; wait'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(shell.stdout, 'data')) as [Buffer];
    const pid = Number(line);
    const told = () =>
      signalProcess(pid, 'SIGUSR1', () => {
        process.kill(pid, 'SIGKILL');
        while (existsSync(`/proc/${pid}`));
      });
    expect(told).toThrow(
      expect.objectContaining({ code: 'unavailable', message: expect.stringMatching(/signalled: ESRCH/) }),
    );
  });
});

describe('I70 a pid file', () => {
  beforeEach(() => rmSync(pidFile));
  afterEach(() => rmSync(pidFile, { force: true }));

  test.each([
    ['is a pipe', () => execFileSync('mkfifo', [pidFile]), /expected, found a pipe/],
    ['leads to a device', () => symlinkSync('/dev/zero', pidFile), /expected, found a device/],
    ['is a folder', () => mkdirSync(pidFile), /expected, found a folder/],
    ['is longer than a pid', () => writeFileSync(pidFile, ' '.repeat(33)), /33 bytes, at most 32/],
    ['claims no size', () => symlinkSync('/proc/self/status', pidFile), /more than 32 bytes/],
    ['is open to others', () => openToOthers(pidFile), /others may write it/],
  ])('that %s is refused, and no process gets a signal', async (_, make, says) => {
    make();
    await expect(notify({ ...output, signal }, silent)).rejects.toMatchObject(refused('file', says));
    rmSync(pidFile, { recursive: true });
  });

  test('is its owner’s: root’s, the agent’s or that of the owner of the files', async () => {
    if (ownUid !== 0) return console.info('only root may give a file to another user');
    writeFileSync(pidFile, String(reader.pid));
    chownSync(pidFile, 4001, 4001);
    await expect(notify({ ...output, signal }, silent)).rejects.toMatchObject(
      refused('file', /belongs to uid 4001; expected root, uid 0 \(the agent\) or the owner/),
    );
    await expect(notify({ ...output, uid: 4001, signal }, silent)).rejects.toThrow('signalled');
    const link = join(dir, 'link');
    symlinkSync(pidFile, link);
    lchownSync(link, 4002, 4002);
    await expect(
      notify({ ...output, uid: 4001, signal: { ...signal, pidFile: link } }, silent),
    ).rejects.toMatchObject(refused('file', /the link \S+ belongs to uid 4002/));
    rmSync(link);
  });
});

const silent = {
  ...deps,
  signalProcess: () => {
    throw new Error('signalled');
  },
};

function openToOthers(path: string): void {
  writeFileSync(path, '4711');
  chmodSync(path, 0o646);
}

describe('a command', () => {
  test('gets its arguments as they are', async () => {
    const told = join(dir, 'told');
    const command = ['/bin/sh', '-c', 'printf %s "$1" > "$2"', 'sh', '$HOME;x', told];
    await notify({ ...output, command }, deps);
    expect(readFileSync(told, 'utf8')).toBe('$HOME;x');
  });

  test.each([
    ['that fails', ['/bin/sh', '-c', 'echo no such service >&2; exit 3'], /no such service/],
    ['that is not there', ['/nowhere/reload'], /\/nowhere\/reload: no such file$/],
    ['that is not in the PATH', ['chancery-nowhere'], /no such program in the PATH$/],
  ])('%s is told', async (_, command, says) => {
    await expect(notify({ ...output, command }, deps)).rejects.toMatchObject(refused('unavailable', says));
  });
});
