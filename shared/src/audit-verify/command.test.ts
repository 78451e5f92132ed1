import { execFile, execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { appendFileSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execPath } from 'node:process';
import { promisify } from 'node:util';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder, root } from '../../../test/kit/processes.ts';
import { tileLog } from '../../../test/kit/tlog.ts';
import { Interrupted, type Io, runSingle } from '../cli/program.ts';
import { signCheckpoint } from '../tlog/checkpoint.ts';
import { noteKey, writeVerifierKey } from '../tlog/note.ts';
import { writeProof } from '../tlog/proof-text.ts';
import { readEntryProof } from '../tlog/read-log.ts';
import { verifyCommand } from './command.ts';
import { readIn } from './folder.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const key = noteKey('prod.example/chancery/log', publicKey);

const dir = makeFolder();
afterAll(() => removeFolder(dir));
const log = join(dir, 'log');
const at = (name: string): string => join(dir, name);
/** The program with what it imports, and no package beside it. */
const alone = join(dir, 'alone');
cpSync(join(root, 'shared/src'), join(alone, 'src'), { recursive: true });
cpSync(join(root, 'shared/package.json'), join(alone, 'package.json'));

function write(count: number): void {
  rmSync(log, { recursive: true, force: true });
  const { files, root: hash } = tileLog(Array.from({ length: count }, (_, n) => Buffer.from(`entry ${n}`)));
  const note = signCheckpoint({ size: count, root: hash }, key, privateKey);
  files.set('checkpoint', Buffer.from(note));
  files.set('verifier-key', Buffer.from(`${writeVerifierKey(key)}\n`));
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(log, path)), { recursive: true });
    writeFileSync(join(log, path), bytes);
  }
  writeFileSync(at(`kept-${count}`), note);
}

beforeEach(() => {
  write(1_000);
  write(600);
});

const program = join(alone, 'src/audit-verify/main.ts');
const run = (...args: string[]) =>
  promisify(execFile)(execPath, [program, ...args], { cwd: dir, timeout: 60_000 }).then(
    ({ stdout, stderr }) => ({ status: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({ ...error, status: error.code }),
  );
const own = ['--key', writeVerifierKey(key)];

test('alone, without any package, it verifies a good log, and says what that does not prove', async () => {
  const good = await run('log', ...own);
  expect(good).toMatchObject({ status: 0, stderr: '' });
  expect(good.stdout).toMatch(
    /^good: log: 600 entries are those that prod\.example\/chancery\/log signed, root \S+=\n/,
  );
  expect(good.stdout).toMatch(/\nnot proved without a checkpoint kept elsewhere/);
  expect((await run('log', ...own, '--from', 'kept-600')).stdout).toMatch(
    /\ngood: they begin with those .* kept-600\n$/,
  );
});

test('with the key of the folder it warns', async () => {
  const { status, stderr } = await run('log');
  expect(status).toBe(0);
  expect(stderr).toMatch(/^warning: the key is that of log\/verifier-key, which comes with the log/);
});

test('a bad log is status 1, and its first bad entry is named', async () => {
  appendFileSync(join(log, 'tile/entries/001'), 'x');
  expect(await run('log', ...own)).toMatchObject({
    status: 1,
    stdout: 'BAD  tile/entries/001 has 1 bytes after its last entry\n',
  });
  const json = await run('log', ...own, '--from', 'kept-1000', '--json');
  expect(json.status).toBe(1);
  expect(JSON.parse(json.stdout)).toMatchObject({
    good: false,
    entries: 600,
    findings: [
      { entry: 600, problem: expect.stringMatching(/^entries 600 to 999 are missing/) },
      { entry: 256 },
    ],
  });
});

test.each([
  [['none'], /none is not a folder/],
  [['log', 'log'], /give one folder/],
  [['log', '--key', 'none'], /none cannot be read/],
  [['log', '--key', 'a+b'], /a verifier key is NAME/],
  [['log', '--from', 'none'], /none cannot be read/],
  [['log', '--form', 'x'], /did you mean --from/],
])('%j cannot be meant: status 2', async (args, says) => {
  const { status, stderr } = await run(...args);
  expect(status).toBe(2);
  expect(stderr).toMatch(says);
  expect(stderr).toMatch(/\nsee chancery-audit-verify --help\n$/);
});

test('a folder that is no log is status 2, and a kept checkpoint that cannot be read is named', async () => {
  mkdirSync(at('empty'), { recursive: true });
  const told = await run('empty', ...own);
  expect(told).toMatchObject({
    status: 2,
    stdout: '',
    stderr: expect.stringMatching(/it is no copy of an audit log/),
  });
  writeFileSync(at('crlf'), 'a\r\n\r\n');
  const kept = await run('log', ...own, '--from', 'kept-600', '--from', 'crlf');
  expect(kept).toMatchObject({ status: 2, stderr: expect.stringMatching(/: crlf: /) });
});

test('a kept checkpoint of another key, and a file that cannot be read, are status 2', async () => {
  const stranger = generateKeyPairSync('ed25519');
  const other = noteKey(key.name, stranger.publicKey);
  writeFileSync(at('other'), signCheckpoint({ size: 1, root: Buffer.alloc(32) }, other, stranger.privateKey));
  const { status, stderr } = await run('log', ...own, '--from', 'other');
  expect([status, stderr]).toEqual([
    2,
    expect.stringMatching(/^chancery-audit-verify: .* is not signed by prod/),
  ]);
  rmSync(join(log, 'tile/0/000'));
  mkdirSync(join(log, 'tile/0/000'));
  const refused = { status: 2, stderr: expect.stringMatching(/tile\/0\/000 is no regular file\n$/) };
  expect(await run('log', ...own)).toMatchObject(refused);
  rmSync(join(log, 'tile/0/000'), { recursive: true });
  execFileSync('mkfifo', [join(log, 'tile/0/000')]);
  expect(await run('log', ...own)).toMatchObject(refused);
});

test('without a folder it says so, and a script that lost its variable does not go on', async () => {
  expect(await run()).toMatchObject({
    status: 2,
    stdout: '',
    stderr: expect.stringContaining('give one folder'),
  });
});

test('a file of the key may have "+" in its name, and in those of its folders', async () => {
  mkdirSync(at('c++'), { recursive: true });
  writeFileSync(at('c++/key+1'), `${writeVerifierKey(key)}\n`);
  expect(await run('log', '--key', 'c++/key+1')).toMatchObject({ status: 0, stderr: '' });
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('%s ends it while it reads', async (signal, status) => {
  const stop = new AbortController();
  const shown: string[] = [];
  const io = { out: () => {}, err: () => {}, signal: stop.signal } as unknown as Io;
  const progress = (line: string): void => {
    shown.push(line);
    stop.abort(new Interrupted(signal));
  };
  const single = { name: 'chancery-audit-verify', version: '1', command: verifyCommand };
  expect(await runSingle(single, [log, ...own], { ...io, progress })).toBe(status);
  // One step of the bar, and its removal.
  expect(shown).toEqual([expect.stringMatching(/ 256 of 600 entries$/), '']);
});

describe('the proof of one entry', () => {
  const proof = async (change: (text: string) => string = (text) => text) => {
    writeFileSync(at('proof'), change(writeProof(await readEntryProof(577, readIn(log), key))));
    return run('--proof', 'proof', ...own);
  };
  const extra = (text: string) => `extra ${Buffer.from(text).toString('base64')}\n`;

  test('is verified without the log, and the entry printed', async () => {
    expect(await proof()).toEqual({
      status: 0,
      stdout: 'good: proof: entry 577 of 600 that prod.example/chancery/log signed:\nentry 577\n',
      stderr: '',
    });
    expect(JSON.parse((await run('--proof', 'proof', ...own, '--json')).stdout)).toEqual({
      ...{ good: true, origin: 'prod.example/chancery/log', index: 577, size: 600, entry: 'entry 577' },
    });
  });

  test.each([
    ['another entry', (text: string) => text.replace(extra('entry 577'), extra('entry 578'))],
    ['another index', (text: string) => text.replace('index 577', 'index 576')],
    ['a hash less', (text: string) => text.replace(/(index 577\n)[^\n]+\n/, '$1')],
    ['another signature', (text: string) => text.replace(/.{9}\n$/, 'AAAAAAA=\n')],
  ])('I313 with %s is bad', async (_, change) => {
    expect(await proof(change)).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^BAD {2}proof: /),
    });
    expect(JSON.parse((await run('--proof', 'proof', ...own, '--json')).stdout)).toMatchObject({
      good: false,
    });
  });

  test('I313 by another key is bad', async () => {
    await proof();
    const other = noteKey(key.name, generateKeyPairSync('ed25519').publicKey);
    expect(await run('--proof', 'proof', '--key', writeVerifierKey(other))).toMatchObject({ status: 1 });
  });

  test('without the entry, or of another kind, proves nothing: status 2', async () => {
    const bare = await proof((text) => text.replace(extra('entry 577'), ''));
    expect(bare).toMatchObject({ status: 2, stderr: expect.stringMatching(/does not have the entry/) });
    expect(await proof(() => 'x')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/is not a proof/),
    });
    await proof();
    expect(await run('--proof', 'proof')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/give --key/),
    });
    const both = await run('log', '--proof', 'proof', ...own);
    expect(both).toMatchObject({ status: 2, stderr: expect.stringMatching(/neither a folder nor --from/) });
  });
});

test('it says what it is for', async () => {
  expect((await run('--help')).stdout).toMatch(/^usage: chancery-audit-verify \[DIR\] \[flags\]\n/);
  expect((await run('--version')).stdout).toMatch(/^chancery-audit-verify \d/);
});
