/** From an offline root to one of the CA, and on to another offline one; the CA is killed behind every step. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
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

const TRUST_DOMAIN = 'rotating.example';
const PATIENCE = { timeout: 60_000, interval: 200 };
const folder = makeFolder();
const at = (name: string): string => join(folder, name);
let answers = 0;

const ceremony = async (root: string, ...args: string[]): Promise<Ran> => {
  const ran = await runProgram(CA_MAIN, ['ceremony', ...args, '--dir', at(root)]);
  expect(ran).toMatchObject({ status: 0 });
  return ran;
};
/** A root on another machine. */
async function makeRoot(name: string): Promise<void> {
  await ceremony(name, 'init', '--trust-domain', TRUST_DOMAIN);
  await ceremony(name, 'export', '-o', at(`${name}.pem`));
}

let ca: CaFolder;
let serving: Running;
let agent: AgentFolder;
let running: Running | undefined;
beforeAll(async () => {
  await makeRoot('first');
  ca = await makeCa(at('ca'), TRUST_DOMAIN, { attestors: { unix: {} }, intermediateTtl: '30d' }, [
    ...['--root', at('first.pem')],
  ]);
  serving = await ca.serve();
  await ca.saveBundle();
  const id = `spiffe://${TRUST_DOMAIN}/w`;
  await ca.apply([{ kind: 'Identity', name: 'w', platform: 'unix', id, x509: { ttl: '1m' } }]);
  agent = makeAgent(ca, 'agent', { evidence: { unix: {} }, outputs: [{ dir: 'out' }] });
  await answerAll('first');
  running = await agent.run();
  await vi.waitFor(() => expect(existsSync(svid())).toBe(true), PATIENCE);
});
afterAll(async () => {
  await running?.stop('SIGKILL');
  await serving.stop('SIGKILL');
  removeFolder(folder);
});

const svid = (): string => join(agent.dir, 'out', 'svid.pem');
const bundle = (): string => join(agent.dir, 'out', 'bundle.pem');
const statusOf = async () => JSON.parse((await ca.cli('rotate', 'status', '--json')).stdout);
const ok = async (...verb: string[]): Promise<Ran> => {
  const ran = await ca.cli(...verb);
  expect(ran).toMatchObject({ status: 0 });
  return ran;
};
async function killed(): Promise<void> {
  await serving.stop('SIGKILL');
  serving = await ca.serve();
}

/** Carries every request that waits for this root to it, and the answers back. */
async function answerAll(root: string): Promise<void> {
  const pem = readFileSync(at(`${root}.pem`), 'utf8');
  const serial = execFileSync('openssl', ['x509', '-noout', '-serial'], { input: pem, encoding: 'utf8' });
  const own = serial.trim().replace('serial=', '').toLowerCase();
  const { requests } = await statusOf();
  const asked = (requests as { root: string; file: string }[]).filter((each) => each.root === own);
  expect(asked).not.toEqual([]);
  for (const { file } of asked) {
    answers += 1;
    await ceremony(root, 'sign', file, '-o', at(`answer-${answers}.pem`), '--yes');
    await ok('authorities', 'import', at(`answer-${answers}.pem`));
  }
}

/** What a verifier with the agent's bundle, and openssl, say of the agent's certificate. */
const verify = (...roots: string[]): string =>
  String(
    execFileSync('openssl', [
      ...['verify', '-x509_strict', '-purpose', 'sslclient', ...roots.flatMap((each) => ['-CAfile', each])],
      ...['-untrusted', svid(), svid()],
    ]),
  );
const next = () =>
  vi.waitFor(async () => expect(await ca.cli('rotate', 'next', '--yes')).toMatchObject({ status: 0 }), {
    timeout: 150_000,
    interval: 1000,
  });
const activeRoot = async () =>
  ((await statusOf()).roots as { serial: string; state: string }[]).find(({ state }) => state === 'active')
    ?.serial;

test('from the offline root to one of the CA: what it waits for is said, and survives a kill at each step', async () => {
  const before = await activeRoot();
  const begun = await ok('rotate');
  expect(begun.stdout).toMatch(
    /waits, before the step that .*:\n {2}root [0-9a-f]+ is offline, and has to vouch for root/,
  );
  expect(begun.stdout).toMatch(/is asked for its word for the new root since .*: the rotation waits for it/);
  expect(readdirSync(join(ca.dir, 'data', 'requests'))).toEqual([expect.stringMatching(/^voucher-/)]);
  expect(await ca.cli('rotate', 'next')).toMatchObject({ status: 1, stderr: expect.stringMatching(/vouch/) });
  await killed();
  expect((await statusOf()).stage).toBe('prepared');
  await answerAll('first');
  await killed();
  expect(await statusOf()).toMatchObject({ stage: 'published', requests: [] });
  await next();
  await killed();
  expect((await statusOf()).stage).toBe('retiring');
  await next();
  await killed();
  expect(await statusOf()).toMatchObject({ stage: 'idle' });
  expect(await activeRoot()).not.toBe(before);
  await vi.waitFor(() => expect(verify(bundle())).toMatch(/OK/), PATIENCE);
  expect(() => verify(at('first.pem'))).toThrow();
}, 400_000);

test('to another offline root, there and back and there again', async () => {
  await makeRoot('second');
  const dry = await ok('rotate', '--root', at('second.pem'), '--dry-run');
  expect(dry.stdout).toContain('nothing was changed');
  for (const rollback of [true, false]) {
    if (!rollback) await makeRoot('third');
    const root = rollback ? 'second' : 'third';
    const begun = await ok('rotate', '--root', at(`${root}.pem`));
    expect(begun.stdout).toMatch(/offline, and has to sign an intermediate/);
    await killed();
    await answerAll(root);
    await killed();
    if (rollback) await ok('rotate', 'rollback');
  }
  await next();
  await killed();
  await next();
  await vi.waitFor(() => expect(verify(at('third.pem'))).toMatch(/OK/), PATIENCE);
  expect(readFileSync(bundle(), 'utf8')).toContain(readFileSync(at('third.pem'), 'utf8'));
  expect(serving.log()).not.toContain('"level":"error"');
}, 400_000);
