/** What knows the old root alone, while that root retires: it joins, gets the whole bundle, and outlives the removal. */
import { execFile } from 'node:child_process';
import { hash, X509Certificate } from 'node:crypto';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readPem } from '@chancery/shared/der/pem.ts';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startIssuer, type TestIssuer } from '../kit/oidc/issuer.ts';
import {
  AGENT_MAIN,
  type CaFolder,
  makeAgent,
  makeCa,
  makeFolder,
  type Running,
  removeFolder,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'old.example';
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
let oldBundle: string;
let pin: string;
const running: Running[] = [];
beforeAll(async () => {
  dir = makeFolder();
  hub = await startIssuer({ now: () => new Date(), claims: workflow });
  const github = { preset: 'github', issuer: hub.url, claims: { repository_id: ['74'] } };
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { unix: {}, oidc: { github } } });
  serving = await ca.serve();
  // A file and a pin of the old root alone, as those of a CA that was made before there were standby roots.
  const { authorities } = JSON.parse((await ca.cli('authorities', '--json')).stdout);
  const spare = authorities.find(({ state }: { state: string }) => state === 'standby').serial;
  expect((await ca.cli('taint', spare, '--reason', 'none stands by', '--yes')).status).toBe(0);
  await ca.saveBundle();
  await ca.apply([identity('ci', 'oidc/github'), identity('file', 'unix'), identity('pin', 'unix')]);
  oldBundle = join(dir, 'old.pem');
  copyFileSync(ca.bundle, oldBundle);
  const { publicKey } = new X509Certificate(readFileSync(oldBundle));
  pin = hash('sha256', publicKey.export({ type: 'spki', format: 'der' }), 'hex');
});
afterAll(async () => {
  for (const each of running) await each.stop();
  await serving.stop();
  await hub.close();
  removeFolder(dir);
});

const statusOf = async (): Promise<{ stage: string; waits: string[] }> =>
  JSON.parse((await ca.cli('rotate', 'status', '--json')).stdout);
const rootsIn = (file: string) => readPem(readFileSync(file, 'latin1'), 'CERTIFICATE', 'bundle').length;

/** One certificate, by a TLS connection alone. Resolves with its files. */
async function job(name: string, trust: readonly string[]): Promise<{ svid: string; bundle: string }> {
  const to = ['--ca', `127.0.0.1:${ca.port}`, '--trust-domain', TRUST_DOMAIN, ...trust];
  const args = [AGENT_MAIN, 'issue', '--out', join(dir, name), '--json', '--timeout', '10s', ...to];
  const env = { ...process.env, GITHUB_ACTIONS: 'true', ...hub.env, XDG_RUNTIME_DIR: dir };
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  return JSON.parse(stdout).files;
}

/** Throws where openssl does not find a path from the certificate to the bundle. */
const verify = ({ svid, bundle }: { readonly svid: string; readonly bundle: string }) =>
  promisify(execFile)('openssl', ['verify', '-CAfile', bundle, '-untrusted', svid, svid]);

test('I99 with a bundle file, a pin, or as a job: all join while it retires, and agents go on after it', async () => {
  const early = await job('early', ['--bundle', oldBundle]);
  expect(rootsIn(early.bundle)).toBe(1);
  await ca.cli('rotate');
  // A certificate that was issued from now on counts as one with both roots, so its holder must have them.
  const published = await job('published', ['--bundle', oldBundle]);
  expect(rootsIn(published.bundle)).toBe(2);
  await vi.waitFor(async () => expect((await ca.cli('rotate', 'next', '--yes')).status).toBe(0), 60_000);
  expect((await statusOf()).stage).toBe('retiring');
  // A CA that starts now has the same certificate as one that runs on.
  await serving.stop();
  serving = await ca.serve();

  for (const trust of [
    ['--bundle', oldBundle],
    ['--pin', pin],
  ]) {
    const made = await job(`job${trust[0]}`, trust);
    expect(rootsIn(made.bundle)).toBe(2);
    await verify(made);
  }
  const address = `127.0.0.1:${ca.port}`;
  const folders = [
    { name: 'file', trust: { address, bundle: oldBundle, socket: ca.joinSocket } },
    { name: 'pin', trust: { address, pin, socket: ca.joinSocket } },
  ].map(({ name, trust }) =>
    makeAgent(ca, name, {
      ...{ ca: trust, evidence: { unix: {} }, id: `spiffe://${TRUST_DOMAIN}/${name}` },
      outputs: [{ dir: 'out' }],
    }),
  );
  for (const folder of folders) running.push(await folder.run());

  await vi.waitFor(async () => {
    if ((await statusOf()).stage === 'retiring') await ca.cli('rotate', 'next', '--yes');
    expect((await statusOf()).stage).toBe('idle');
  }, 120_000);
  await expect(job('late', ['--bundle', oldBundle])).rejects.toThrow();

  for (const { dir: at } of folders) {
    const [svid, bundle] = [join(at, 'out', 'svid.pem'), join(at, 'out', 'bundle.pem')];
    const before = readFileSync(svid, 'latin1');
    await vi.waitFor(() => {
      expect(rootsIn(bundle)).toBe(1);
      expect(readFileSync(svid, 'latin1')).not.toBe(before);
    }, 60_000);
    await verify({ svid, bundle });
    expect(readFileSync(bundle, 'latin1')).not.toBe(readFileSync(oldBundle, 'latin1'));
  }
  for (const agent of running) expect(agent.log()).not.toMatch(/could not be renewed|is refused/);
}, 300_000);
