/** A CA whose root is on another machine: real programs, from the first request to the next. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  type AgentFolder,
  CA_MAIN,
  type CaFolder,
  makeAgent,
  makeCa,
  makeFolder,
  type Ran,
  type Running,
  removeFolder,
  runProgram,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'offline.example';
const ID = `spiffe://${TRUST_DOMAIN}/w`;
const PATIENCE = { timeout: 60_000, interval: 200 };
const folder = makeFolder();
const offline = join(folder, 'offline');
const at = (name: string): string => join(folder, name);
const ceremony = async (...args: string[]): Promise<Ran> => {
  const ran = await runProgram(CA_MAIN, ['ceremony', ...args, '--dir', offline]);
  expect(ran).toMatchObject({ status: 0 });
  return ran;
};

let ca: CaFolder;
let serving: Running;
let agent: AgentFolder;
let running: Running | undefined;
beforeAll(async () => {
  await ceremony('init', '--trust-domain', TRUST_DOMAIN);
  await ceremony('export', '-o', at('root.pem'));
  ca = await makeCa(at('ca'), TRUST_DOMAIN, { attestors: { unix: {} }, intermediateTtl: '90d' }, [
    '--root',
    at('root.pem'),
  ]);
  serving = await ca.serve();
  await ca.saveBundle();
  await ca.apply([{ kind: 'Identity', name: 'w', platform: 'unix', id: ID, x509: { ttl: '1h' } }]);
  agent = makeAgent(ca, 'agent', { evidence: { unix: {} }, outputs: [{ dir: 'out', crl: true }] });
});
afterAll(async () => {
  await running?.stop('SIGKILL');
  await serving.stop('SIGKILL');
  removeFolder(folder);
});

const get = async (path: string) => (await fetch(`http://127.0.0.1:${ca.httpPort}${path}`)).text();
const statusOf = async () => JSON.parse((await ca.cli('rotate', 'status', '--json')).stdout);
const handshake = () =>
  new Promise<void>((resolve, reject) => {
    const options = { port: ca.port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] };
    const socket = tls.connect(options, () => resolve()).once('error', reject);
    socket.once('close', () => socket.destroy());
  });
const request = () => {
  const requests = join(ca.dir, 'data', 'requests');
  const [name = 'none'] = existsSync(requests)
    ? readdirSync(requests).filter((each) => each.startsWith('intermediate-'))
    : [];
  return join(requests, name);
};

/** The request for an intermediate among those in this folder. */
const within = (name: string): string => {
  const [found = 'none'] = readdirSync(at(name)).filter((each) => each.startsWith('intermediate-'));
  return join(at(name), found);
};

test('I169 it waits, says so everywhere, and issues nothing, across a restart', async () => {
  for (const restart of [false, true]) {
    if (restart) {
      await serving.stop('SIGKILL');
      const checked = await ca.cli('check');
      expect(checked).toMatchObject({ status: 0, stderr: expect.stringContaining('nothing can be issued') });
      serving = await ca.serve();
    }
    expect(await get('/readyz')).toMatch(/the root is offline and has signed no intermediate/);
    expect(await get('/metrics')).toMatch(
      /chancery_authority_request_seconds\{request="intermediate",root="[0-9a-f]+",what="left"\} 0/,
    );
    const pem = readFileSync(request(), 'utf8');
    expect((await statusOf()).requests).toMatchObject([
      { kind: 'intermediate', holds: 'issuing', until: null, pem },
      { kind: 'crl', holds: 'list', until: null },
    ]);
    await expect(handshake()).rejects.toThrow(/alert/);
  }
  expect(serving.log()).not.toContain('"level":"error"');
});

test('the signed answer is imported, and agents get certificates whose path is as openssl wants it', async () => {
  await ceremony('sign', request(), '-o', at('answer.pem'), '--ttl', '90d', '--yes');
  const imported = await ca.cli('authorities', 'import', at('answer.pem'));
  expect(imported).toMatchObject({ status: 0, stdout: expect.stringContaining('signs from now on') });
  await vi.waitFor(async () => expect(await get('/readyz')).toMatch(/^ready/), PATIENCE);
  running = await agent.run();
  const svid = join(agent.dir, 'out', 'svid.pem');
  await vi.waitFor(() => expect(existsSync(svid)).toBe(true), PATIENCE);
  const args = ['verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile', at('root.pem')];
  expect(String(execFileSync('openssl', [...args, '-untrusted', svid, svid]))).toMatch(/OK/);
  const blocks = readFileSync(svid, 'utf8').split('BEGIN CERTIFICATE').length - 1;
  // The leaf and its intermediate: peers have the root.
  expect(blocks).toBe(2);
  expect(existsSync(request())).toBe(false);
  const again = await ca.cli('authorities', 'import', at('answer.pem'));
  expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('imported before') });
});

test('another intermediate is asked for early, and signs as soon as it is imported', async () => {
  const asked = await ca.cli('authorities', 'request', '-o', at('next'));
  expect(asked).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('without it nothing is issued from'),
  });
  const serial = async () =>
    JSON.parse((await ca.cli('issued', '--json', '--limit', '1')).stdout)[0]?.issuer as string | undefined;
  await ceremony('sign', within('next'), '-o', at('next-answer.pem'), '--yes');
  expect((await ca.cli('authorities', 'import', at('next-answer.pem'), '--dry-run')).status).toBe(0);
  expect(existsSync(request())).toBe(true);
  expect((await ca.cli('authorities', 'import', at('next-answer.pem'))).status).toBe(0);
  expect((await statusOf()).requests).toMatchObject([{ kind: 'crl' }]);
  expect(await serial()).not.toBe('');
  const { stdout } = await ca.cli('audit', 'query', '--text', 'authority.imported', '--json');
  expect(stdout.trim().split('\n').length).toBeGreaterThanOrEqual(2);
  const again = await ca.cli('rotate', '--intermediate');
  expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('offline') });
});

test('its revocation list is signed there, imported, and enforced by openssl with that of its intermediate', async () => {
  const [file] = (await statusOf()).requests.map((each: { file: string }) => each.file);
  const signed = await ceremony('sign', file, '-o', at('list.pem'), '--yes');
  expect(signed.stdout).toMatch(/the revocation list of this root, with 0 certificates/);
  const dry = await ca.cli('authorities', 'import', at('list.pem'), '--dry-run');
  expect(dry).toMatchObject({ status: 0, stdout: expect.stringMatching(/would be in force, until/) });
  expect((await ca.cli('authorities', 'import', at('list.pem'))).status).toBe(0);
  expect((await statusOf()).requests).toEqual([]);
  const [svid, crl] = ['svid.pem', 'crl.pem'].map((name) => join(agent.dir, 'out', name));
  const args = ['verify', '-x509_strict', '-crl_check_all', '-CAfile', at('root.pem'), '-CRLfile', crl ?? ''];
  const verify = () => String(execFileSync('openssl', [...args, '-untrusted', svid ?? '', svid ?? '']));
  await vi.waitFor(() => expect(verify()).toMatch(/OK/), PATIENCE);
  const again = await ca.cli('authorities', 'import', at('list.pem'));
  expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('imported before') });
  await serving.stop('SIGKILL');
  serving = await ca.serve();
  await vi.waitFor(
    async () => expect(await get('/metrics')).toMatch(/crl_expiry_seconds\{kind="root"/),
    PATIENCE,
  );
});

test('a restored CA has what it asked for before the backup, and takes the answer that comes after it', async () => {
  await ca.cli('authorities', 'request', '-o', at('third'));
  const copy = at('copy');
  expect((await ca.cli('backup', copy)).status).toBe(0);
  await ceremony('sign', within('third'), '-o', at('third-answer.pem'), '--yes');
  await serving.stop('SIGKILL');
  renameSync(join(ca.dir, 'data'), join(ca.dir, 'lost'));
  const loss = ['--accept-loss', '--reason', 'the disk is gone'];
  expect(await ca.cli('restore', copy, ...loss)).toMatchObject({ status: 0 });
  serving = await ca.serve();
  expect((await statusOf()).requests).toMatchObject([
    { kind: 'intermediate', pem: readFileSync(within('third'), 'utf8') },
  ]);
  const imported = await ca.cli('authorities', 'import', at('third-answer.pem'));
  expect(imported).toMatchObject({ status: 0, stdout: expect.stringContaining('signs from now on') });
  await vi.waitFor(async () => expect(await get('/readyz')).toMatch(/^ready/), PATIENCE);
  expect(await get('/metrics')).toMatch(/crl_expiry_seconds\{kind="root"/);
});

test('init is for a folder without a CA: another run with the same root changes nothing', async () => {
  const again = await runProgram(CA_MAIN, ['init', '--root', at('root.pem'), '--dir', ca.dir]);
  expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('exists already') });
  await serving.stop();
  const resumed = await runProgram(CA_MAIN, ['init', '--root', at('root.pem'), '--dir', ca.dir, '--resume']);
  expect(resumed).toMatchObject({ status: 0 });
  serving = await ca.serve();
  const { roots } = await statusOf();
  expect(roots.map(({ state }: { state: string }) => state)).toEqual(['active', 'standby']);
});
