/**
 * I268: a log that somebody changed, by both programs that verify it: `chancery-ca audit verify` and
 * `chancery-audit-verify`, without a checkpoint that was kept elsewhere, and with one.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { audit } from '@chancery/ca/cli/audit/audit.ts';
import { paths } from '@chancery/ca/config.ts';
import { type LogKey, openLogKey } from '@chancery/ca/log/log-key.ts';
import { verifyCommand } from '@chancery/shared/audit-verify/command.ts';
import { type Io, runProgram, runSingle } from '@chancery/shared/cli/program.ts';
import { createKek, readKek } from '@chancery/shared/keys/kek.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { signCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { writeVerifierKey } from '@chancery/shared/tlog/note.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../../kit/processes.ts';
import { tileLog } from '../../kit/tlog.ts';

const SIZE = 1_000;
const N = 300;
const dir = makeFolder();
afterAll(() => removeFolder(dir));
const { log, logKey } = paths(join(dir, 'data'));
const [config, good, kept] = [join(dir, 'ca.yaml'), join(dir, 'good'), join(dir, 'kept')];
const entriesOf = (size: number) => Array.from({ length: size }, (_, n) => Buffer.from(`{"n":"entry ${n}"}`));

let key: LogKey;
beforeAll(async () => {
  const path = join(dir, 'key-encryption-key');
  createKek(path);
  writeFileSync(
    config,
    'trustDomain: prod.example\ndataDir: data\nkeyEncryptionKey: key-encryption-key\nattestors: { unix: {} }\n',
  );
  const trustDomain = parseTrustDomain('prod.example');
  const at = { path: logKey, keyEncryptionKey: readKek(path), trustDomain };
  key = await openLogKey(at, { checkpoint: async () => undefined });
  write(good, entriesOf(SIZE), /./);
  cpSync(join(good, 'checkpoint'), kept);
});
beforeEach(() => {
  rmSync(log, { recursive: true, force: true });
  cpSync(good, log, { recursive: true });
});

/** The files of a log with these entries, signed, of which those that match come into the folder. */
function write(folder: string, entries: readonly Uint8Array[], which: RegExp): void {
  const { files, root } = tileLog(entries);
  const note = signCheckpoint({ size: entries.length, root }, key.verifier, key.privateKey);
  for (const [path, bytes] of files.set('checkpoint', Buffer.from(note))) {
    if (!which.test(path)) continue;
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
}

const flip = (path: string, at: number): void => {
  const bytes = readFileSync(join(log, path));
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  writeFileSync(join(log, path), bytes);
};
const changed = (change: (entries: Buffer[]) => void, which: RegExp): void => {
  const entries = entriesOf(SIZE);
  change(entries);
  write(log, entries, which);
};
const REMOVE = (entries: Buffer[]) => void entries.splice(N, 1);
const EXCHANGE = (entries: Buffer[]) => void entries.splice(N, 2, ...entries.slice(N, N + 2).toReversed());
const REPLACE = (entries: Buffer[]) => void entries.splice(N, 1, Buffer.from('{"n":"another"}'));
const ADD = (entries: Buffer[]) => void entries.splice(N, 0, Buffer.from('{"n":"another"}'));

/** What each program prints, and its status: they must not differ. */
async function verified(...flags: readonly string[]) {
  const outcome = async (run: (io: Io) => Promise<number>) => {
    const said: string[] = [];
    const signal = new AbortController().signal;
    const io = {
      out: (text: string) => void said.push(text),
      err: (text: string) => void said.push(text),
      signal,
    };
    return { status: await run(io as unknown as Io), said: said.join('') };
  };
  const program = { name: 'chancery-ca', says: '', version: '1', commands: { audit } };
  const online = await outcome((io) =>
    runProgram(program, ['audit', 'verify', '--config', config, ...flags], io),
  );
  const own = ['--key', writeVerifierKey(key.verifier)];
  const single = { name: 'chancery-audit-verify', version: '1', command: verifyCommand };
  expect(await outcome((io) => runSingle(single, [log, ...own, ...flags], io))).toEqual(online);
  return online;
}

const bad = (says: RegExp) => ({ status: 1, said: expect.stringMatching(says) });
const GOOD = { status: 0, said: expect.stringMatching(/^good: /) };
const ENTRY = /^BAD {2}entry 300: tile\/entries\/001 does not have the entry that was signed/;
const OTHER =
  /^BAD {2}entries and tiles agree .* not with the signed root of 1000 entries: it is another history\n$/;
const KEPT = /the first 1000 entries are not those of the kept checkpoint .*kept: it is another history/;

test('nothing was changed', async () => {
  expect(await verified()).toEqual(GOOD);
  expect(await verified('--from', kept)).toEqual(GOOD);
});

describe('I268 noticed without a kept checkpoint, with the first bad entry:', () => {
  test.each<[string, () => void, RegExp]>([
    ['a byte of an entry', () => flip('tile/entries/002', 600), /^BAD {2}entry 5\d\d: tile\/entries\/002 /],
    [
      'a byte of a tile',
      () => flip('tile/0/002', 323),
      /^BAD {2}entry 522: tile\/0\/002 does not have its hash/,
    ],
    ['a byte of the last tile', () => flip('tile/0/003.p/232', 32), /^BAD {2}entry 769: tile\/0\/003/],
    ['a byte of a tile above', () => flip('tile/1/000.p/3', 33), /^BAD {2}entries 256 to 511: tile\/1\/000/],
    [
      'a byte of the size in the checkpoint',
      () => flip('checkpoint', 'prod.example/chancery/log\n'.length),
      /^BAD {2}checkpoint: /,
    ],
    [
      'a byte of its signature',
      () => flip('checkpoint', readFileSync(kept).length - 8),
      /^BAD {2}checkpoint: /,
    ],
    ['an entry removed', () => changed(REMOVE, /entries/), ENTRY],
    ['two entries exchanged', () => changed(EXCHANGE, /entries/), ENTRY],
    ['an entry replaced', () => changed(REPLACE, /entries/), ENTRY],
    ['an entry added', () => changed(ADD, /entries/), ENTRY],
    [
      'an entry replaced, with its tile',
      () => changed(REPLACE, /entries|tile\/0/),
      /^BAD {2}entries 256 to 511: tile\/1/,
    ],
    ['the tree rebuilt with another history', () => changed(REPLACE, /^tile/), OTHER],
    [
      'the last entries cut',
      () => rmSync(join(log, 'tile/entries/003.p'), { recursive: true }),
      /^BAD {2}entry 768: .* is missing/,
    ],
  ])('%s', async (_, change, says) => {
    change();
    expect(await verified()).toEqual(bad(says));
    expect(await verified('--from', kept)).toMatchObject({ status: 1 });
  });
});

describe('I268 signed by who has the key of the log, and proved by a kept checkpoint alone:', () => {
  test.each<[string, () => void, RegExp]>([
    ['an entry replaced', () => changed(REPLACE, /./), KEPT],
    ['two entries exchanged', () => changed(EXCHANGE, /./), KEPT],
    ['an entry added', () => changed(ADD, /./), KEPT],
    [
      'an entry removed',
      () => changed(REMOVE, /./),
      /^BAD {2}entry 999 is missing: the kept checkpoint .*kept has 1000/,
    ],
    [
      'the last entries cut',
      () => write(log, entriesOf(990), /./),
      /^BAD {2}entries 990 to 999 are missing: the kept/,
    ],
  ])('%s', async (_, change, says) => {
    rmSync(log, { recursive: true });
    change();
    expect(await verified()).toEqual(GOOD);
    expect(await verified('--from', kept)).toEqual(bad(says));
  });
});
