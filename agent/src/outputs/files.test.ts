import { createPrivateKey, X509Certificate } from 'node:crypto';
import fs, {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';

import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeAuthority, makeLeaf, NOW } from '../../../test/kit/certificates.ts';
import type { OutputSettings } from '../config/schema.ts';
import { type Holding, writeOutput } from './files.ts';

const root = makeAuthority('Root');
const bundle = {
  trustDomain: parseTrustDomain('prod.example'),
  authorities: [root.certificate.der],
  sequence: 1n,
};
function holding(): Holding {
  const { key, certificate } = makeLeaf('spiffe://prod.example/web', root);
  return { key, chain: [certificate.der, root.certificate.der] };
}

const base = mkdtempSync(join(tmpdir(), 'outputs-'));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let dir: string;
let output: OutputSettings;
beforeEach(() => {
  dir = mkdtempSync(join(base, 'o-'));
  output = { dir: join(dir, 'out'), mode: '0600' };
});
const at = (name: string): string => join(output.dir, name);
const mode = (name: string): number => statSync(at(name)).mode & 0o777;
const versions = (): string[] => readdirSync(output.dir).filter((name) => /^\.\.\d/.test(name));
const pairs = () =>
  new X509Certificate(readFileSync(at('svid.pem'))).checkPrivateKey(
    createPrivateKey(readFileSync(at('key.pem'))),
  );

describe('the files', () => {
  test('hold the chain, its key and the bundle', () => {
    writeOutput(output, holding(), bundle, NOW);
    expect(pairs()).toBe(true);
    expect(readFileSync(at('svid.pem'), 'utf8').match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(new X509Certificate(readFileSync(at('bundle.pem'))).raw).toEqual(
      Buffer.from(root.certificate.der),
    );
    expect(readdirSync(output.dir).sort()).toEqual(
      [...versions(), '..data', 'bundle.pem', 'key.pem', 'svid.pem'].sort(),
    );
  });

  test('of a key that lives elsewhere are its file', () => {
    writeOutput(output, { ...holding(), key: { pem: 'a TPM key file' } }, bundle, NOW);
    expect(readFileSync(at('key.pem'), 'utf8')).toBe('a TPM key file');
  });

  test('have the modes that the config says', () => {
    writeOutput({ ...output, mode: '0640' }, holding(), bundle, NOW);
    expect(['svid.pem', 'key.pem', 'bundle.pem'].map(mode)).toEqual([0o644, 0o640, 0o644]);
  });

  test('have the owner and the group that the config says', () => {
    const uid = process.getuid?.() ?? 0;
    // Only root may give files away; others may give them to themselves.
    const [wantedUid, wantedGid] = uid === 0 ? [4001, 4002] : [uid, process.getgid?.() ?? 0];
    writeOutput({ ...output, uid: wantedUid, gid: wantedGid }, holding(), bundle, NOW);
    for (const name of ['svid.pem', 'key.pem', 'bundle.pem']) {
      const found = statSync(at(name));
      expect([found.uid, found.gid]).toEqual([wantedUid, wantedGid]);
    }
    // The owner of the files must not be able to replace them.
    expect(statSync(at('..data')).uid).toBe(uid);
  });

  test.each([{ uid: 4001 }, { gid: 4002 }])('keep what the config does not say: %o', (given) => {
    if (process.getuid?.() !== 0) {
      console.info('only root may give files away');
      return;
    }
    writeOutput({ ...output, ...given }, holding(), bundle, NOW);
    const found = statSync(at('key.pem'));
    expect([found.uid, found.gid]).toEqual([given.uid ?? 0, given.gid ?? process.getgid?.()]);
  });

  test('replace what was there by these names, whatever it was', () => {
    mkdirSync(output.dir);
    writeFileSync(at('svid.pem'), 'an old file');
    symlinkSync('/etc/passwd', at('key.pem'));
    writeOutput(output, holding(), bundle, NOW);
    expect(pairs()).toBe(true);
    expect(readlinkSync(at('key.pem'))).toBe('..data/key.pem');
    expect(readFileSync('/etc/passwd', 'utf8')).toContain('root');
  });
});

function replaced(name: string, make: (path: string) => void): void {
  rmSync(at(name));
  make(at(name));
}

describe('a change', () => {
  test('leaves one folder: the one before goes, and so does what a crash has left', () => {
    writeOutput(output, holding(), bundle, NOW);
    const [first = ''] = versions();
    mkdirSync(at('..2020-01-01T00_00_00.000Z.01234567'));
    writeOutput(output, holding(), bundle, NOW);
    expect(versions()).toHaveLength(1);
    expect(versions()).not.toContain(first);
    expect(pairs()).toBe(true);
  });

  test.each<[string, () => void]>([
    ['nothing', () => {}],
    ['what is not ours', () => writeFileSync(at('other.txt'), 'x')],
  ])('I91 is none where %s has changed: watchers of the folder are not woken', (_, change) => {
    const held = holding();
    writeOutput(output, held, bundle, NOW);
    const before = [
      ...versions(),
      readlinkSync(at('..data')),
      statSync(output.dir, { bigint: true }).mtimeNs,
    ];
    change();
    const now = statSync(output.dir, { bigint: true }).mtimeNs;
    writeOutput(output, held, bundle, NOW);
    expect([...versions(), readlinkSync(at('..data')), before[2]]).toEqual(before);
    expect(statSync(output.dir, { bigint: true }).mtimeNs).toBe(now);
  });

  test.each<[string, () => void]>([
    ['the mode of the key', () => chmodSync(at('key.pem'), 0o644)],
    ['a file', () => writeFileSync(at('svid.pem'), 'x'.repeat(statSync(at('svid.pem')).size))],
    ['a file that is a folder now', () => replaced('..data/key.pem', mkdirSync)],
    ['a link', () => replaced('key.pem', (path) => symlinkSync('..data/svid.pem', path))],
    ['what a crash has left', () => mkdirSync(at('..2020-01-01T00_00_00.000Z.01234567'))],
    ['what a clock that was ahead has left', () => mkdirSync(at('..2999-01-01T00_00_00.000Z.01234567'))],
  ])('is made where this differs: %s', (_, change) => {
    const held = holding();
    writeOutput(output, held, bundle, NOW);
    const [first = ''] = versions();
    change();
    writeOutput(output, held, bundle, NOW);
    expect(versions()).toHaveLength(1);
    expect(versions()).not.toContain(first);
    expect([mode('key.pem'), pairs()]).toEqual([0o600, true]);
  });

  test('I93 says that there is no space left, and where', () => {
    writeOutput(output, holding(), bundle, NOW);
    const [first = ''] = versions();
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
      syscall: 'write',
    });
    const write = vi.spyOn(fs, 'writeFileSync').mockImplementation(() => {
      throw full;
    });
    try {
      expect(() => writeOutput(output, holding(), bundle, NOW)).toThrow(
        new RegExp(
          `^the output ${output.dir} could not be written: ${output.dir}/.*svid.pem .*: no space left on its`,
        ),
      );
    } finally {
      write.mockRestore();
    }
    expect(versions()).toEqual([first]);
  });

  test('removes nothing that is not ours, wherever ..data pointed', () => {
    mkdirSync(output.dir);
    const precious = join(dir, 'precious');
    mkdirSync(precious);
    mkdirSync(at('..2020-mine'));
    writeFileSync(at('other.txt'), 'x');
    symlinkSync('../precious', at('..data'));
    writeOutput(output, holding(), bundle, NOW);
    for (const path of [precious, at('..2020-mine'), at('other.txt')]) expect(existsSync(path)).toBe(true);
    expect(pairs()).toBe(true);
  });

  test('switches all three at once: a reader never sees a key beside another certificate', async () => {
    writeOutput(output, holding(), bundle, NOW);
    const shared = new Int32Array(new SharedArrayBuffer(8));
    const reader = new Worker(READER, { eval: true, workerData: { dir: output.dir, shared } });
    const done = new Promise<{ reads: number; mismatched: number }>((resolve, reject) => {
      reader.once('message', resolve).once('error', reject);
    });
    // Waits for the reader, then changes under it, then lets it go.
    await Atomics.waitAsync(shared, 0, 0).value;
    for (let change = 0; change < 100; change += 1) writeOutput(output, holding(), bundle, NOW);
    Atomics.store(shared, 1, 1);
    const { reads, mismatched } = await done;
    expect(mismatched).toBe(0);
    expect(reads).toBeGreaterThan(5);
  });

  test('that fails leaves the last good files and nothing else', () => {
    writeOutput(output, holding(), bundle, NOW);
    const before = ['svid.pem', 'key.pem', 'bundle.pem'].map((name) => readFileSync(at(name), 'utf8'));
    const listed = readdirSync(output.dir);
    const broken = { ...holding(), key: { pem: undefined as unknown as string } };
    expect(() => writeOutput(output, broken, bundle, NOW)).toThrow(
      expect.objectContaining({
        code: 'file',
        message: expect.stringContaining(`the output ${output.dir} could not be written`),
      }),
    );
    expect(['svid.pem', 'key.pem', 'bundle.pem'].map((name) => readFileSync(at(name), 'utf8'))).toEqual(
      before,
    );
    expect(readdirSync(output.dir)).toEqual(listed);
  });

  test.each([
    [
      'others may write in',
      (out: string) => chmodSync(out, 0o777),
      /others may write in .*: mode 777; chmod go-w/,
    ],
    [
      'is shared by everybody, as /tmp is',
      (out: string) => chmodSync(out, 0o1777),
      /mode 1777; give a subfolder of it, such as \S+\/chancery$/,
    ],
    ['a group may write in', (out: string) => chmodSync(out, 0o775), /others may write in/],
    [
      'belongs to somebody else',
      (out: string) => chownSync(out, 4001, 4001),
      /belongs to uid 4001; expected root/,
    ],
  ])('I69 a folder that %s is refused', (_, spoil, message) => {
    if (process.getuid?.() !== 0) return console.info('only root may give files away');
    mkdirSync(output.dir);
    spoil(output.dir);
    expect(() => writeOutput(output, holding(), bundle, NOW)).toThrow(
      expect.objectContaining({ code: 'file_mode', message: expect.stringMatching(message) }),
    );
    expect(readdirSync(output.dir)).toEqual([]);
  });

  test.each([
    ['a folder', 'out'],
    ['a parent', 'parent/out'],
    ['a parent of where a link of ours points', 'ours/out'],
  ])('I69 a link in the place of %s that belongs to somebody else is refused', (_, path) => {
    if (process.getuid?.() !== 0) return console.info('only root may give files away');
    mkdirSync(join(dir, 'elsewhere/out'), { recursive: true });
    const link = join(dir, path === 'out' ? 'out' : 'parent');
    symlinkSync(path === 'out' ? 'elsewhere/out' : 'elsewhere', link);
    lchownSync(link, 4001, 4001);
    symlinkSync('parent', join(dir, 'ours'));
    output = { ...output, dir: join(dir, path) };
    expect(() => writeOutput(output, holding(), bundle, NOW)).toThrow(
      expect.objectContaining({
        code: 'file_mode',
        message: expect.stringContaining(`the link ${link} belongs`),
      }),
    );
    expect(readdirSync(join(dir, 'elsewhere/out'))).toEqual([]);
  });

  test('links of ours are followed, and a parent may be open to others', () => {
    chmodSync(dir, 0o777);
    mkdirSync(join(dir, 'real'));
    symlinkSync('real', join(dir, 'linked'));
    output = { ...output, dir: join(dir, 'linked/out') };
    writeOutput(output, holding(), bundle, NOW);
    expect(pairs()).toBe(true);
  });

  test('a folder that cannot be made is reported', () => {
    writeFileSync(output.dir, 'in the way');
    expect(() => writeOutput(output, holding(), bundle, NOW)).toThrow(
      expect.objectContaining({ code: 'file' }),
    );
    expect(lstatSync(output.dir).isFile()).toBe(true);
  });
});

/** Reads through one open folder, as a program does that wants a pair: where `..data` points decides for both. */
const READER = `
const { parentPort, workerData: { dir, shared } } = require('node:worker_threads');
const { readFileSync, realpathSync } = require('node:fs');
const { X509Certificate, createPrivateKey } = require('node:crypto');
let reads = 0, mismatched = 0;
Atomics.store(shared, 0, 1); Atomics.notify(shared, 0);
while (Atomics.load(shared, 1) === 0) {
  let certificate, key;
  try {
    const now = realpathSync(dir + '/..data');
    certificate = readFileSync(now + '/svid.pem');
    key = readFileSync(now + '/key.pem');
  } catch (error) {
    // The folder was replaced in between and is gone: a reader reads again, and never a mixture.
    if (error.code === 'ENOENT') continue;
    throw error;
  }
  reads += 1;
  if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) mismatched += 1;
}
parentPort.postMessage({ reads, mismatched });
`;
