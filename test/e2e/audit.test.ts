/** The audit log as an operator and an auditor use it: a real CA that is killed, its commands, and a copy elsewhere. */
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { openCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { readVerifierKey } from '@chancery/shared/tlog/note.ts';
import { readProof, verifyProof } from '@chancery/shared/tlog/proof-text.ts';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  CA_MAIN,
  type CaFolder,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  root,
  runProgram,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'log.example';
const ID = `spiffe://${TRUST_DOMAIN}/w`;
const PATIENCE = { timeout: 60_000, interval: 200 };
const VERIFY = join(root, 'shared/src/audit-verify/main.ts');

let dir: string;
let ca: CaFolder;
let serving: Running;
beforeAll(async () => {
  dir = makeFolder();
  const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: ID, x509: { ttl: '1h' } };
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [identity]));
  const agent = makeAgent(ca, 'agent', { evidence: { unix: {} } });
  const running = await agent.run();
  await running.stop();
});
afterAll(async () => {
  await serving.stop('SIGKILL');
  removeFolder(dir);
});

const log = () => join(ca.dir, 'data/log');
const key = () => readVerifierKey(readFileSync(join(log(), 'verifier-key'), 'utf8').trim());
const lines = async (...args: string[]) => {
  const { stdout } = await ca.cli('audit', 'query', '--json', ...args);
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
};
/** All events of now are entries with an index. */
const integrated = () =>
  vi.waitFor(
    async () => expect((await lines('--all')).every(({ entry }) => entry !== null)).toBe(true),
    PATIENCE,
  );
const verify = (folder: string, ...args: string[]) => runProgram(VERIFY, [folder, ...args]);

test('what happened is found by identity, certificate, code, decision, time and text', async () => {
  await integrated();
  const [issuing] = await lines('--identity', ID, '--text', 'svid.issuing');
  expect(issuing).toMatchObject({ type: 'svid.issuing', id: ID, entry: expect.any(Number) });
  const ofSerial = await lines('--serial', issuing.serial);
  expect(ofSerial.map(({ type }) => type)).toEqual(['svid.issuing', 'svid.issued']);
  expect(await lines('--identity', `spiffe://${TRUST_DOMAIN}`)).toEqual([]);
  expect((await lines('--decision', 'allowed')).map(({ type }) => type)).toContain('node.attested');
  expect(await lines('--code', 'csr_pop')).toEqual([]);
  expect(await lines('--until', '1h')).toEqual([]);
  const typed = issuing.serial.toUpperCase().replaceAll(/(..)(?!$)/g, '$1:');
  expect(await lines('--serial', typed)).toEqual(ofSerial);
  const all = await lines('--all');
  expect(all.map(({ entry }) => entry)).toEqual(all.map((_, index) => index));
  expect(await lines('--limit', '2')).toEqual(all.slice(-2));
  const nothing = /^no entry matches \(--foreign looks at what gateways say of servers of others, too\)\n$/;
  expect((await ca.cli('audit', 'query', '--code', 'csr_pop')).stderr).toMatch(nothing);
  expect((await ca.cli('audit', 'query', '--server', 'gti')).stderr).toMatch(
    /^no entry matches, and there is no McpServer\/gti now/,
  );
  const { stdout } = await ca.cli('audit', 'query', '--limit', '1', '--serial', issuing.serial);
  expect(stdout).toMatch(/^ENTRY +TIME +EVENT +ABOUT\n\d+ .*svid\.issued +serial=\w+ sha256=\w+\n$/);
});

test.each([
  [['query', '--serial', '40d1'], /--serial is a whole serial number/],
  [['query', '--identity', 'agents/w'], /--identity is one whole SPIFFE ID/],
  [['query', '--code', 'csr_pob'], /did you mean csr_pop\?/],
  [['query', '--since', '5m', '--until', '1h'], /--until is not after --since/],
  [['query', '--from', 'x'], /--from is a flag of `audit verify`/],
  [['verify', '--since', '1h'], /--since is a flag of `audit query` and `audit export`/],
  [['export', '--limit', '3'], /--limit is a flag of `audit query`/],
  [['query', '--format', 'ocsf'], /--format is a flag of `audit export`/],
  [['export', '--format', 'oscf'], /--format is one of json, ocsf; did you mean ocsf\?/],
  [['query', '--all', '--limit', '3'], /leave --limit out/],
])('%j is refused: it would look like an answer', async (args, says) => {
  expect(await ca.cli('audit', ...args)).toMatchObject({ status: 2, stderr: expect.stringMatching(says) });
});

test('export prints the entries that query prints, or events of OCSF, of a range', async () => {
  await integrated();
  const { stdout } = await ca.cli('audit', 'export');
  expect(
    stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line)),
  ).toEqual(await lines('--all'));
  const ocsf = await ca.cli('audit', 'export', '--format', 'ocsf', '--decision', 'allowed', '--since', '1d');
  const events = ocsf.stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
  expect(events.length).toBeGreaterThan(0);
  for (const each of events) expect(each).toMatchObject({ status_id: 1, metadata: { version: '1.8.0' } });
  expect(await ca.cli('audit', 'export', '--until', '2000-01-01')).toMatchObject({ status: 0, stdout: '' });
});

test('the certificates on record agree with issuers, resources and the log', async () => {
  await integrated();
  const good = await ca.cli('audit', 'certificates', '--json');
  expect([good.status, JSON.parse(good.stdout).problems]).toEqual([0, []]);
  expect(JSON.parse(good.stdout).checked).toBeGreaterThan(1);
});

test('--follow prints what is new', async () => {
  const following = execFile(execPath, [
    CA_MAIN,
    'audit',
    'query',
    '--follow',
    '--json',
    '--config',
    ca.config,
  ]);
  let printed = '';
  following.stdout?.on('data', (chunk) => {
    printed += chunk;
  });
  await vi.waitFor(() => expect(printed).toMatch(/svid\.issued/), PATIENCE);
  await ca.cli('revoke', ID, '--reason', 'keyCompromise', '--for', '1s');
  await vi.waitFor(() => expect(printed).toMatch(/revocation\.made/), PATIENCE);
  expect(printed.match(/svid\.issued/g)).toHaveLength((await lines('--text', 'svid.issued')).length);
  const ended = new Promise((resolve) => following.once('exit', resolve));
  following.kill('SIGINT');
  await ended;
});

test('an entry is proved to somebody who has the key and a checkpoint', async () => {
  await integrated();
  const { stdout } = await ca.cli('audit', 'proof', '0');
  const proof = readProof(Buffer.from(stdout));
  expect(verifyProof(proof, proof.extra, key()).size).toBeGreaterThan(3);
  expect(Buffer.from(proof.extra).toString()).toMatch(/^{"at":"[^"]+","type":"authority\.certifying"/);
  const file = join(ca.dir, 'proof');
  writeFileSync(file, stdout);
  expect(
    execFileSync(execPath, [VERIFY, '--proof', file, '--key', join(log(), 'verifier-key')], {
      encoding: 'utf8',
    }),
  ).toMatch(/^good: .*: entry 0 of \d+ that .* signed:\n{"at":/);
  const json = JSON.parse((await ca.cli('audit', 'proof', '0', '--json')).stdout);
  expect(json).toMatchObject({ index: 0, entry: Buffer.from(proof.extra).toString() });
  const none = await ca.cli('audit', 'proof', '100000');
  expect(none).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/no entry 100000: the log has \d+, from 0 on/),
  });
});

test('a cron job can keep the newest checkpoint elsewhere', async () => {
  const printed = await ca.cli('audit', 'checkpoint');
  expect(printed).toMatchObject({ status: 0, stderr: '' });
  expect(openCheckpoint(Buffer.from(printed.stdout), key()).size).toBeGreaterThan(0);
  const kept = join(dir, 'by-cron');
  writeFileSync(kept, printed.stdout);
  const { stdout, status } = await ca.cli('audit', 'verify', '--from', kept);
  expect({ stdout, status }).toMatchObject({ status: 0, stdout: expect.stringContaining('kept checkpoint') });
  const { note, size } = JSON.parse((await ca.cli('audit', 'checkpoint', '--json')).stdout);
  expect(note.split('\n')[1]).toBe(String(size));
});

test('a checkpoint that another key has signed is not printed', async () => {
  const [file, own] = [join(log(), 'checkpoint'), join(dir, 'own-checkpoint')];
  cpSync(file, own);
  writeFileSync(file, readFileSync(own, 'utf8').replace(/.{8}\n$/, 'AAAAAAA=\n'));
  const { stdout, status, stderr } = await ca.cli('audit', 'checkpoint');
  cpSync(own, file);
  expect({ stdout, status }).toEqual({ stdout: '', status: 1 });
  expect(stderr).toMatch(/^chancery-ca: the signature of log\.example/);
});

test('killed again and again, the CA has one history, of which every kept checkpoint is a part', async () => {
  const kept: string[] = [];
  for (let kill = 0; kill < 5; kill += 1) {
    await Promise.all(
      Array.from({ length: 5 }, () => ca.cli('revoke', ID, '--reason', 'superseded', '--for', '1s')),
    );
    await serving.stop('SIGKILL');
    const name = join(dir, `kept-${kill}`);
    cpSync(join(log(), 'checkpoint'), name);
    kept.push('--from', name);
    serving = await ca.serve();
  }
  await integrated();
  const good = await ca.cli('audit', 'verify', ...kept);
  expect(good).toMatchObject({ status: 0, stderr: '' });
  expect(good.stdout.match(/they begin with those of the kept checkpoint/g)).toHaveLength(5);
});

test('a copy that was changed, and one that was cut, are bad by the program of the auditor', async () => {
  await integrated();
  const copy = join(dir, 'copy');
  cpSync(log(), copy, { recursive: true });
  const own = ['--key', readFileSync(join(copy, 'verifier-key'), 'utf8').trim()];
  expect(await verify(copy, ...own)).toMatchObject({ status: 0, stdout: expect.stringMatching(/^good: /) });
  const [earlier, now] = [join(dir, 'kept-0'), join(dir, 'now')];
  cpSync(join(copy, 'checkpoint'), now);
  cpSync(earlier, join(copy, 'checkpoint'));
  const cut = await verify(copy, ...own, '--from', now);
  expect(cut).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/^BAD {2}entries \d+ to \d+ are missing/),
  });
  cpSync(now, join(copy, 'checkpoint'));
  const size = readFileSync(now, 'utf8').split('\n')[1] ?? '';
  const bundle = join(copy, `tile/entries/000.p/${size}`);
  writeFileSync(bundle, readFileSync(bundle, 'latin1').replace('authority', 'autority_'), 'latin1');
  expect(await verify(copy, ...own)).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(
      /^BAD {2}entry 0: tile\/entries\/000\.p\/\d+ does not have the entry that was signed\n$/,
    ),
  });
});

test('I209 a log whose files are spoiled is bad, and where they are gone they are written again', async () => {
  await integrated();
  await serving.stop();
  const size = readFileSync(join(log(), 'checkpoint'), 'utf8').split('\n')[1];
  const bundle = join(log(), `tile/entries/000.p/${size}`);
  writeFileSync(bundle, readFileSync(bundle, 'latin1').replace('"type"', '"typo"'), 'latin1');
  expect(await ca.cli('audit', 'verify')).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/^BAD {2}entry 0: tile\/entries\/000\.p\/\d+ does not have the entry/),
  });
  rmSync(join(log(), 'tile'), { recursive: true });
  serving = await ca.serve();
  await vi.waitFor(async () => expect((await ca.cli('audit', 'verify')).status).toBe(0), PATIENCE);
});

test('I115 a CA whose dataDir is from a backup signs nothing until its copies are elsewhere, and serves', async () => {
  const [own, copies] = [join(dir, 'restored'), join(dir, 'copies')];
  mkdirSync(copies);
  const config = { audit: { checkpointCopies: copies } };
  const one = await serveUnixCa(own, 'restored.example', [], config);
  const sizes = () => readdirSync(copies).map((name) => Number(name.split('.')[0]));
  await vi.waitFor(() => expect(sizes()).toHaveLength(1), PATIENCE);
  await one.serving.stop();
  const [data, backup] = [join(own, 'data'), join(own, 'backup')];
  cpSync(data, backup, { recursive: true });
  const revoke = () => one.ca.cli('revoke', 'spiffe://restored.example/w', '--reason', 'superseded');
  let running = await one.ca.serve();
  await revoke();
  await running.stop();
  running = await one.ca.serve();
  await vi.waitFor(() => expect(Math.max(...sizes())).toBeGreaterThan(sizeIn(backup)), PATIENCE);
  await running.stop();
  rmSync(data, { recursive: true });
  cpSync(backup, data, { recursive: true });
  running = await one.ca.serve();
  try {
    const metrics = async () => (await fetch(`http://127.0.0.1:${one.ca.httpPort}/metrics`)).text();
    await vi.waitFor(
      async () => expect(await metrics()).toMatch(/^chancery_audit_log_failing 1$/m),
      PATIENCE,
    );
    expect(running.log()).toMatch(
      /the copy \d+\.checkpoint in .*: the database is older\. Put the newest ca\.db/,
    );
    expect((await revoke()).status).toBe(0);
    expect(sizeIn(data)).toBe(sizeIn(backup));
    renameSync(copies, join(dir, 'evidence'));
    mkdirSync(copies);
    await vi.waitFor(() => expect(sizeIn(data)).toBeGreaterThan(sizeIn(backup)), PATIENCE);
    await vi.waitFor(
      async () => expect(await metrics()).toMatch(/^chancery_audit_log_failing 0$/m),
      PATIENCE,
    );
  } finally {
    await running.stop('SIGKILL');
  }
});

const sizeIn = (data: string): number =>
  Number(readFileSync(join(data, 'log/checkpoint'), 'utf8').split('\n')[1]);
