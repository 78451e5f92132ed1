/** `init` that is interrupted anywhere, and `init --resume` after it. */
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { caProgram } from '@chancery/ca/cli/program.ts';
import { MIGRATIONS } from '@chancery/ca/store/sqlite/file/schema.ts';
import { runProgram } from '@chancery/shared/cli/program.ts';
import { type Clock, systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterAll, expect, test } from 'vitest';
import { CA_MAIN, makeFolder, type Ran, removeFolder } from '../kit/processes.ts';

/** All that there is to say of a new CA. */
const STANDBY = expect.stringMatching(
  /^warning: the key of root \w+, which stands by, is on this machine .*\n$/,
);

const TRUST_DOMAIN = 'init.example';
const KILL_AT = fileURLToPath(new URL('../kit/observe/kill-at.ts', import.meta.url));

const folder = makeFolder();
afterAll(() => removeFolder(folder));

/** Runs init and ends it after so many changes of the disk; true if it was done before. */
function initKilledAt(changes: number, dir: string): Promise<boolean> {
  const args = ['--import', KILL_AT, CA_MAIN, 'init', '--trust-domain', TRUST_DOMAIN, '--dir', dir];
  const env = { ...process.env, KILL_AT: String(changes) };
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env }, (error) => resolve(error === null));
  });
}

/** The same commands, in this process: dozens of processes would take minutes. */
const programBy = (clock: Clock) =>
  caProgram({ clock, random: randomBytes, ownUid: process.getuid?.() ?? 0, logAt: () => silentLog }, '0');
const ca = (...args: readonly string[]): Promise<Ran> => runBy(systemClock, ...args);

async function runBy(clock: Clock, ...args: readonly string[]): Promise<Ran> {
  const [out, err]: [string[], string[]] = [[], []];
  const io = {
    out: (text: string) => void out.push(text),
    err: (text: string) => void err.push(text),
    env: {},
    signal: new AbortController().signal,
    input: async () => '',
    isTerminal: false,
  };
  const status = await runProgram(programBy(clock), args, io);
  return { status, stdout: out.join(''), stderr: err.join('') };
}
const resume = (dir: string): Promise<Ran> =>
  ca('init', '--resume', '--trust-domain', TRUST_DOMAIN, '--dir', dir);

test('init --dry-run says which files it would make, and makes none', async () => {
  const dir = join(folder, 'dry');
  const args = ['init', '--trust-domain', TRUST_DOMAIN, '--dir', dir];
  const dry = await ca(...args, '--dry-run');
  expect(dry).toMatchObject({ status: 0, stderr: '' });
  expect(dry.stdout).toContain(join(dir, 'key-encryption-key'));
  expect(existsSync(dir)).toBe(false);
  const { makes } = JSON.parse((await ca(...args, '--dry-run', '--json')).stdout) as { makes: string[] };
  expect((await ca(...args)).status).toBe(0);
  expect(makes.filter((path) => !existsSync(path))).toEqual([]);
  expect(await ca(...args, '--dry-run')).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/exists already/),
  });
  const resumed = await ca('init', '--resume', '--dir', dir, '--dry-run', '--json');
  expect(JSON.parse(resumed.stdout)).toMatchObject({ makes: [] });
});

test('init is interrupted after each change of the disk, and init --resume finishes it', async () => {
  let changes = 1;
  for (; ; changes += 1) {
    const dir = join(folder, `at-${changes}`);
    if (await initKilledAt(changes, dir)) break;
    const resumed = await resume(dir);
    expect({ changes, resumed }).toMatchObject({ resumed: { status: 0, stderr: '' } });
    const checked = await ca('check', '--config', join(dir, 'ca.yaml'));
    expect({ changes, checked }).toMatchObject({ checked: { status: 0, stderr: STANDBY } });
  }
  expect(changes).toBeGreaterThan(12);
  // Three processes for each change of the disk.
}, 900_000);

test('a second init says how to finish the first, and its command works', async () => {
  const dir = join(folder, 'advice');
  // The database and its schema come first; before the key-encryption key nothing is left that a second init minds.
  for (let changes = MIGRATIONS.length; !existsSync(join(dir, 'key-encryption-key')); changes += 1) {
    rmSync(dir, { recursive: true, force: true });
    await initKilledAt(changes, dir);
  }
  const { status, stderr } = await ca('init', '--trust-domain', TRUST_DOMAIN, '--dir', dir);
  expect(status).toBe(1);
  const [, command = ''] = /finish it: chancery-ca (.*)\n$/.exec(stderr) ?? [];
  expect(await ca(...command.split(' '))).toMatchObject({ status: 0 });
});

const ensureOneCa = async (dir: string): Promise<void> => {
  expect(await ca('check', '--config', join(dir, 'ca.yaml'))).toMatchObject({ status: 0, stderr: STANDBY });
  const keys = readdirSync(join(dir, 'data', 'keys')).filter((name) => name.endsWith('.key'));
  // That of the root, that of tokens, and that of the audit log.
  expect(keys.filter((name) => name !== 'log.key')).toHaveLength(2);
  expect(keys).toContain('log.key');
};

test('two inits at once make one CA', async () => {
  const dir = join(folder, 'twice');
  await Promise.all([initKilledAt(1_000_000, dir), initKilledAt(1_000_000, dir)]);
  // SQLite may turn both away from a file that both are making.
  expect(await resume(dir)).toMatchObject({ status: 0, stderr: '' });
  await ensureOneCa(dir);
});

test('an init that another one overtakes before it has the database touches nothing', async () => {
  const dir = join(folder, 'overtaken');
  const flags = ['--trust-domain', TRUST_DOMAIN, '--dir', dir];
  let overtaken = false;
  // The time is asked for right before the database is opened.
  const now = (): Date => {
    if (!overtaken) execFileSync(process.execPath, [CA_MAIN, 'init', '--resume', ...flags]);
    overtaken = true;
    return systemClock.now();
  };
  expect(await runBy({ ...systemClock, now }, 'init', ...flags)).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/ca\.yaml exists already: a CA is made once/),
  });
  await ensureOneCa(dir);
});

test('init --resume of a whole CA changes nothing', async () => {
  const dir = join(folder, 'whole');
  await ca('init', '--trust-domain', TRUST_DOMAIN, '--dir', dir);
  const files = ['ca.yaml', 'key-encryption-key', 'resources/unix.yaml'].map((name) => join(dir, name));
  const before = files.map((path) => readFileSync(path, 'utf8'));
  const first = JSON.parse((await ca('init', '--resume', '--dir', dir, '--json')).stdout);
  expect(JSON.parse((await ca('init', '--resume', '--dir', dir, '--json')).stdout)).toEqual(first);
  expect(files.map((path) => readFileSync(path, 'utf8'))).toEqual(before);
});

test('init --resume makes no second key for a root that has one', async () => {
  const dir = join(folder, 'lost-key');
  cpSync(join(folder, 'whole'), dir, { recursive: true });
  rmSync(join(dir, 'key-encryption-key'));
  expect(await resume(dir)).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/key-encryption-key is missing, .* restore it\n$/),
  });
});

test('init --resume refuses another trust domain than the one that was begun', async () => {
  const dir = join(folder, 'whole');
  const other = ['init', '--resume', '--trust-domain', 'other.example', '--dir', dir];
  expect(await ca(...other)).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/has trustDomain init/),
  });
  rmSync(join(dir, 'ca.yaml'));
  expect(await ca(...other)).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/root of this dataDir/),
  });
});

test.each([
  ['/proc/chancery', /\/proc\/chancery: no such file or folder/],
  ['/proc/chancery/ca', /\/proc\/chancery: no such file or folder/],
  ['/dev/null/ca', /a part of this path is a file/],
])('init in %s ends with a sentence', async (dir, says) => {
  const ran = await ca('init', '--trust-domain', TRUST_DOMAIN, '--dir', dir);
  expect(ran).toMatchObject({ status: 1, stderr: expect.stringMatching(says) });
});

test('a file in the place of the folder is said', async () => {
  const path = join(folder, 'file');
  writeFileSync(path, '');
  const ran = await ca('init', '--trust-domain', TRUST_DOMAIN, '--dir', path);
  expect(ran).toMatchObject({ status: 1, stderr: expect.stringMatching(/folder is expected, found a file/) });
});
