/**
 * A client in Go, written from docs/wire.md and the protos alone, joins a CA. If Go or its modules are missing, the
 * tests say so and are left out.
 */
import { execFile } from 'node:child_process';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writePem } from '@chancery/shared/der/pem.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../kit/ca/ca.ts';
import { type ApiServer, startApiServer } from '../kit/kubernetes/api-server.ts';
import { DEFAULT_TOKEN_SECONDS, type Pod } from '../kit/kubernetes/cluster.ts';
import { kubeconfigOf } from '../kit/kubernetes/kubeconfig.ts';
import { usernameOf } from '../kit/kubernetes/tokens.ts';
import { makeFolder, removeFolder, root } from '../kit/processes.ts';
import { makeSoftwareTpm, type SoftwareTpm } from '../kit/tpm/swtpm.ts';

const run = promisify(execFile);
const BUF = join(root, 'node_modules/.bin/buf');
/** A first build compiles gRPC, on a busy machine too. */
const BUILD_MS = 600_000;
const FETCH_MS = 120_000;

const dir = makeFolder();
const at = (name: string): string => join(dir, name);
let missing: string | undefined;
beforeAll(async () => {
  cpSync(join(root, 'test/interop/go'), dir, { recursive: true });
  missing = await fetchModules();
  if (missing === undefined) await build();
  else console.warn(`the client in Go is not tested: ${missing}`);
}, BUILD_MS);
afterAll(() => removeFolder(dir));
beforeEach(({ skip }) => skip(missing !== undefined, missing));

async function fetchModules(): Promise<string | undefined> {
  try {
    await run('go', ['mod', 'download'], { cwd: dir, timeout: FETCH_MS });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The messages are generated from the protos as they are now. */
async function build(): Promise<void> {
  await run('go', ['build', '-o', 'protoc-gen-go', 'google.golang.org/protobuf/cmd/protoc-gen-go'], {
    cwd: dir,
  });
  const plugin = { local: at('protoc-gen-go'), out: at('gen'), opt: ['paths=source_relative'] };
  const template = JSON.stringify({ version: 'v2', plugins: [plugin] });
  await run(BUF, ['generate', '--template', template], { cwd: join(root, 'proto') });
  await run('go', ['build', '-o', 'join', '.'], { cwd: dir });
}

/** What the client prints: the SPIFFE ID, the serial, and that it may renew before the end. */
async function joinInGo(ca: TestCa, where: 'tls' | 'unix', flags: readonly string[]): Promise<string> {
  writeFileSync(at('bundle.pem'), ca.bundle.authorities.map((der) => writePem('CERTIFICATE', der)).join(''));
  const address = where === 'tls' ? `127.0.0.1:${ca.running.port}` : `unix:${ca.joinSocket}`;
  const fixed = ['-ca', address, '-bundle', at('bundle.pem'), '-trust-domain', TRUST_DOMAIN];
  const { stdout } = await run(at('join'), [...fixed, ...flags], { timeout: 60_000 });
  return stdout;
}

const idOf = (name: string): string => `spiffe://${TRUST_DOMAIN}/${name}`;
const issued = (name: string) => expect.stringMatching(new RegExp(`^${idOf(name)} [0-9a-f]+ true\n$`));
const identity = (platform: string) => ({
  kind: 'Identity',
  name: 'from-go',
  platform,
  when: 'true',
  id: idOf('from-go'),
});

describe('on the socket of the CA', () => {
  let ca: TestCa;
  beforeAll(async () => {
    ca = await startTestCa({});
    await ca.apply(identity('unix'));
  });
  afterAll(() => ca.close());

  test('the client joins by unix', async () => {
    expect(await joinInGo(ca, 'unix', ['-platform', 'unix'])).toEqual(issued('from-go'));
  });
});

describe('in a pod', () => {
  let ca: TestCa;
  let server: ApiServer;
  let pods: readonly [Pod, Pod];
  beforeAll(async () => {
    server = await startApiServer({ clock: systemClock });
    const { cluster } = server;
    const node = cluster.addNode('node-1');
    const own = cluster.addPod(cluster.addAccount('chancery', 'ca'), 'ca-0', node);
    const reviewer = cluster.tokenFor(own, cluster.apiAudiences, DEFAULT_TOKEN_SECONDS);
    server.allow(usernameOf('chancery', 'ca'), 'create tokenreviews', 'get pods');
    server.allow(usernameOf('agents', 'billing'), 'create serviceaccounts/token agents/billing');
    const account = cluster.addAccount('agents', 'billing');
    pods = [cluster.addPod(account, 'billing-0', node), cluster.addPod(account, 'billing-1', node)];
    writeFileSync(at('kubeconfig'), kubeconfigOf(server, reviewer));
    writeFileSync(at('cluster.pem'), server.caPem);
    const review = { kubeconfig: at('kubeconfig') };
    ca = await startTestCa({ attestors: { kubernetes: { 'eu-1': { review } } } });
    await ca.apply(identity('kubernetes/eu-1'));
  });
  afterAll(async () => {
    await ca.close();
    await server.close();
  });
  const joinWith = (token: string, ...flags: readonly string[]): Promise<string> => {
    writeFileSync(at('token'), `${token}\n`);
    return joinInGo(ca, 'tls', ['-platform', 'kubernetes/eu-1', '-token', at('token'), ...flags]);
  };

  test('the client joins by its projected token', async () => {
    const token = server.cluster.tokenFor(pods[0], [`chancery://${TRUST_DOMAIN}`]);
    expect(await joinWith(token)).toEqual(issued('from-go'));
    await expect(joinWith(token)).rejects.toThrow(/Unauthenticated/);
  });

  test('the client joins by a token for the bound audience', async () => {
    const { cluster } = server;
    const [, pod] = pods;
    const own = cluster.tokenFor(pod, cluster.apiAudiences, DEFAULT_TOKEN_SECONDS);
    const url = `${server.url}/api/v1/namespaces/agents/serviceaccounts/billing/token`;
    const bound = ['-token-url', url, '-token-ca', at('cluster.pem'), '-pod', `${pod.name}/${pod.uid}`];
    expect(await joinWith(own, ...bound)).toEqual(issued('from-go'));
  });
});

describe('on a machine with a TPM', () => {
  let ca: TestCa;
  let tpm: SoftwareTpm;
  beforeAll(async () => {
    tpm = await makeSoftwareTpm();
    const { roots, intermediates } = tpm;
    // More registers than a TPM reads at once.
    const zero = '0'.repeat(64);
    const pcrs = { 8: [zero], 9: [zero], 14: [zero] };
    ca = await startTestCa({ attestors: { tpm: { roots, intermediates, pcrs } } });
    await ca.apply(identity('tpm'));
  });
  afterAll(async () => {
    await ca.close();
    await tpm.stop();
  });

  test('the client joins by go-tpm', async () => {
    const socket = tpm.device.replace(/^unix:/, '');
    expect(await joinInGo(ca, 'tls', ['-platform', 'tpm', '-tpm', socket])).toEqual(issued('from-go'));
  });

  test('the client refuses a CA of another trust domain', async () => {
    const other = await startTestCa({});
    const wrong = { ...other, running: ca.running };
    try {
      await expect(joinInGo(wrong, 'tls', ['-platform', 'unix'])).rejects.toThrow(
        /certificate signed by unknown/,
      );
    } finally {
      await other.close();
    }
  });
});
