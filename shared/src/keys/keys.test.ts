import { generateKeyPairSync, verify } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { readPem, writePem } from '../der/pem.ts';
import { utf8 } from '../ground/bytes.ts';
import { readKeyFile, writeKeyFile } from './file.ts';
import { createKek, readKek } from './kek.ts';
import { generateKey, signerOf, spkiOf } from './key.ts';
import { readProtectedFile, writeFileAtomic } from './secret-file.ts';

const folder = fs.mkdtempSync(join(os.tmpdir(), 'chancery-keys-'));
afterAll(() => fs.rmSync(folder, { recursive: true }));

let files = 0;
const fresh = (): string => {
  files += 1;
  return join(folder, `file-${files}`);
};
const LABEL = 'CHANCERY ENCRYPTED KEY';
const refusal = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

function written(text: string | Uint8Array, mode = 0o600): string {
  const path = fresh();
  fs.writeFileSync(path, text);
  fs.chmodSync(path, mode);
  return path;
}

test.each([
  ['ecdsa-p256', 'sha256'],
  ['ecdsa-p384', 'sha384'],
] as const)('a signer signs as its key does: %s with %s', (algorithm, digest) => {
  const signer = signerOf(generateKey(algorithm));
  expect(signer.algorithm).toBe(algorithm);
  const data = utf8('data');
  const signature = signer.sign(data) as Uint8Array;
  const publicKey = { key: Buffer.from(signer.spki), format: 'der', type: 'spki' } as const;
  expect(verify(digest, data, publicKey, signature)).toBe(true);
});

test.each([
  ['P-521', generateKeyPairSync('ec', { namedCurve: 'P-521' })],
  ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 })],
])('a key on %s signs nothing', (_, { privateKey }) => {
  expect(() => signerOf(privateKey)).toThrow('P-256 or P-384');
});

describe('a key file', () => {
  const kekPath = fresh();
  createKek(kekPath);
  const kek = readKek(kekPath);
  const key = generateKey();
  const path = fresh();
  writeKeyFile(path, key, kek);
  const block = (): Buffer => Buffer.from(readPem(fs.readFileSync(path, 'latin1'), LABEL, 'file')[0] ?? []);
  const bent = (at: number): string => {
    const bytes = block();
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return written(writePem(LABEL, bytes));
  };

  test('gives back its key, whatever the kind', () => {
    expect(readKeyFile(path, kek).equals(key)).toBe(true);
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    writeKeyFile(path, rsa, kek);
    expect(readKeyFile(path, kek).equals(rsa)).toBe(true);
    writeKeyFile(path, key, kek);
  });

  test('is 0600 and does not hold the key in clear; a second one looks different', () => {
    expect(fs.statSync(path).mode & 0o777).toBe(0o600);
    const [again, clear] = [block(), key.export({ type: 'pkcs8', format: 'der' })];
    expect(again.includes(clear.subarray(clear.length - 32))).toBe(false);
    writeKeyFile(path, key, kek);
    expect(block().subarray(65).equals(again.subarray(65))).toBe(false);
  });

  test.each([
    ['another version', () => bent(0), /of version 0, not 1/],
    ['a bent salt', () => bent(1), /does not open/],
    ['a bent digest of the key', () => bent(33), /does not open/],
    ['a bent ciphertext', () => bent(65), /does not open/],
    ['a bent tag', () => bent(block().length - 1), /does not open/],
    ['half a tag', () => written(writePem(LABEL, block().subarray(0, 70))), /ends early/],
    ['no salt', () => written(writePem(LABEL, block().subarray(0, 20))), /salt ends early/],
    ['two keys', () => written(fs.readFileSync(path, 'latin1').repeat(2)), /more than one key/],
    ['a key in clear', () => written(key.export({ type: 'pkcs8', format: 'pem' })), /is "PRIVATE KEY", not/],
    ['17 KB', () => written('x'.repeat(17 * 1024)), /17408 bytes, at most 16384/],
  ])('refuses %s', (_, spoiled, message) => {
    const spoiledPath = spoiled();
    expect(() => readKeyFile(spoiledPath, kek)).toThrow(refusal('file', message));
  });

  test('refuses to replace a key-encryption key', () => {
    expect(() => createKek(kekPath)).toThrow(refusal('file', /is there already/));
    expect(readKek(kekPath)).toEqual(kek);
  });

  test('refuses another key-encryption key', () => {
    const other = fresh();
    createKek(other);
    expect(() => readKeyFile(path, readKek(other))).toThrow(refusal('file', /does not open/));
  });

  test.each([
    ['31 bytes', Buffer.alloc(31, 1).toString('base64'), /31 bytes of key, not 32/],
    ['what is not base64', `${Buffer.alloc(32).toString('base64')}!`, /is not base64/],
  ])('refuses %s as a key-encryption key', (_, text, message) => {
    const spoiled = written(text);
    expect(() => readKek(spoiled)).toThrow(refusal('file', message));
  });
});

describe('a protected file', () => {
  test('may be a link of one’s own', () => {
    const link = fresh();
    fs.symlinkSync(written('secret'), link);
    expect(readProtectedFile(link, 10)).toEqual(Buffer.from('secret'));
  });

  test.each([
    ['readable by its group', () => written('x', 0o640), 'file_mode', /open to others: mode 640/],
    ['readable by all', () => written('x', 0o604), 'file_mode', /open to others: mode 604/],
    ['writable by all', () => written('x', 0o602), 'file_mode', /open to others: mode 602/],
    ['too large', () => written('x'.repeat(11)), 'file', /11 bytes, at most 10/],
    ['missing', fresh, 'file', /could not be opened/],
    ['a folder', () => folder, 'file', /is not a file/],
  ])('is refused when it is %s', (_, path, code, message) => {
    const found = path();
    expect(() => readProtectedFile(found, 10)).toThrow(refusal(code, message));
  });

  test.runIf(process.getuid?.() === 0)('is refused when it or its link belongs to somebody else', () => {
    const [file, link, own] = [written('x'), fresh(), fresh()];
    fs.symlinkSync(file, link);
    fs.symlinkSync(file, own);
    fs.lchownSync(link, 12345, 12345);
    expect(() => readProtectedFile(link, 10)).toThrow(
      refusal('file_mode', /the link .* belongs to uid 12345/),
    );
    fs.chownSync(file, 12345, 12345);
    expect(() => readProtectedFile(own, 10)).toThrow(refusal('file_mode', /file-\d+ belongs to uid 12345/));
  });
});

describe('an atomic write', () => {
  test('replaces the file with its mode and leaves nothing beside it', () => {
    const path = written('old', 0o644);
    writeFileAtomic(path, utf8('new'), 0o640, { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 });
    expect(fs.readFileSync(path, 'utf8')).toBe('new');
    expect(fs.statSync(path).mode & 0o777).toBe(0o640);
    expect(fs.readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('I93 says that there is no space left, keeps the file and leaves nothing beside it', () => {
    const path = written('old');
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
      syscall: 'write',
    });
    const write = vi.spyOn(fs, 'writeFileSync').mockImplementation(() => {
      throw full;
    });
    try {
      expect(() => writeFileAtomic(path, utf8('new'), 0o600)).toThrow(
        refusal('file', /could not be written: no space left on its disk. Free some$/),
      );
    } finally {
      write.mockRestore();
    }
    expect(fs.readFileSync(path, 'utf8')).toBe('old');
    expect(fs.readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('leaves nothing behind when it fails', () => {
    const path = join(folder, 'a-folder');
    fs.mkdirSync(path);
    expect(() => writeFileAtomic(path, utf8('new'), 0o600)).toThrow(refusal('file', /could not be written/));
    expect(fs.readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('does not follow a link that is there', () => {
    const target = written('untouched');
    const link = fresh();
    fs.symlinkSync(target, link);
    writeFileAtomic(link, utf8('new'), 0o600);
    expect(fs.readFileSync(target, 'utf8')).toBe('untouched');
    expect(fs.lstatSync(link).isSymbolicLink()).toBe(false);
  });
});

test('the SPKI of a private key is that of its public key', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  expect(spkiOf(privateKey)).toEqual(spkiOf(publicKey));
});
