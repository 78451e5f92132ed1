/** A certified key that never leaves its TPM, in the hands of OpenSSL's TPM provider. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash, createPublicKey, randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import tls from 'node:tls';
import { promisify } from 'node:util';
import type { AgentSettings } from '@chancery/agent/config/schema.ts';
import { type Running, runAgent } from '@chancery/agent/run.ts';
import { readStatus } from '@chancery/agent/workload/attach.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { signalProcess } from '@chancery/shared/unix/pidfd.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../kit/ca/ca.ts';
import { makeAuthority } from '../kit/certificates.ts';
import { freePort } from '../kit/processes.ts';
import { sourceOf } from '../kit/tpm/live-tpm.ts';
import { makeSoftwareTpm, runTool, type SoftwareTpm } from '../kit/tpm/swtpm.ts';

const run = promisify(execFile);
const ID = `spiffe://${TRUST_DOMAIN}/machine`;
const TTL_SECONDS = 300;
/**
 * The provider would hash in the TPM too, and it verifies other people's signatures there; a TPM without a resource
 * manager has no room for either. So it is kept from hashing, and no client certificate is asked for.
 */
const PROVIDERS = [
  '-provider',
  'default',
  '-provider',
  'tpm2',
  '-propquery',
  '?provider=tpm2,tpm2.digest!=yes',
];

let tpm: SoftwareTpm;
let ca: TestCa;
let running: Running;
const stop = new AbortController();
beforeAll(async () => {
  tpm = await makeSoftwareTpm();
  const { roots, intermediates } = tpm;
  // Software keys refused: nothing but a key that the TPM certifies is.
  ca = await startTestCa({ attestors: { tpm: { roots, intermediates, softwareKeys: false } } });
  const x509 = { ttl: `${TTL_SECONDS}s`, dnsNames: ['localhost'] };
  await ca.apply({ kind: 'Identity', name: 'machine', platform: 'tpm', id: ID, x509 });
  const bundle = join(ca.dir, 'bundle.pem');
  // One more than the CA has: what it sends with the first certificate is a part of it, and takes its place.
  const authorities = [...ca.bundle.authorities, makeAuthority('retired').certificate.der];
  writeFileSync(bundle, authorities.map((der) => writePem('CERTIFICATE', der)).join(''));
  const settings: AgentSettings = {
    trustDomain: parseTrustDomain(TRUST_DOMAIN),
    ca: { address: `127.0.0.1:${ca.running.port}`, bundle },
    evidence: { tpm: { device: tpm.device, key: 'tpm' } },
    dataDir: join(ca.dir, 'agent'),
    outputs: [{ dir: join(ca.dir, 'out'), mode: '0600' }],
    connect: [],
    logLevel: 'error',
  };
  const fixed = {
    env: {},
    ownPid: process.pid,
    signalProcess,
    platform: process.platform,
    ownUid: process.getuid?.() ?? 0,
  };
  const deps = { clock: ca.clock, random: () => 0.5, randomBytes, log: silentLog, version: 'test', ...fixed };
  running = await runAgent(settings, deps, stop.signal);
  await untilWritten();
});
afterAll(async () => {
  stop.abort();
  await running.close();
  await ca.close();
  await tpm.stop();
});

const file = (name: string): string => join(ca.dir, 'out', name);
const spkiSha256 = (): string => {
  const { publicKey } = new X509Certificate(readFileSync(file('svid.pem')));
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
};

/** The files are those of the agent's newest certificate. */
async function untilWritten(): Promise<void> {
  const [leaf] = running.agent.svid.current().chain;
  const written = () =>
    existsSync(file('bundle.pem')) &&
    new X509Certificate(readFileSync(file('svid.pem'))).raw.equals(leaf ?? Buffer.alloc(0));
  while (!written()) await new Promise((resolve) => setImmediate(resolve));
}

const withTpm = () => ({ env: { ...process.env, TPM2OPENSSL_TCTI: tpm.tcti } });

async function serveTls(): Promise<{ port: number; server: ChildProcess }> {
  const port = await freePort();
  const own = ['-cert', file('svid.pem'), '-cert_chain', file('svid.pem'), '-key', file('key.pem')];
  const listen = ['-accept', `127.0.0.1:${port}`, '-tls1_3', '-naccept', '1', '-rev'];
  const server = spawn('openssl', ['s_server', ...PROVIDERS, ...listen, ...own], withTpm());
  for await (const line of createInterface({ input: server.stdout })) if (line === 'ACCEPT') break;
  return { port, server };
}

test('the key file names a key of this TPM, and holds none', () => {
  const pem = readFileSync(file('key.pem'), 'utf8');
  expect(pem).toMatch(/^-----BEGIN TSS2 PRIVATE KEY-----\n/);
  expect(statSync(file('key.pem')).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(ca.dir, 'agent'))).toEqual(['agent.sock']);
});

test('the bundle is the one that came with the certificate', () => {
  expect(running.agent.bundle.current().authorities).toHaveLength(2);
  expect(readFileSync(file('bundle.pem'), 'utf8').match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
});

test('OpenSSL finds the certified key in the TPM', async () => {
  const { stdout } = await run(
    'openssl',
    ['pkey', ...PROVIDERS, '-in', file('key.pem'), '-pubout'],
    withTpm(),
  );
  const certified = new X509Certificate(readFileSync(file('svid.pem'))).publicKey;
  expect(createPublicKey(stdout).equals(certified)).toBe(true);
});

test('a TLS server with the files is believed by a client with the bundle', async () => {
  const { port, server } = await serveTls();
  const socket = tls.connect({
    host: '127.0.0.1',
    port,
    servername: 'localhost',
    ca: readFileSync(file('bundle.pem')),
  });
  socket.write('chancery\n');
  const [said] = await once(socket, 'data');
  expect(String(said)).toBe('yrecnahc\n');
  expect(socket.authorized).toBe(true);
  expect(socket.getPeerCertificate().subjectaltname).toBe(`URI:${ID}, DNS:localhost`);
  socket.destroy();
  if (server.exitCode === null) await once(server, 'exit');
});

test('the file cannot be used by another TPM', async () => {
  const other = await makeSoftwareTpm();
  const env = { ...process.env, TPM2OPENSSL_TCTI: other.tcti };
  const signing = [
    'pkeyutl',
    ...PROVIDERS,
    '-sign',
    '-inkey',
    file('key.pem'),
    '-rawin',
    '-in',
    file('svid.pem'),
  ];
  await expect(run('openssl', signing, { env })).rejects.toThrow(/Could not read private key/);
  await other.stop();
});

test('half a life later there is another key, certified by fresh evidence, and nothing is left in the TPM', async () => {
  const keys = new Set([spkiSha256()]);
  for (let renewal = 1; renewal <= 3; renewal += 1) {
    const rotated = new Promise((resolve) => running.agent.svid.onChange(resolve));
    ca.clock.move(TTL_SECONDS / 2 + 10);
    await rotated;
    await untilWritten();
    keys.add(spkiSha256());
  }
  expect(keys.size).toBe(4);
  const attested = (await ca.store.events(0, 10_000)).flatMap(({ event }) =>
    event.type === 'node.attested' && event.platform === 'tpm' ? [event.attributes['tpm.key']] : [],
  );
  expect(attested).toEqual(['tpm', 'tpm', 'tpm', 'tpm']);
  expect((await ca.refusals()).map(({ code }) => code)).toEqual([]);
  expect(await runTool(tpm, ['tpm2_getcap', 'handles-transient'])).toBe('');
});

test('only the newest key is ever certified', async () => {
  const source = sourceOf(tpm, { key: 'tpm' });
  const [first, second] = [await source.createKey?.(), await source.createKey?.()];
  const begin = (key = first) => source.begin(key?.spki ?? new Uint8Array(), AbortSignal.timeout(120_000));
  await expect(begin(first)).rejects.toMatchObject({
    code: 'tpm_device',
    message: 'the TPM has not made this key',
  });
  await (await begin(second)).end();
});

test('the agent tells its status and certifies nobody', async () => {
  const socket = join(ca.dir, 'agent', 'agent.sock');
  expect(await readStatus(socket)).toMatchObject({
    spiffeId: ID,
    policyVersion: null,
    servers: [],
    expired: false,
  });
});

test('without its CA the agent says so, and comes back', async () => {
  const { agent } = running;
  await tpm.kill();
  ca.clock.move(TTL_SECONDS + 20);
  while (agent.renewalFailure() === undefined) await new Promise((resolve) => setImmediate(resolve));
  expect(agent.renewalFailure()).toMatch(/TPM/);
  const socket = join(ca.dir, 'agent', 'agent.sock');
  expect(await readStatus(socket)).toMatchObject({ expired: true, renewalFailure: agent.renewalFailure() });
  await tpm.start();
  const rotated = new Promise((resolve) => agent.svid.onChange(resolve));
  ca.clock.move(61);
  await rotated;
  expect(agent.renewalFailure()).toBeUndefined();
});
