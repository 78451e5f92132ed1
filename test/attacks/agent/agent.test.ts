/** What an agent must not fall for: rows I17, I18, I27, I29, I51 and T38, against real CAs. */
import { execFile } from 'node:child_process';
import { hash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, lchownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { dirname, join as joinPath } from 'node:path';
import { promisify } from 'node:util';
import { startAgent } from '@chancery/agent/agent.ts';
import { readAgentConfig } from '@chancery/agent/config/read.ts';
import { type AgentSettings, paths } from '@chancery/agent/config/schema.ts';
import type { EvidenceSource } from '@chancery/agent/evidence/evidence.ts';
import { unixEvidence } from '@chancery/agent/evidence/unix.ts';
import { runAgent } from '@chancery/agent/run.ts';
import { tlsTarget } from '@chancery/agent/svid/channel.ts';
import { join } from '@chancery/agent/svid/obtain.ts';
import { untilItWorks } from '@chancery/agent/svid/retry.ts';
import { readStatus } from '@chancery/agent/workload/attach.ts';
import {
  AttestationClient,
  AttestationService,
  AttestRequest,
} from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { Bundle as BundleMessage } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { asBuffer, hex } from '@chancery/shared/ground/bytes.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { keyPem } from '@chancery/shared/tls/options.ts';
import { signalProcess } from '@chancery/shared/unix/pidfd.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { helloMessage, joinAs } from '../../kit/ca/join.ts';
import { expectRefusal } from '../../kit/ca/talk.ts';
import { type Made, makeAuthority, makeLeaf, type Recipe } from '../../kit/certificates.ts';
import { sourceOf } from '../../kit/tpm/live-tpm.ts';
import { makeSoftwareTpm, type SoftwareTpm } from '../../kit/tpm/swtpm.ts';

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
const ROOT_ONLY = 'only root can start a process of another user or give a folder away';
const DEPS = {
  clock: systemClock,
  random: Math.random,
  randomBytes,
  log: silentLog,
  env: {},
  version: 'test',
};
const CA_ID = `spiffe://${TRUST_DOMAIN}/chancery/ca`;

let tpm: SoftwareTpm;
let ca: TestCa;
beforeAll(async () => {
  tpm = await makeSoftwareTpm();
  const { roots, intermediates } = tpm;
  ca = await startTestCa({ attestors: { unix: {}, tpm: { roots, intermediates } } });
  const id = `spiffe://${TRUST_DOMAIN}/workload`;
  await ca.apply(
    { kind: 'Identity', name: 'unix', platform: 'unix', id, when: `uid == '${process.getuid?.()}'` },
    { kind: 'Identity', name: 'tpm', platform: 'tpm', id: `spiffe://${TRUST_DOMAIN}/machine` },
  );
});
afterAll(async () => {
  await ca.close();
  await tpm.stop();
});

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

let folders = 0;
/** Everything but what a row is about. */
function settingsWith(changes: Partial<AgentSettings> = {}): AgentSettings {
  folders += 1;
  const bundle = joinPath(ca.dir, 'bundle.pem');
  writeFileSync(bundle, ca.bundle.authorities.map((der) => writePem('CERTIFICATE', der)).join(''));
  return {
    trustDomain: parseTrustDomain(TRUST_DOMAIN),
    ca: { address: `127.0.0.1:${ca.running.port}`, bundle, socket: ca.joinSocket },
    evidence: { unix: {} },
    dataDir: joinPath(ca.dir, `agent-${folders}`),
    outputs: [],
    connect: [],
    logLevel: 'error',
    ...changes,
  };
}

/** Hears the agent's warnings; it gives up at the first one, which would otherwise be tried again for ever. */
async function firstWarning(settings: AgentSettings): Promise<{ code: string; message: string }> {
  const stop = new AbortController();
  const heard: { err: { code: string; message: string } }[] = [];
  const log = {
    ...silentLog,
    warn: (fields: object) => {
      heard.push(fields as (typeof heard)[number]);
      stop.abort();
    },
  };
  const deps = { ...DEPS, log };
  await expect(startAgent(settings, deps, stop.signal)).rejects.toThrow();
  return heard[0]?.err ?? expect.fail('the agent said nothing');
}

/** Answers at the CA's address with another certificate, and hears everything that is said to it. */
async function impostor(
  { certificate, key }: Made,
  issuer: Made | undefined,
): Promise<{ address: string; heard: string[] }> {
  const chain = [certificate, ...(issuer === undefined ? [] : [issuer.certificate])];
  const server = http2.createSecureServer({
    cert: chain.map(({ der }) => writePem('CERTIFICATE', der)).join(''),
    key: keyPem(key),
    minVersion: 'TLSv1.3',
  });
  const heard: string[] = [];
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    heard.push(String(headers[':path']));
    const bundle = BundleMessage.encode({
      trustDomain: TRUST_DOMAIN,
      x509Authorities: ca.bundle.authorities.map((der) => asBuffer(der)),
      sequence: 1n,
      ...{ jwtAuthorities: [], readerVersion: 0, retiringX509: [], crossChains: [], logKey: '', note: '' },
    }).finish();
    stream.on('error', () => {});
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(framed(bundle));
  });
  server.on('sessionError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => void server.close());
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, heard };
}

/** gRPC's five bytes before each message: not compressed, and the length. */
function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

const atNow = (from: number, to: number): Recipe => {
  const now = Math.floor(Date.now() / 1000) * 1000;
  return { fields: { notBefore: new Date(now + from * 1000), notAfter: new Date(now + to * 1000) } };
};

describe('I17 at the CA’s address answers', () => {
  const { serverAuth, clientAuth } = x509.EKU;
  const marked = (...marks: readonly string[]): Recipe => ({
    ...atNow(-10, 60),
    extensions: { purposes: x509.extKeyUsage(serverAuth, clientAuth, ...marks) },
  });
  const good = marked(x509.ROLE_MARK.ca);
  test.each<readonly [string, string, Recipe, RegExp]>([
    ['another workload of this CA', `spiffe://${TRUST_DOMAIN}/workload`, good, /is answered by .*\/workload/],
    ['a name that begins like the CA’s', `${CA_ID}-evil`, good, /is answered by/],
    ['a name two below the CA’s', `${CA_ID}/eu/1`, good, /is answered by/],
    ['I51 the CA’s name, as a template might have given it', CA_ID, atNow(-10, 60), /has no mark of a CA/],
    ['I51 the CA’s name, for operators', CA_ID, marked(x509.ROLE_MARK.operator), /has no mark of a CA/],
    ['I51 an operator', `spiffe://${TRUST_DOMAIN}/chancery/operator/ann`, good, /is answered by/],
    [
      'the CA’s name in another trust domain',
      'spiffe://other.example/chancery/ca',
      good,
      /is not of trust domain test\.example/,
    ],
    ['the CA’s name, expired', CA_ID, atNow(-20, -10), /certificate has expired/],
    [
      'the CA’s name, for clients only',
      CA_ID,
      { ...good, extensions: { purposes: x509.extKeyUsage(x509.EKU.clientAuth) } },
      /unsuitable certificate purpose/,
    ],
    [
      'the CA’s name as a DNS name only',
      'unused',
      {
        ...good,
        extensions: { names: x509.subjectAltName({ uris: [], dnsNames: ['chancery-ca'], critical: true }) },
      },
      /has no URI name/,
    ],
  ])('%s', async (_, id, recipe, says) => {
    const issuer = await ca.authority('intermediate');
    const { address, heard } = await impostor(makeLeaf(id, issuer, recipe), issuer);
    const settings = settingsWith();
    const target = tlsTarget(address, ca.bundle, undefined, systemClock);
    const client = new AttestationClient(target.address, target.credentials, target.options);
    closing.push(() => client.close());
    const request = {
      evidence: unixEvidence(),
      bundle: ca.bundle,
      id: settings.id,
      instance: randomBytes(16),
    };
    const attempt = join(client, { ...request, clock: systemClock, signal: AbortSignal.timeout(120_000) });
    await expect(attempt).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(says),
    });
    expect(heard).toEqual([]);
  });

  test.each([CA_ID, `${CA_ID}/eu-1`])('%s with its mark, and the way in is open', async (id) => {
    const issuer = await ca.authority('intermediate');
    const { address, heard } = await impostor(makeLeaf(id, issuer, good), issuer);
    const target = tlsTarget(address, ca.bundle, undefined, systemClock);
    const client = new AttestationClient(target.address, target.credentials, target.options);
    closing.push(() => client.close());
    const request = { evidence: unixEvidence(), bundle: ca.bundle, id: undefined, instance: randomBytes(16) };
    const attempt = join(client, { ...request, clock: systemClock, signal: AbortSignal.timeout(120_000) });
    await expect(attempt).rejects.toThrow();
    expect(heard).toEqual([AttestationService.attest.path]);
  });
});

describe('I18 the first trust', () => {
  const tpmEvidence = { tpm: { device: 'unix:/nowhere', key: 'memory' } } as const;
  const address = () => `127.0.0.1:${ca.running.port}`;
  const pinned = (pin: string, at = address()): AgentSettings =>
    settingsWith({ evidence: tpmEvidence, ca: { address: at, pin } });

  test('no bundle and no pin', () => {
    const file = joinPath(ca.dir, 'agent.yaml');
    writeFileSync(
      file,
      `{trustDomain: ${TRUST_DOMAIN}, ca: {address: "a:1"}, evidence: {tpm: {}}, dataDir: d}`,
    );
    expect(() => readAgentConfig(file)).toThrow(
      /set `bundle` or `pin`, not both, so that the agent can verify the CA/,
    );
  });

  test('the bundle of another CA: nothing is said to this one', async () => {
    const bundle = joinPath(ca.dir, 'other.pem');
    const now = atNow(-10, 3600);
    writeFileSync(bundle, writePem('CERTIFICATE', makeAuthority('other', undefined, now).certificate.der));
    const before = (await ca.store.events(0, 100_000)).length;
    const warning = await firstWarning(
      settingsWith({
        evidence: { tpm: { device: tpm.device, key: 'memory' } },
        ca: { address: address(), bundle },
      }),
    );
    expect(warning).toMatchObject({ code: 'unavailable', message: expect.stringContaining('certificate') });
    expect((await ca.store.events(0, 100_000)).length).toBe(before);
  });

  test('a pin of another key', async () => {
    const attempt = startAgent(pinned('ab'.repeat(32)), DEPS, AbortSignal.timeout(120_000));
    await expect(attempt).rejects.toMatchObject({ code: 'bootstrap' });
  });

  test('the right pin, and somebody in between who passes the true bundle on', async () => {
    const stranger = makeAuthority('stranger', undefined, atNow(-10, 3600));
    const between = await impostor(makeLeaf(CA_ID, stranger, atNow(-10, 60)), stranger);
    const pin = hash('sha256', (await ca.authority('root')).certificate.spki, 'hex');
    const settings = {
      ...pinned(pin, between.address),
      evidence: { tpm: { device: tpm.device, key: 'memory' } } as const,
    };
    const warning = await firstWarning(settings);
    expect(warning).toMatchObject({ code: 'unavailable', message: expect.stringContaining('certificate') });
    expect(between.heard).toEqual(['/chancery.v1.Trust/GetBundle']);
  });
});

/** In a process that becomes another user once its program is loaded, whose files may be ours alone. */
async function asNobody(script: string, ...args: readonly string[]): Promise<string> {
  const become = 'process.setgroups([]); process.setgid(65534); process.setuid(65534);';
  const options = ['--input-type=module', '-e', script.replace('BECOME_NOBODY', become), ...args];
  return (await run(process.execPath, options)).stdout.trim();
}

const moduleAt = (path: string): string => new URL(`../../../${path}`, import.meta.url).href;

describe('I27 on a socket', () => {
  const JOIN = `
import { unixEvidence } from '${moduleAt('agent/src/evidence/unix.ts')}';
import { unixTarget } from '${moduleAt('agent/src/svid/channel.ts')}';
import { join } from '${moduleAt('agent/src/svid/obtain.ts')}';
import { AttestationClient } from '${moduleAt('proto/src/gen/chancery/v1/attestation.ts')}';
BECOME_NOBODY
const { address, credentials, options } = unixTarget(process.argv[1]);
const client = new AttestationClient(address, credentials, options);
const bundle = { trustDomain: '${TRUST_DOMAIN}', authorities: [], sequence: 0n };
const request = { evidence: unixEvidence(), bundle, id: undefined, instance: Buffer.alloc(16), clock: { now: () => new Date() } };
await join(client, { ...request, signal: AbortSignal.timeout(120_000) }).catch((error) => console.log(error.message));
client.close();
`;

  test('of the CA, another user is named by the kernel and earns nothing', async () => {
    if (!isRoot) return console.info(ROOT_ONLY);
    for (const folder of [ca.dir, dirname(ca.joinSocket)]) chmodSync(folder, 0o711);
    const said = await asNobody(JOIN, ca.joinSocket);
    expect(said).toMatch(
      /^the CA refused \(PERMISSION_DENIED\): no identity is given for this evidence \(reference \w{8}\)$/,
    );
    const status = { code: 7, details: 'no identity is given for this evidence' };
    await expectRefusal(ca, status, 'no_identity', /when \(uid == '0'\) is false/);
    const [{ peer } = { peer: '' }] = (await ca.refusals()).slice(-1);
    expect(peer).toMatch(/^pid \d+ uid 65534$/);
  });

  const PASS_ON = `
import net from 'node:net';
import { spawn } from 'node:child_process';
const socket = net.connect(process.argv[1], () => {
  spawn(process.execPath, ['-e', process.argv[2], process.argv[3]], { stdio: ['pipe', 'inherit', 'inherit', socket], detached: true });
  setImmediate(() => process.exit());
});
`;
  /** Waits for the end of the client that connected, then speaks on its connection. */
  const HEIR = `
const http2 = require('node:http2'), net = require('node:net');
process.stdin.resume().on('end', () => {
  const session = http2.connect('http://ca', { createConnection: () => new net.Socket({ fd: 3 }) });
  session.on('error', (error) => console.log(error.code));
  const stream = session.request({ ':method': 'POST', ':path': '${AttestationService.attest.path}', 'content-type': 'application/grpc', te: 'trailers' });
  const tell = (headers) => {
    if (headers['grpc-status'] === undefined) return;
    console.log(headers['grpc-status'] + ' ' + decodeURIComponent(headers['grpc-message']));
    session.destroy();
  };
  stream.on('response', tell).on('trailers', tell).on('error', () => {});
  stream.write(Buffer.from(process.argv[1], 'hex'));
});
`;

  test('of the CA, a process that inherits the connection of an ended process gets nothing', async () => {
    const hello = framed(AttestRequest.encode(await helloMessage()).finish()).toString('hex');
    const before = (await ca.store.issued({ limit: 1000 })).length;
    const options = ['--input-type=module', '-e', PASS_ON, ca.joinSocket, HEIR, hello];
    const said = (await run(process.execPath, options)).stdout.trim();
    expect(said).toMatch(/^16 the caller could not be identified \(reference \w{8}\)$/);
    await expectRefusal(
      ca,
      { code: 16, details: 'the caller could not be identified' },
      'peer_gone',
      /has exited/,
    );
    expect((await ca.store.issued({ limit: 1000 })).length).toBe(before);
  });

  const GET = `
import http from 'node:http';
BECOME_NOBODY
const [path, method, url] = process.argv.slice(1);
const request = http.request({ socketPath: path, method, path: url }, async (response) => {
  console.log(response.statusCode + ' ' + JSON.parse(Buffer.concat(await response.toArray())).code);
});
request.on('error', (error) => console.log(error.code));
request.end();
`;

  const LEAVE = `
import http from 'node:http';
const request = http.request({ socketPath: process.argv[1], method: 'POST', path: '/v1/svid' });
request.write(Buffer.alloc(100));
request.once('socket', (socket) => socket.once('connect', () => setImmediate(() => process.exit())));
`;

  async function runningAgent(): Promise<string> {
    const settings = settingsWith();
    const ownUid = process.getuid?.() ?? 0;
    const fixed = { env: {}, ownPid: process.pid, signalProcess, platform: process.platform, ownUid };
    const running = await runAgent(settings, { ...DEPS, ...fixed }, new AbortController().signal);
    closing.push(() => running.close());
    return paths(settings.dataDir).socket;
  }

  test('of the agent, another user is kept out twice', async () => {
    if (!isRoot) return console.info(ROOT_ONLY);
    const socket = await runningAgent();
    for (const folder of [ca.dir, dirname(socket)]) chmodSync(folder, 0o711);
    expect(await asNobody(GET, socket, 'POST', '/v1/svid')).toBe('EACCES');
    chmodSync(socket, 0o666);
    for (const [method, url] of [
      ['POST', '/v1/svid'],
      ['GET', '/v1/trust'],
      ['GET', '/v1/status'],
    ] as const)
      expect(await asNobody(GET, socket, method, url)).toBe('403 peer_uid');
  });

  test('of the agent, a caller that ends before its reply disturbs nobody', async () => {
    const socket = await runningAgent();
    const before = (await ca.store.issued({ limit: 1000 })).length;
    for (let i = 0; i < 3; i += 1) await run(process.execPath, ['--input-type=module', '-e', LEAVE, socket]);
    expect((await readStatus(socket)).spiffeId).toBe(`spiffe://${TRUST_DOMAIN}/workload`);
    expect((await ca.store.issued({ limit: 1000 })).length).toBe(before);
  });
});

describe('I29 the agent’s folder', () => {
  const refused = async (dataDir: string): Promise<unknown> => {
    const attempt = startAgent(settingsWith({ dataDir }), DEPS, AbortSignal.timeout(120_000));
    return attempt.then(
      async (agent) => {
        await agent.close();
        return expect.fail('the agent started');
      },
      (error: unknown) => error,
    );
  };
  const folder = (name: string, mode: number): string => {
    const path = joinPath(ca.dir, name);
    mkdirSync(path);
    chmodSync(path, mode);
    return path;
  };

  test.each([0o777, 0o1777, 0o755, 0o710, 0o701])('is open to others: %o', async (mode) => {
    expect(await refused(folder(`open-${mode}`, mode))).toMatchObject({
      code: 'file_mode',
      message: expect.stringContaining('is open to others: chmod 700'),
    });
  });

  test('was made by another user before', async () => {
    if (!isRoot) return console.info(ROOT_ONLY);
    const path = folder('theirs', 0o700);
    chownSync(path, 65_534, 65_534);
    expect(await refused(path)).toMatchObject({ code: 'file_mode', message: `${path} belongs to uid 65534` });
  });

  test('is another user’s link to a folder of ours', async () => {
    if (!isRoot) return console.info(ROOT_ONLY);
    const link = joinPath(ca.dir, 'link');
    symlinkSync(folder('ours', 0o700), link);
    lchownSync(link, 65_534, 65_534);
    expect(await refused(link)).toMatchObject({ code: 'file_mode', message: `${link} belongs to uid 65534` });
  });

  test('cannot be made', async () => {
    const path = joinPath(ca.dir, 'file');
    writeFileSync(path, '');
    expect(await refused(joinPath(path, 'data'))).toMatchObject({ code: 'file' });
  });
});

test('T38 the TPM dies in the middle: an agent’s error, no certificate, and another try with a new nonce', async () => {
  const genuine = sourceOf(tpm);
  const bindings: string[] = [];
  const dying: EvidenceSource = {
    ...genuine,
    async begin(spki, signal) {
      const exchange = await genuine.begin(spki, signal);
      return {
        ...exchange,
        answer: async (question, binding) => {
          bindings.push(hex(binding));
          if (bindings.length === 1) await tpm.kill();
          return exchange.answer(question, binding);
        },
      };
    },
  };
  const failures: unknown[] = [];
  const warn = (fields: object): void => void failures.push(fields);
  const attested = async () =>
    (await ca.store.events(0, 100_000)).filter(({ event }) => event.type === 'node.attested').length;
  const before = { issued: (await ca.store.issued({ limit: 1000 })).length, attested: await attested() };
  const clock = { now: () => new Date(), sleepUntil: () => tpm.start() };
  const svid = await untilItWorks(
    () => joinAs(ca, { evidence: dying }),
    { clock, random: Math.random, log: { ...silentLog, warn } },
    AbortSignal.timeout(120_000),
  );
  expect(failures).toEqual([
    { err: expect.objectContaining({ code: 'tpm_device' }), retryInSeconds: expect.any(Number) },
  ]);
  expect(svid.id).toBe(`spiffe://${TRUST_DOMAIN}/machine`);
  expect(new Set(bindings).size).toBe(2);
  expect((await ca.store.issued({ limit: 1000 })).length).toBe(before.issued + 1);
  expect(await attested()).toBe(before.attested + 1);
});
