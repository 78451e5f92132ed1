import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { readKeyFile, writeKeyFile } from '@chancery/shared/keys/file.ts';
import { createKek, passphraseFileOf, readKek } from '@chancery/shared/keys/kek.ts';
import { keksAt } from '@chancery/shared/keys/keks.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { keyFiles } from './key-files.ts';
import { rewrap } from './rewrap.ts';

const FILES = 4;

describe('another key-encryption key', () => {
  let dir: string;
  let kek: string;
  let folder: string;
  let standby: string;
  beforeEach(() => {
    dir = makeFolder();
    [kek, folder, standby] = [join(dir, 'kek'), join(dir, 'keys'), join(dir, 'standby')];
    createKek(kek);
    fs.mkdirSync(folder, 0o700);
    writeKeyFile(join(folder, 'log.key'), generateKeyPairSync('ed25519').privateKey, readKek(kek));
    for (let n = 1; n < FILES; n += 1)
      writeKeyFile(
        join(folder, `a${n}.key`),
        generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
        readKek(kek),
      );
  });
  afterEach(() => {
    vi.restoreAllMocks();
    removeFolder(dir);
  });

  const order = (changes = {}) => ({
    folder,
    standbyFolder: standby,
    kek,
    passphrase: undefined,
    dryRun: false,
    onProgress: () => {},
    ...changes,
  });
  /** As an operator does it with the old key. */
  const moveAway = (name: string) => fs.renameSync(`${kek}.before`, join(dir, name));
  const names = () => fs.readdirSync(folder).filter((name) => name.endsWith('.key'));
  const opening = () =>
    names().map((name) =>
      readKeyFile(join(folder, name), keksAt(kek)).export({ type: 'pkcs8', format: 'pem' }),
    );
  const underAlone = (bytes: Uint8Array) => () =>
    names().map((name) => readKeyFile(join(folder, name), bytes));

  test('encrypts every key file, that of the audit log too, and keeps the old key beside', async () => {
    const [old, keys] = [readKek(kek), opening()];
    expect(await rewrap(order({ dryRun: true }))).toEqual({
      files: FILES,
      resumed: false,
      before: `${kek}.before`,
    });
    expect(readKek(kek)).toEqual(old);
    expect(await rewrap(order())).toEqual({ files: FILES, resumed: false, before: `${kek}.before` });
    expect(readKek(kek)).not.toEqual(old);
    expect(readKek(`${kek}.before`)).toEqual(old);
    expect(fs.statSync(`${kek}.before`).mode & 0o777).toBe(0o600);
    expect(fs.existsSync(`${kek}.next`)).toBe(false);
    underAlone(readKek(kek))();
    expect(underAlone(old)).toThrow(refusal('file', /does not open/));
    expect(opening()).toEqual(keys);
    moveAway('moved');
    await rewrap(order());
    expect(opening()).toEqual(keys);
  });

  test('I246 opens every file where the old passphrase was destroyed; one passed by says what it needs', async () => {
    const [p1, p2] = [join(dir, 'p1'), join(dir, 'p2')];
    for (const path of [p1, p2]) fs.writeFileSync(path, `a passphrase that is in ${path}\n`, { mode: 0o600 });
    await rewrap(order({ passphrase: p1 }));
    moveAway('of random bytes');
    const passedBy = fs.readFileSync(join(folder, 'a1.key'));
    const keys = opening();
    await rewrap(order({ passphrase: p2 }));
    fs.rmSync(p1);
    expect(opening()).toEqual(keys);
    fs.writeFileSync(join(folder, 'a1.key'), passedBy);
    expect(opening).toThrow(refusal('file', /kek\.before: .*p1 could not be opened/));
  });

  test('I216 never writes over the key before the last one, which a standby key elsewhere may need', async () => {
    fs.mkdirSync(standby, 0o700);
    writeKeyFile(join(standby, 'c1.key'), generateKeyPairSync('ed25519').privateKey, readKek(kek));
    fs.renameSync(standby, join(dir, 'elsewhere'));
    const first = readKek(kek);
    await rewrap(order());
    const second = readKek(kek);
    const inTheWay = refusal(
      'file',
      /kek\.before is the key before this one, .*: keep it elsewhere, under another/,
    );
    for (const dryRun of [true, false]) await expect(rewrap(order({ dryRun }))).rejects.toThrow(inTheWay);
    expect([readKek(`${kek}.before`), readKek(kek), fs.existsSync(`${kek}.next`)]).toEqual([
      first,
      second,
      false,
    ]);
    fs.renameSync(join(dir, 'elsewhere'), standby);
    expect(readKeyFile(join(standby, 'c1.key'), keksAt(kek)).type).toBe('private');
    // The key that was brought back is under the one before: this run is for it.
    expect(await rewrap(order())).toMatchObject({ files: FILES + 1, resumed: true });
    expect(readKeyFile(join(standby, 'c1.key'), second).type).toBe('private');
    expect(readKek(kek)).toEqual(second);
  });

  test('may come from a passphrase, and from another, and from none again', async () => {
    const [keys, words] = [opening(), join(dir, 'passphrase')];
    const others = `${words}.2`;
    fs.writeFileSync(words, 'correct horse battery staple\n', { mode: 0o600 });
    fs.writeFileSync(others, 'a passphrase of another year\n', { mode: 0o600 });
    for (const passphrase of [words, others, undefined]) {
      const old = readKek(kek);
      fs.rmSync(`${kek}.before`, { force: true });
      await rewrap(order({ passphrase }));
      expect(passphraseFileOf(kek)).toBe(passphrase);
      expect(readKek(`${kek}.before`)).toEqual(old);
      underAlone(readKek(kek))();
      expect(opening()).toEqual(keys);
    }
  });

  test('I181 changes nothing if the passphrase is too short', async () => {
    const [old, words] = [readKek(kek), join(dir, 'passphrase')];
    fs.writeFileSync(words, 'fifteen letters', { mode: 0o600 });
    await expect(rewrap(order({ passphrase: words }))).rejects.toThrow(
      refusal('file', /a passphrase of at least 16 characters is expected, found 15/),
    );
    expect([readKek(kek), fs.existsSync(`${kek}.next`)]).toEqual([old, false]);
    underAlone(old)();
  });

  test('I182 removes copies of keys that a killed run has left', async () => {
    const left = ['a1.key.rewrapped', 'gone.key.rewrapped', 'a1.key.rewrapped.0123456789ab.tmp'];
    for (const name of left) fs.copyFileSync(join(folder, 'a1.key'), join(folder, name));
    await rewrap(order({ dryRun: true }));
    expect(fs.readdirSync(folder)).toEqual(expect.arrayContaining(left));
    await rewrap(order());
    expect(fs.readdirSync(folder).toSorted()).toEqual(names().toSorted());
  });

  /** Each of these changes a file, and a process may be killed before any of them. */
  const CALLS = ['renameSync', 'openSync', 'writeFileSync'] as const;

  test('I136 killed before any step, leaves keys that the CA opens, and is finished by the next run', async () => {
    const keys = opening();
    let steps = 0;
    for (let killedAt = 1; killedAt < 200; killedAt += 1) {
      steps = 0;
      const spies = CALLS.map((name) => {
        const genuine = fs[name] as (...args: unknown[]) => unknown;
        return vi.spyOn(fs, name).mockImplementation(((...args: unknown[]) => {
          const writes = name !== 'openSync' || args[1] === 'wx';
          if (writes && ++steps >= killedAt) throw new Error('killed');
          return genuine.apply(fs, args);
        }) as never);
      });
      const ended = await rewrap(order()).then(
        () => 'ended',
        () => 'killed',
      );
      for (const spy of spies) spy.mockRestore();
      expect(opening()).toEqual(keys);
      // Killed at its very end, it has nothing left to do, and the next run says so.
      const done = await rewrap(order()).then(
        ({ files }) => files,
        (error: Error) => error.message,
      );
      expect([FILES, expect.stringMatching(/kek\.before is the key before this one/)]).toContainEqual(done);
      expect(opening()).toEqual(keys);
      underAlone(readKek(kek))();
      moveAway(`moved-${killedAt}`);
      if (ended === 'ended') break;
    }
    expect(steps).toBeGreaterThan(3 * FILES);
  });

  test('a CA opens and makes keys at every step of it', async () => {
    const home = keyFiles(folder, keksAt(kek));
    const made: string[] = [];
    let n = 0;
    await rewrap(
      order({
        onProgress: () => {
          n += 1;
          const reference = `b${n.toString(16).padStart(3, '0')}`;
          made.push(reference);
          void home.create(reference);
          opening();
        },
      }),
    );
    for (const reference of made)
      expect((await home.load({ home: 'file', reference })).algorithm).toBe('ecdsa-p256');
    moveAway('moved');
    await rewrap(order());
    underAlone(readKek(kek))();
    expect(names()).toHaveLength(FILES + made.length);
  });

  test('encrypts what a CA writes under the old key while that is replaced', async () => {
    const [old, path] = [readKek(kek), join(folder, 'a9.key')];
    const genuine = fs.renameSync;
    vi.spyOn(fs, 'renameSync').mockImplementation((from, to) => {
      if (to === kek) writeKeyFile(path, generateKeyPairSync('ed25519').privateKey, old);
      genuine(from, to);
    });
    await rewrap(order());
    expect(readKeyFile(path, readKek(kek)).type).toBe('private');
  });

  test('I136 that comes while a key file is being written is that of the file', () => {
    const [old, fresh] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    const answers = [old, fresh];
    const keks = { newest: () => answers.shift() ?? fresh, all: () => [fresh, old] };
    const path = join(folder, 'a9.key');
    writeKeyFile(path, generateKeyPairSync('ed25519').privateKey, keks);
    expect(readKeyFile(path, fresh).type).toBe('private');
    fs.rmSync(path);
  });

  test('encrypts the key of a standby root, too, where it is here', async () => {
    fs.mkdirSync(standby, 0o700);
    const path = join(standby, 'c1.key');
    writeKeyFile(path, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, readKek(kek));
    expect((await rewrap(order())).files).toBe(FILES + 1);
    expect(readKeyFile(path, readKek(kek)).type).toBe('private');
  });

  test('a key that the CA removes meanwhile stays removed', async () => {
    await rewrap(order({ onProgress: () => fs.rmSync(join(folder, 'a1.key'), { force: true }) }));
    expect(names()).not.toContain('a1.key');
    expect(fs.readdirSync(folder).filter((name) => name.includes('a1'))).toEqual([]);
  });

  test('I136 changes nothing if one key file does not open', async () => {
    const old = readKek(kek);
    writeKeyFile(join(folder, 'a9.key'), generateKeyPairSync('ed25519').privateKey, Buffer.alloc(32, 1));
    await expect(rewrap(order())).rejects.toThrow(refusal('file', /a9\.key does not open/));
    expect([readKek(kek), fs.existsSync(`${kek}.next`)]).toEqual([old, false]);
  });

  test('two runs at once: the second is refused', async () => {
    const holder = spawn('flock', [folder, 'sleep', '60'], { stdio: 'ignore' });
    try {
      await expect
        .poll(
          () =>
            rewrap(order()).then(
              () => 'ran',
              (error: Error) => error.message,
            ),
          { interval: 20 },
        )
        .toMatch(/another run of keys rewrap is on/);
    } finally {
      holder.kill('SIGKILL');
    }
  });
});
