/** Another key-encryption key for a CA that serves: killed at each step, from a passphrase, restored from a backup. */
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rewrap } from '@chancery/ca/keys/rewrap.ts';
import { readKeyFile } from '@chancery/shared/keys/file.ts';
import { readKek } from '@chancery/shared/keys/kek.ts';
import { keksAt } from '@chancery/shared/keys/keks.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import {
  CA_MAIN,
  type CaFolder,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'rewrap.example';
const KILL_AT = fileURLToPath(new URL('../kit/observe/kill-at.ts', import.meta.url));
/** Each of these is a step on the disk. */
const KILL_ON = 'writeFileSync,fsyncSync,renameSync';

let dir: string;
let ca: CaFolder;
let serving: Running;
beforeAll(async () => {
  dir = makeFolder();
  const id = `spiffe://${TRUST_DOMAIN}/w`;
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [
    { kind: 'Identity', name: 'w', platform: 'unix', id },
  ]));
});
afterAll(async () => {
  await serving.stop();
  removeFolder(dir);
});

const at = (...names: readonly string[]) => join(dir, 'data', ...names);
const kek = () => join(dir, 'key-encryption-key');
const keyFiles = () =>
  ['keys', 'standby'].flatMap((folder) =>
    fs
      .readdirSync(at(folder))
      .filter((name) => name.endsWith('.key'))
      .map((name) => at(folder, name)),
  );
/** The CA signs with the root and makes a key: it opens files that are under either key. */
const rotated = async () => expect(await ca.cli('rotate', '--intermediate')).toMatchObject({ status: 0 });
const readyz = async () => (await fetch(`http://127.0.0.1:${ca.httpPort}/readyz`)).status;
const isDone = () => {
  try {
    for (const each of keyFiles()) readKeyFile(each, readKek(kek()));
    return !fs.existsSync(`${kek()}.next`);
  } catch {
    return false;
  }
};
/** Who runs it again keeps the key before elsewhere. */
const rewrapped = async (...flags: readonly string[]) => {
  fs.rmSync(`${kek()}.before`, { force: true });
  const ran = await ca.cli('keys', 'rewrap', ...flags);
  expect(ran).toMatchObject({ status: 0 });
  return ran;
};
const acts = async () =>
  (await ca.cli('audit', 'query', '--text', 'rewrapKeys', '--json')).stdout.split('\n').filter(Boolean);
const configure = (change: object) => {
  const config = parse(fs.readFileSync(ca.config, 'utf8')) as object;
  fs.writeFileSync(ca.config, stringify({ ...config, ...change }));
};

/** False if it was done before; fails if it ended otherwise. */
function killedAt(step: number): Promise<boolean> {
  const args = ['--import', KILL_AT, CA_MAIN, 'keys', 'rewrap', '--config', ca.config];
  const env = { ...process.env, KILL_AT: String(step), KILL_ON };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { env }, (error, _, stderr) => {
      if (error === null || error.signal === 'SIGKILL') resolve(error !== null);
      else reject(new Error(stderr));
    });
  });
}

test('I182 killed by SIGKILL after each step on the disk, it leaves keys that open, and the next run goes on', async () => {
  const about = { folder: at('keys'), standbyFolder: at('standby'), kek: kek(), passphrase: undefined };
  let step = 1;
  for (; await killedAt(step); step += 1) {
    for (const each of keyFiles()) expect(readKeyFile(each, keksAt(kek())).type).toBe('private');
    if (step === 8) await rotated();
    // In this process: each of the program would take as long as the one that was killed.
    if (!isDone()) await rewrap({ ...about, dryRun: false, onProgress: () => {} });
    for (const each of keyFiles()) expect(readKeyFile(each, readKek(kek())).type).toBe('private');
    expect(await readyz()).toBe(200);
    fs.rmSync(`${kek()}.before`, { force: true });
  }
  // Of four files at least: written, synced, renamed, and the folder synced, and renamed and synced again.
  expect(step).toBeGreaterThan(24);
  expect(fs.existsSync(`${kek()}.next`)).toBe(false);
  fs.rmSync(`${kek()}.before`);
  await rotated();
  expect(await ca.cli('check')).toMatchObject({ status: 0 });
  expect(fs.readdirSync(at('keys')).filter((name) => name.includes('rewrapped'))).toEqual([]);
}, 900_000);

test('each run is in the audit log before it changes a file, also where the CA does not run', async () => {
  const before = (await acts()).length;
  await rewrapped('--dry-run');
  expect(await acts()).toHaveLength(before);
  await serving.stop();
  await rewrapped('--dry-run');
  await rewrapped();
  serving = await ca.serve();
  const now = await acts();
  expect(now).toHaveLength(before + 1);
  expect(now.join()).toContain('while the CA did not run');
});

test('I182 it is refused while the key of the standby root is away, unless that is said', async () => {
  const away = `${dir}-standby`;
  fs.renameSync(at('standby'), away);
  const bytes = fs.readFileSync(kek(), 'utf8');
  const says =
    /the key of the standby root [0-9a-f]+ is not in the folder standby of dataDir: bring its folder back/;
  for (const flags of [[], ['--dry-run']])
    expect(await ca.cli('keys', 'rewrap', ...flags)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(says),
    });
  await serving.stop();
  expect(await ca.cli('keys', 'rewrap')).toMatchObject({ status: 1, stderr: expect.stringMatching(says) });
  serving = await ca.serve();
  expect(fs.readFileSync(kek(), 'utf8')).toBe(bytes);
  expect((await rewrapped('--without-standby')).stdout).toContain(
    'keys of standby roots that are away need it, too',
  );
  fs.cpSync(away, at('standby'), { recursive: true });
  removeFolder(away);
  // The key before opens it.
  for (const each of keyFiles()) readKeyFile(each, keksAt(kek()));
  // The key that came back is under the one before: this run is for it.
  expect(await ca.cli('keys', 'rewrap')).toMatchObject({ status: 0 });
  fs.rmSync(`${kek()}.before`);
  for (const each of keyFiles()) readKeyFile(each, keksAt(kek()));
});

test('from a file to a passphrase while the CA serves, a backup, and a restore by the passphrase alone', async () => {
  const words = join(dir, 'passphrase');
  fs.writeFileSync(words, 'correct horse battery staple\n', { mode: 0o600 });
  configure({ passphrase: 'passphrase' });
  expect(await ca.cli('check')).toMatchObject({
    status: 0,
    stderr: expect.stringMatching(/comes from no passphrase, and the config has .*: chancery-ca keys rewrap/),
  });
  await rewrapped();
  fs.rmSync(`${kek()}.before`);
  await rotated();
  expect(fs.readFileSync(kek(), 'utf8')).toMatch(/^scrypt-17-8-1 .* \/.*passphrase\n$/);
  const backup = join(dir, 'backup');
  expect(await ca.cli('backup', backup)).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('not in it: the passphrase that the key-encryption key comes from'),
  });
  await serving.stop();
  fs.renameSync(at(), `${at()}.lost`);
  fs.rmSync(kek());
  const moved = join(dir, 'elsewhere');
  fs.renameSync(words, moved);
  const loss = ['--accept-loss', '--reason', 'a test'];
  expect(await ca.cli('restore', backup, ...loss)).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/passphrase could not be opened/),
  });
  expect(fs.existsSync(kek())).toBe(false);
  configure({ passphrase: 'elsewhere' });
  const log = ['--log', join(`${at()}.lost`, 'log')];
  for (const flags of [['--dry-run'], []])
    expect(await ca.cli('restore', backup, ...log, ...flags)).toMatchObject({ status: 0 });
  // No backup has the key of a standby root.
  fs.cpSync(join(`${at()}.lost`, 'standby'), at('standby'), { recursive: true });
  serving = await ca.serve();
  await rotated();
  expect(await ca.cli('check')).toMatchObject({ status: 0 });
  expect(fs.readFileSync(kek(), 'utf8')).toMatch(/elsewhere\n$/);
});

test('from a passphrase to a file again', async () => {
  configure({ passphrase: undefined });
  await rewrapped();
  fs.rmSync(join(dir, 'elsewhere'));
  fs.rmSync(`${kek()}.before`);
  await rotated();
  expect(Buffer.from(fs.readFileSync(kek(), 'utf8'), 'base64')).toHaveLength(32);
});

test('the key of a passphrase that is wrong at the start of the CA is said', async () => {
  await serving.stop();
  const words = join(dir, 'passphrase');
  fs.writeFileSync(words, 'correct horse battery staple\n', { mode: 0o600 });
  configure({ passphrase: 'passphrase' });
  await rewrapped();
  fs.writeFileSync(words, 'correct horse battery stable\n', { mode: 0o600 });
  expect(await ca.cli('serve')).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(
      /has another passphrase than the one that the key-encryption key comes from/,
    ),
  });
  fs.writeFileSync(words, 'correct horse battery staple\n', { mode: 0o600 });
  serving = await ca.serve();
  expect(await readyz()).toBe(200);
});
