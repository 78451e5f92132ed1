import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createKek, passphraseFileOf, readKek } from './kek.ts';

const WORDS = 'correct horse battery staple';
const folder = fs.mkdtempSync(join(tmpdir(), 'passphrase-'));
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));
const [kek, words] = [join(folder, 'kek'), join(folder, 'words')];
const put = (text: string, mode = 0o600): void => {
  fs.rmSync(words, { force: true });
  fs.writeFileSync(words, text);
  fs.chmodSync(words, mode);
};
const refused = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

describe('a key-encryption key from a passphrase', () => {
  let made: string;
  beforeAll(() => {
    put(`${WORDS}\n`);
    createKek(kek, words);
    made = fs.readFileSync(kek, 'utf8');
  });
  beforeEach(() => {
    put(`${WORDS}\n`);
    fs.writeFileSync(kek, made);
  });

  test('is what openssl derives with the costs and the salt of its file', () => {
    const [, salt = ''] = fs.readFileSync(kek, 'utf8').split(' ');
    const options = [
      `pass:${WORDS}`,
      `hexsalt:${Buffer.from(salt, 'base64').toString('hex')}`,
      ...['n:131072', 'r:8', 'p:1', 'maxmem_bytes:300000000'],
    ].flatMap((each) => ['-kdfopt', each]);
    const derived = execFileSync('openssl', ['kdf', '-keylen', '32', ...options, 'SCRYPT'], {
      encoding: 'utf8',
    });
    expect(Buffer.from(readKek(kek)).toString('hex')).toBe(derived.trim().replaceAll(':', '').toLowerCase());
    expect([passphraseFileOf(kek), fs.statSync(kek).mode & 0o777]).toEqual([words, 0o600]);
    expect(fs.readFileSync(kek, 'utf8')).not.toContain('horse');
  });

  test('is another one each time it is made', () => {
    const first = readKek(kek);
    fs.rmSync(kek);
    createKek(kek, words);
    expect(readKek(kek)).not.toEqual(first);
  });

  test('does not depend on how an accent is typed, or on the end of the line', () => {
    put('un café très très long\r\n');
    fs.rmSync(kek);
    createKek(kek, words);
    const first = readKek(kek);
    put('un cafe\u0301 tre\u0300s tre\u0300s long');
    expect(readKek(kek)).toEqual(first);
  });

  test.each([
    [
      'is another one',
      () => put('correct horse battery stable'),
      'file',
      /has another passphrase than the one/,
    ],
    ['is short', () => put('fifteen letters'), 'file', /of at least 16 characters is expected, found 15/],
    ['has two lines', () => put(`${WORDS}\n${WORDS}\n`), 'file', /one line with the passphrase is expected/],
    ['is open to others', () => put(WORDS, 0o640), 'file_mode', /is open to others/],
    ['is missing', () => fs.rmSync(words), 'file', /could not be opened/],
  ] as const)('I181 whose passphrase %s is refused', (_, spoil, code, message) => {
    spoil();
    expect(() => readKek(kek)).toThrow(refused(code, message));
  });

  test.each([
    ['other costs', (text: string) => text.replace('17-8-1', '1-8-1')],
    ['a short salt', (text: string) => text.replace(/ [^ ]{8}/, ' ')],
    ['a relative path', (text: string) => text.replace(` ${words}`, ' words')],
    ['a second line', (text: string) => `${text}${text}`],
  ])('I181 whose file has %s is refused', (_, spoil) => {
    fs.writeFileSync(kek, spoil(fs.readFileSync(kek, 'utf8')));
    expect(() => readKek(kek)).toThrow(refused('file', /is not base64/));
  });
});
