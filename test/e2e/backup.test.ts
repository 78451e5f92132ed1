/** A CA that is lost and restored: real programs, an agent that lives through it, a backup made while it serves. */
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  CA_MAIN,
  type CaFolder,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  runProgram,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'backup.example';
const ID = `spiffe://${TRUST_DOMAIN}/w`;
const BEFORE = `spiffe://${TRUST_DOMAIN}/before`;
const AFTER = `spiffe://${TRUST_DOMAIN}/after`;
const PATIENCE = { timeout: 60_000, interval: 200 };

let dir: string;
let ca: CaFolder;
let serving: Running;
let agent: Running;
let copy: string;
beforeAll(async () => {
  dir = makeFolder();
  const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: ID, x509: { ttl: '1h' } };
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [identity]));
  copy = join(ca.dir, 'copy');
  agent = await makeAgent(ca, 'agent', { evidence: { unix: {} } }).run();
});
afterAll(async () => {
  await agent.stop('SIGKILL');
  await serving.stop('SIGKILL');
  removeFolder(dir);
});

const DIFFERS = /is not the file that was backed up/;
const edit = (file: string, change: (bytes: Buffer) => Buffer | string): void => {
  const changed = change(readFileSync(file));
  writeFileSync(file, typeof changed === 'string' ? Buffer.from(changed, 'latin1') : changed);
};
const json = async (...args: string[]) => JSON.parse((await ca.cli(...args, '--json')).stdout);
const revoked = async (): Promise<string[]> =>
  (await json('revocations')).map(({ value }: { value: string }) => value);
const serials = async (): Promise<string[]> =>
  (await json('issued', '--limit', '100')).map(({ serial }: { serial: string }) => serial);
const stop = () => serving.stop('SIGKILL');
/** The folder of the data is gone, as after the loss of a disk. */
const lose = (name: string) => renameSync(join(ca.dir, 'data'), join(ca.dir, name));
const restored = (...args: string[]) => ca.cli('restore', copy, ...args);

describe('a backup', () => {
  test('is made while the CA serves, and verifies', async () => {
    await ca.cli('revoke', BEFORE, '--reason', 'unspecified');
    const made = await ca.cli('backup', copy);
    expect(made).toMatchObject({ status: 0, stderr: '' });
    expect(made.stdout).toMatch(/backup\.example as of .* audit events\nnot in it: the key-encryption key/);
    expect(readdirSync(join(ca.dir, 'data')).filter((name) => /copy/.test(name))).toEqual([]);
    const good = await ca.cli('backup', 'verify', copy);
    expect(good).toMatchObject({ status: 0, stdout: expect.stringMatching(/\nits keys open with the key-/) });
    expect((await ca.cli('audit', 'query', '--text', 'copyDatabase')).stdout).toMatch(/operator\.acting/);
  });

  test('is never written over, and a dry run writes nothing', async () => {
    expect((await ca.cli('backup', copy)).stderr).toMatch(/copy is there already/);
    const other = join(ca.dir, 'other');
    expect(await ca.cli('backup', other, '--dry-run')).toMatchObject({ status: 0 });
    expect(existsSync(other)).toBe(false);
  });

  test('is not made in dataDir, with which it would be lost', async () => {
    for (const inside of ['data/copy', 'data/keys/copy', 'data/../data/copy'])
      expect((await ca.cli('backup', `${ca.dir}/${inside}`)).stderr).toMatch(/is in \S+data: what is lost/);
    expect(existsSync(join(ca.dir, 'data/copy'))).toBe(false);
    expect(await ca.cli('backup', join(ca.dir, 'data-copy'), '--dry-run')).toMatchObject({ status: 0 });
  });

  test.each<[string, RegExp, (folder: string) => void]>([
    [
      'a changed byte of the database',
      DIFFERS,
      (at) => edit(join(at, 'ca.db'), (bytes) => bytes.fill(1, 5000, 5001)),
    ],
    ['a longer config', DIFFERS, (at) => edit(join(at, 'ca.yaml'), (bytes) => `${bytes.toString()}#`)],
    ['a file more', /does not name: other/, (at) => writeFileSync(join(at, 'other'), 'x')],
    [
      'a name that leads out of it',
      /not the manifest of a backup/,
      (at) =>
        edit(join(at, 'manifest.json'), (bytes) => bytes.toString().replace('"ca.yaml"', '"../ca.yaml"')),
    ],
  ])('I142 with %s is refused', async (_, says, spoil) => {
    const spoiled = join(makeFolder(), 'copy');
    cpSync(copy, spoiled, { recursive: true });
    spoil(spoiled);
    const told = await ca.cli('backup', 'verify', spoiled);
    expect(told).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(says) });
    removeFolder(dirname(spoiled));
  });

  test('I142 of a key that is not encrypted is not made', async () => {
    const plain = join(ca.dir, 'data/keys/ff.key');
    writeFileSync(plain, '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', { mode: 0o600 });
    const told = await ca.cli('backup', join(ca.dir, 'plain'));
    rmSync(plain);
    expect(told).toMatchObject({ status: 1, stderr: expect.stringMatching(/CHANCERY ENCRYPTED KEY/) });
    expect(existsSync(join(ca.dir, 'plain'))).toBe(false);
    expect(existsSync(join(ca.dir, 'plain.tmp'))).toBe(false);
  });

  test('is made of a CA that does not run, too', async () => {
    await stop();
    const stopped = join(ca.dir, 'stopped');
    expect(await ca.cli('backup', stopped)).toMatchObject({ status: 0 });
    expect(await ca.cli('backup', 'verify', stopped)).toMatchObject({ status: 0 });
    serving = await ca.serve();
  });
});

describe('restoring', () => {
  test('asks for a reason where a loss is accepted, and touches no data that is there', async () => {
    const both = await restored('--accept-loss', '--reason', 'x', '--log', ca.dir);
    expect(both.stderr).toMatch(/give --log DIR or --accept-loss/);
    expect((await restored('--accept-loss')).stderr).toMatch(/--accept-loss needs --reason/);
    const there = await restored('--accept-loss', '--reason', 'a drill');
    expect(there).toMatchObject({ status: 1, stderr: expect.stringMatching(/data is not empty/) });
  });

  test('with the log of the lost CA, what was revoked after the backup is revoked, and the log goes on', async () => {
    await ca.cli('revoke', AFTER, '--reason', 'keyCompromise');
    await vi.waitFor(
      async () =>
        expect((await ca.cli('audit', 'query', '--json', '--text', AFTER)).stdout).toMatch(/"entry":\d/),
      PATIENCE,
    );
    const before = await serials();
    await stop();
    lose('lost');
    const log = join(ca.dir, 'lost/log');
    const other = join(ca.dir, 'other-log');
    cpSync(log, other, { recursive: true });
    for (const name of readdirSync(join(other, 'tile'), { recursive: true, encoding: 'utf8' }))
      if (statSync(join(other, 'tile', name)).isFile())
        edit(join(other, 'tile', name), (bytes) =>
          bytes.toString('latin1').replace(AFTER, AFTER.replace('after', 'other')),
        );
    const refused = await restored('--log', other);
    expect(refused, 'I143').toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/copy of the log is not that of/),
    });
    const above = await restored('--log', join(ca.dir, 'lost'));
    expect(above.stderr).toMatch(/the folder of --log has no checkpoint: give dataDir\/log/);
    const dry = await restored('--log', log, '--dry-run');
    expect(dry.stdout).toMatch(/would be restored \(dry run\)[\s\S]*1 revocation,/);
    expect(existsSync(join(ca.dir, 'data'))).toBe(false);
    const done = await restored('--log', log);
    expect(done.stdout).toMatch(/data is restored, life 1: backup\.example/);
    serving = await ca.serve();
    expect(await revoked()).toEqual([BEFORE, AFTER]);
    // The CA has made itself another certificate since.
    expect(await serials()).toEqual(expect.arrayContaining(before));
    const key = join(log, 'verifier-key');
    await vi.waitFor(async () => {
      const from = await ca.cli('audit', 'verify', '--from', join(log, 'checkpoint'));
      expect(from).toMatchObject({
        status: 0,
        stdout: expect.stringMatching(/they begin with those of the kept/),
      });
    }, PATIENCE);
    expect(readFileSync(join(ca.dir, 'data/log/verifier-key'))).toEqual(readFileSync(key));
  });

  test('the agent of before goes on without hands, and new serials begin with another byte', async () => {
    // It has put in force what the restored CA sends: numbers greater than any that it had.
    await vi.waitFor(async () => {
      const [first] = await json('agents');
      expect(first).toMatchObject({ spiffeId: ID });
      const { bundle, policy, revocations } = first.acknowledged;
      expect(Math.min(bundle, policy, revocations)).toBeGreaterThan(1_000_000);
    }, PATIENCE);
    const second = await makeAgent(ca, 'second', { evidence: { unix: {} } }).run();
    await second.stop();
    expect((await serials())[0]).toMatch(/^41/);
  });

  test('without the log, the loss is on record', async () => {
    await stop();
    lose('lost-again');
    expect(await restored('--accept-loss', '--reason', 'the disk burned')).toMatchObject({ status: 0 });
    serving = await ca.serve();
    // The agent hands back what the backup lacks.
    await vi.waitFor(async () => expect(await revoked()).toEqual([BEFORE, AFTER]), PATIENCE);
    const { stdout } = await ca.cli('audit', 'query', '--json', '--text', 'ca.restored');
    expect(JSON.parse(stdout)).toMatchObject({ life: 1, entries: 0, reason: 'the disk burned' });
  });

  test('is refused with another key-encryption key', async () => {
    await stop();
    lose('lost-third');
    const kek = join(ca.dir, 'key-encryption-key');
    const kept = readFileSync(kek);
    writeFileSync(kek, `${Buffer.alloc(32, 7).toString('base64')}\n`);
    chmodSync(kek, 0o600);
    const told = await restored('--accept-loss', '--reason', 'x');
    const another =
      /key-encryption-key is another key-encryption key, random-[0-9a-f]+, than that of the backup/;
    expect(told.stderr).toMatch(another);
    expect(await ca.cli('backup', 'verify', copy)).toMatchObject({
      status: 0,
      stderr: expect.stringMatching(another),
      stdout: expect.stringMatching(/its keys do not open here: .* is another key-encryption key/),
    });
    expect(await json('backup', 'verify', copy)).toMatchObject({
      keysOpen: false,
      kek: expect.stringMatching(/^random-/),
    });
    expect(existsSync(join(ca.dir, 'data'))).toBe(false);
    writeFileSync(kek, kept);
  });

  test('I211 that is refused leaves no config, and one that succeeds writes that of the backup', async () => {
    const [backup, config] = [join(dir, 'spoiled'), join(ca.dir, 'new.yaml')];
    cpSync(copy, backup, { recursive: true });
    appendFileSync(join(backup, 'ca.db'), 'x');
    const restore = (from: string) =>
      runProgram(CA_MAIN, ['restore', from, '--config', config, '--accept-loss', '--reason', 'x']);
    expect(await restore(backup)).toMatchObject({ status: 1 });
    expect(existsSync(config)).toBe(false);
    expect(await restore(copy)).toMatchObject({ status: 0 });
    expect(readFileSync(config)).toEqual(readFileSync(join(copy, 'ca.yaml')));
  });
});
