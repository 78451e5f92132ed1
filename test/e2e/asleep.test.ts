/** Agents that slept through rotations come back by vouchers, and a thief of the old root moves none of them. */
import { execFile, spawn } from 'node:child_process';
import { cpSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { readPem } from '@chancery/shared/der/pem.ts';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startIssuer, type TestIssuer } from '../kit/oidc/issuer.ts';
import {
  AGENT_MAIN,
  type AgentFolder,
  type CaFolder,
  certificatesIn,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
  startProgram,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'asleep.example';
const workflow = {
  ...{ repository: 'octo-org/octo-repo', repository_id: '74', event_name: 'push' },
  ...{ job_workflow_ref: 'octo-org/octo-repo/.github/workflows/ci.yml@refs/heads/main' },
  ...{ run_id: '1', run_attempt: '1' },
};
const identity = (name: string, platform: string) => ({
  ...{ kind: 'Identity', name, platform, id: `spiffe://${TRUST_DOMAIN}/${name}` },
  x509: { ttl: '12s' },
});

let dir: string;
let hub: TestIssuer;
let ca: CaFolder;
let serving: Running;
let agents: Readonly<Record<'local' | 'frozen' | 'far', AgentFolder>>;
const running = new Map<string, Running>();
beforeAll(async () => {
  dir = makeFolder();
  hub = await startIssuer({ now: () => new Date(), claims: workflow });
  const github = { preset: 'github', issuer: hub.url, claims: { repository_id: ['74'] } };
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { unix: {}, oidc: { github } } });
  serving = await ca.serve();
  await ca.saveBundle();
  await ca.apply([identity('far', 'oidc/github'), identity('local', 'unix'), identity('frozen', 'unix')]);
  const folder = (name: string, evidence: object, more: object = {}) =>
    makeAgent(ca, name, {
      ...{ evidence, id: `spiffe://${TRUST_DOMAIN}/${name}`, outputs: [{ dir: 'out' }] },
      ...more,
    });
  agents = {
    local: folder('local', { unix: {} }),
    frozen: folder('frozen', { unix: {} }),
    far: folder(
      'far',
      { oidc: { issuer: 'github' } },
      { ca: { address: `127.0.0.1:${ca.port}`, bundle: ca.bundle } },
    ),
  };
  await Promise.all(Object.keys(agents).map((name) => wake(name)));
  await vi.waitFor(() => {
    for (const each of Object.values(agents)) expect(stateOf(each)).toMatchObject({ logKey: anyLogKey });
  }, 30_000);
});
afterAll(async () => {
  for (const each of running.values()) await each.stop('SIGKILL');
  await serving.stop();
  await hub.close();
  removeFolder(dir);
});

const anyLogKey = expect.stringMatching(/^asleep\.example\/chancery\/log\+/);
const env = () => ({ ...process.env, GITHUB_ACTIONS: 'true', ...hub.env });
const folderOf = (name: string) => agents[name as keyof typeof agents];
const fileOf = (name: string, file: string) => join(folderOf(name).dir, 'out', file);
const served = (name: string) => ({
  ...{ kind: 'McpServer', name, identity: `spiffe://${TRUST_DOMAIN}/local`, address: '127.0.0.1:1' },
});
const stateOf = ({ dir: at }: AgentFolder): { bundle: { authorities: string[] } } =>
  JSON.parse(readFileSync(join(at, 'data', 'state.json'), 'utf8'));
const rootsIn = (file: string) => readPem(readFileSync(file, 'latin1'), 'CERTIFICATE', 'bundle').length;
const stageOf = async () => JSON.parse((await ca.cli('rotate', 'status', '--json')).stdout).stage as string;

async function wake(name: string): Promise<void> {
  running.set(name, await startProgram(AGENT_MAIN, ['run', '--config', folderOf(name).config], env()));
}

/** As `wake`, for an agent that has no certificate to serve with. */
function stir(name: string): void {
  const args = [AGENT_MAIN, 'run', '--config', folderOf(name).config];
  const child = spawn(process.execPath, args, { env: env(), stdio: ['ignore', 'ignore', 'pipe'] });
  const logged: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => logged.push(text));
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal);
    await exited;
  };
  running.set(name, { child, log: () => logged.join(''), stop });
}

async function sleep(name: string): Promise<void> {
  await running.get(name)?.stop();
}

/** A whole rotation. */
async function rotated(): Promise<void> {
  expect(await ca.cli('rotate')).toMatchObject({ status: 0 });
  expect(await ca.cli('rotate', '--auto')).toMatchObject({ status: 0 });
  expect(await stageOf()).toBe('idle');
}

const certificates = () =>
  new Map(Object.keys(agents).map((name) => [name, readFileSync(fileOf(name, 'svid.pem'), 'latin1')]));

/** The agent has a certificate of now, under the roots of now and no others. */
async function expectBack(name: string, before: string): Promise<void> {
  const [svid, bundle] = [fileOf(name, 'svid.pem'), fileOf(name, 'bundle.pem')];
  await vi.waitFor(async () => {
    expect(readFileSync(svid, 'latin1')).not.toBe(before);
    // One that signs, and one that stands by.
    expect(rootsIn(bundle)).toBe(2);
    expect(readFileSync(bundle, 'latin1')).toBe(certificatesIn((await ca.cli('bundle')).stdout));
  }, 60_000);
  await promisify(execFile)('openssl', ['verify', '-CAfile', bundle, '-untrusted', svid, svid]);
}

test('two rotations later: one that was stopped, one that stood still, one that has TLS alone', async () => {
  const before = certificates();
  await sleep('local');
  await sleep('far');
  running.get('frozen')?.child.kill('SIGSTOP');
  await rotated();
  await rotated();
  running.get('frozen')?.child.kill('SIGCONT');
  await wake('local');
  await wake('far');
  for (const [name, was] of before) await expectBack(name, was);
  expect(running.get('far')?.log()).toMatch(/slept through a rotation/);
}, 300_000);

test('I88 a thief who has the root alone moves no agent: one that is awake, and one that was asleep', async () => {
  const data = join(dir, 'data');
  await sleep('far');
  const known = stateOf(folderOf('far')).bundle.authorities;
  await serving.stop();
  renameSync(data, `${data}.kept`);
  cpSync(`${data}.kept`, data, { recursive: true });
  // All that the CA had, except the key of its log.
  rmSync(join(data, 'log'), { recursive: true, force: true });
  rmSync(join(data, 'keys', 'log.key'));
  const db = new DatabaseSync(join(data, 'ca.db'));
  db.exec('DELETE FROM checkpoints');
  db.close();
  const thief = await ca.serve();
  try {
    expect((await ca.cli('rotate')).status).toBe(0);
    await vi.waitFor(() => {
      for (const name of ['local', 'frozen'])
        expect(running.get(name)?.log()).toMatch(/are not vouched for by one that is trusted/);
    }, 60_000);
    expect(await ca.cli('rotate', 'next', '--yes-to-stragglers', '--reason', 'theft')).toMatchObject({
      status: 0,
    });
    // I199: it also revokes, and widens what may be called.
    const revoked = await ca.cli('revoke', `spiffe://${TRUST_DOMAIN}/api`, '--reason', 'keyCompromise');
    expect(revoked).toMatchObject({ status: 0, stdout: expect.stringContaining('is in force') });
    await ca.apply([identity('local', 'unix'), identity('frozen', 'unix'), served('stolen')]);
    await vi.waitFor(() => {
      for (const name of ['local', 'frozen'])
        expect(running.get(name)?.log()).toMatch(/the note is not signed by asleep\.example/);
    }, 60_000);
    for (const name of ['local', 'frozen'])
      expect(stateOf(folderOf(name))).toMatchObject({ policy: { resources: [] }, revocations: { list: [] } });
    stir('far');
    await vi.waitFor(async () => {
      if ((await stageOf()) === 'retiring') await ca.cli('rotate', 'next', '--yes');
      expect(await stageOf()).toBe('idle');
    }, 60_000);
    await vi.waitFor(
      () => expect(running.get('far')?.log()).toMatch(/no voucher leads to the others/),
      90_000,
    );
  } finally {
    await thief.stop();
    rmSync(data, { recursive: true });
    renameSync(`${data}.kept`, data);
  }
  for (const name of Object.keys(agents)) expect(stateOf(folderOf(name)).bundle.authorities).toEqual(known);
  const before = certificates();
  serving = await ca.serve();
  for (const [name, was] of before) await expectBack(name, was);
}, 300_000);

test('I102 a thief who has all that the CA had until a taint moves no agent that has heard of it', async () => {
  const data = join(dir, 'data');
  await serving.stop();
  cpSync(data, `${data}.stolen`, { recursive: true });
  serving = await ca.serve();
  const [signs] = JSON.parse((await ca.cli('rotate', 'status', '--json')).stdout).roots;
  expect(await ca.cli('taint', signs.serial, '--reason', 'theft', '--yes')).toMatchObject({ status: 0 });
  expect(await ca.cli('rotate', 'standby')).toMatchObject({ status: 0 });
  for (const [name, was] of certificates()) await expectBack(name, was);
  const known = new Map(Object.keys(agents).map((name) => [name, stateOf(folderOf(name))]));
  const from = new Map([...running].map(([name, { log }]) => [name, name === 'far' ? 0 : log().length]));
  // One that starts anew has heard it before: what it keeps on its disk says so.
  await sleep('far');
  await serving.stop();
  renameSync(data, `${data}.kept`);
  renameSync(`${data}.stolen`, data);
  const thief = await ca.serve();
  try {
    await ca.apply([identity('local', 'unix'), identity('frozen', 'unix'), served('stolen')]);
    stir('far');
    await vi.waitFor(() => {
      for (const name of Object.keys(agents))
        expect(running.get(name)?.log().slice(from.get(name))).toMatch(
          /is under no root that this agent trusts/,
        );
    }, 90_000);
    for (const [name, { bundle }] of known)
      expect(stateOf(folderOf(name))).toMatchObject({ bundle, policy: { resources: [] } });
  } finally {
    await thief.stop();
    rmSync(data, { recursive: true });
    renameSync(`${data}.kept`, data);
  }
  const before = certificates();
  serving = await ca.serve();
  for (const [name, was] of before) await expectBack(name, was);
}, 300_000);
