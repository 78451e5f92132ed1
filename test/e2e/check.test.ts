/** `check` finds what `serve` would refuse, and changes nothing. */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { readCaConfig } from '@chancery/ca/config.ts';
import { startCa } from '@chancery/ca/serve.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority, makeLeaf } from '../kit/certificates.ts';
import { type CaFolder, makeCa, makeFolder, removeFolder } from '../kit/processes.ts';

const TRUST_DOMAIN = 'check.example';

const dir = makeFolder();
afterAll(() => removeFolder(dir));

const ownUid = process.getuid?.() ?? 0;
const deps = { clock: systemClock, log: silentLog, random: randomBytes, ownUid, version: 'test' };

const root = makeAuthority('Manufacturer');
const leaf = makeLeaf(`spiffe://${TRUST_DOMAIN}/web`, root);
const pems = [leaf, root].map(({ certificate }) => writePem('CERTIFICATE', certificate.der));

let ca: CaFolder;
beforeAll(async () => {
  writeFileSync(join(dir, 'roots.pem'), pems.join(''));
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { unix: {}, tpm: { roots: ['roots.pem'] } } });
});

test('the key of a standby root is on this machine until somebody moves it, which check says', async () => {
  const says =
    /^(warning: attestors.*\n)?warning: the key of root \w+, which stands by, is on this machine \(dataDir\/standby\): /;
  expect(await ca.cli('check')).toMatchObject({ status: 0, stderr: expect.stringMatching(says) });
  renameSync(join(dir, 'data/standby'), join(dir, 'standby-elsewhere'));
  expect((await ca.cli('check')).stderr).not.toMatch(says);
});

test('an unusable root of a file is a warning at serve and check, and an error at check --strict', async () => {
  const says = 'attestors.tpm: roots.pem: certificate 1 of 2 is skipped: an issuer is not an authority';
  expect(await ca.cli('check')).toMatchObject({ status: 0, stderr: `warning: ${says}\n` });
  expect(await ca.cli('check', '--strict')).toEqual({
    status: 2,
    stdout: '',
    stderr: `chancery-ca: ${says}\n`,
  });
  const running = await ca.serve();
  await running.stop();
  expect(running.log()).toMatch(new RegExp(`"level":"warn".*"file":"roots.pem","msg":"${says}"`));
});

describe('of the data folder', () => {
  const at = (name: string): string => join(dir, name);
  let saved: string;
  beforeAll(async () => {
    const running = await ca.serve();
    await ca.apply([
      { kind: 'Identity', name: 'w', platform: 'unix', id: `spiffe://${TRUST_DOMAIN}/w` },
      { kind: 'Identity', name: 't', platform: 'tpm', id: `spiffe://${TRUST_DOMAIN}/t` },
    ]);
    await running.stop();
    saved = makeFolder();
    cpSync(dir, saved, { recursive: true });
  });
  afterAll(() => removeFolder(saved));

  const listing = (): unknown =>
    readdirSync(at('data'), { recursive: true, withFileTypes: true })
      .map((each) => join(each.parentPath, each.name))
      .map((path) => [path, statSync(path).mtimeMs, statSync(path).size])
      .toSorted();
  const edit = (change: (sql: DatabaseSync) => void): void => {
    const db = new DatabaseSync(at('data/ca.db'));
    change(db);
    db.close();
  };
  const rewrite = (from: RegExp | string, to: string): void =>
    writeFileSync(ca.config, readFileSync(ca.config, 'utf8').replace(from, to));
  test('nothing is wrong, and nothing changes, with the CA stopped or running', async () => {
    const before = listing();
    expect(await ca.cli('check')).toMatchObject({ status: 0 });
    expect(listing()).toEqual(before);
    const running = await ca.serve();
    const says =
      /is good: .*\na CA serves with this dataDir: chancery-ca 0\.1\.0 since \S+Z, ready; .*not looked at\n/;
    expect(await ca.cli('check')).toMatchObject({ status: 0, stdout: expect.stringMatching(says) });
    const { stdout } = await ca.cli('check', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ isServing: true });
    await running.stop('SIGKILL');
    const killed = listing();
    expect((await ca.cli('check')).stdout).toMatch(/is good: [^\n]*\n$/);
    expect(listing()).toEqual(killed);
  });

  test('a CA that serves says what it has in force, and what a restart would change', async () => {
    const text = readFileSync(ca.config, 'utf8');
    const running = await ca.serve();
    const checked = await ca.cli('check');
    expect(checked.stdout).toMatch(/^it has in force: 2 resources \(version 1\), 0 revocations$/m);
    expect(checked.stdout).toMatch(/^ {2}root [0-9a-f]+: standby, until \S+Z$/m);
    expect(checked.stdout).toMatch(/^ {2}intermediate [0-9a-f]+: active, until \S+Z$/m);
    expect(checked.stdout).toMatch(/a restart would load what it has: nothing differs\n$/);

    writeFileSync(ca.config, `${text}logLevel: debug\n`);
    writeFileSync(join(dir, 'roots.pem'), pems.toReversed().join(''));
    const { stdout } = await ca.cli('check');
    expect(stdout).toMatch(
      /would change .*:\n {2}logLevel: "info", and in the file "debug"\n {2}roots\.pem: [0-9a-f]+/,
    );
    const json = JSON.parse((await ca.cli('check', '--json')).stdout) as { restart: object[] };
    expect(json).toMatchObject({
      serving: { version: '0.1.0', policy: 1 },
      restart: [{ name: 'logLevel' }, {}],
    });

    // It listens no more, and still has the database.
    rmSync(at('data/admin.sock'));
    const silent = await ca.cli('check');
    expect(silent.stderr).toMatch(
      /warning: a process uses this dataDir, and does not say what it has: no CA is serving/,
    );
    expect(silent).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/its data was not looked at\n$/),
    });
    await running.stop();
    writeFileSync(ca.config, text);
    writeFileSync(join(dir, 'roots.pem'), pems.join(''));
  });

  test.each<[string, () => void, RegExp]>([
    [
      'dataDir is missing',
      () => rmSync(at('data'), { recursive: true }),
      /data is missing: .* init --resume/,
    ],
    [
      'a file is in its place',
      () => {
        rmSync(at('data'), { recursive: true });
        writeFileSync(at('data'), '');
      },
      /data: a folder is expected, found a file/,
    ],
    [
      'others may write in it',
      () => chmodSync(at('data'), 0o777),
      /others may write in \S+data: mode 777; chmod go-w \S+data$/m,
    ],
    ['a socket has a file in its way', () => writeFileSync(at('data/join.sock'), ''), /is not a socket/],
    ['the database is gone', () => rmSync(at('data/ca.db')), /no root yet|older than the CA that last ran/],
    [
      'the database is damaged',
      () => writeFileSync(at('data/ca.db'), 'x'.repeat(8192)),
      /ca\.db: file is not a d/,
    ],
    ['the schema is newer', () => edit((db) => db.exec('PRAGMA user_version = 99')), /has schema 99/],
    [
      'the generation is ahead',
      () => writeFileSync(at('data/keys/generation'), '999999\n'),
      /database is older/,
    ],
    ['the root is lost', () => edit((db) => db.exec('DELETE FROM authorities')), /there is no root yet/],
    [
      'the trust domain is another',
      () => rewrite(TRUST_DOMAIN, 'other.example'),
      /config has trustDomain other\.example, the root of this dataDir is of spiffe:\/\/check\.example/,
    ],
    [
      'no key signs',
      () => {
        for (const name of readdirSync(at('data/keys')))
          if (name.endsWith('.key')) rmSync(at(`data/keys/${name}`));
      },
      /\.key could not be opened/,
    ],
    [
      'a resource names an attestor that was taken out',
      () => rewrite(/ *tpm:\n(?: {4}.*\n)+/, ''),
      /Identity\/t/,
    ],
  ])('%s: check and serve refuse', async (_, spoil, says) => {
    const text = readFileSync(ca.config, 'utf8');
    spoil();
    try {
      const checked = await ca.cli('check');
      expect(checked).toMatchObject({ stdout: '', stderr: expect.stringMatching(says) });
      expect(checked.status).not.toBe(0);
      await expect((async () => startCa(readCaConfig(ca.config), deps))()).rejects.toThrow();
    } finally {
      rmSync(at('data'), { recursive: true, force: true });
      cpSync(join(saved, 'data'), at('data'), { recursive: true, preserveTimestamps: true });
      writeFileSync(ca.config, text);
    }
  });

  test('a resource that an older release accepted and apply refuses is a warning, of check and of the start', async () => {
    edit((db) => db.exec(`UPDATE registry SET resources = replace(resources, '"name":"t"', '"name":"t-"')`));
    const says =
      /Identity\/t- is in force, but apply refuses it \(name: a name is lower-case .*\): apply a set that has it mended/;
    expect(await ca.cli('check')).toMatchObject({ status: 0, stderr: expect.stringMatching(says) });
    expect((await ca.cli('check', '--strict')).stderr).toMatch(says);
    const warnings: string[] = [];
    const log = { ...deps.log, warn: (_: object, message: string) => void warnings.push(message) };
    const running = await startCa(readCaConfig(ca.config), { ...deps, log });
    await running.close();
    expect(warnings).toContainEqual(expect.stringMatching(says));
  });

  test('what is past its until, and a folder for copies that is missing, are warnings', async () => {
    const text = readFileSync(ca.config, 'utf8');
    const file = at('ended.yaml');
    const ended = { kind: 'Identity', name: 'old', platform: 'unix', id: `spiffe://${TRUST_DOMAIN}/old` };
    writeFileSync(file, JSON.stringify({ ...ended, until: '2020-01-01T00:00:00Z' }));
    writeFileSync(ca.config, `${text}audit: { checkpointCopies: ./no-mount }\n`);
    const checked = await ca.cli('check', '-f', file, '--json');
    writeFileSync(ca.config, text);
    expect(checked).toMatchObject({ status: 0 });
    expect(JSON.parse(checked.stdout)).toMatchObject({ resources: 1 });
    expect(checked.stderr).toMatch(
      /^warning: audit\.checkpointCopies: \S+no-mount is no folder: while it is/m,
    );
    expect(checked.stderr).toMatch(/^warning: Identity\/old is off: its until \(2020-01-01T00:00:00Z\) has/m);
    expect(JSON.parse((await ca.cli('check', '--json')).stdout)).not.toHaveProperty('resources');
  });

  test('a newest record in the future is a warning, and an error with --strict', async () => {
    edit((db) => db.prepare('UPDATE audit SET at = ?').run(Date.now() + 3_600_000));
    expect(await ca.cli('check')).toMatchObject({
      status: 0,
      stderr: expect.stringMatching(/in the future/),
    });
    expect((await ca.cli('check', '--strict')).status).not.toBe(0);
  });
});
