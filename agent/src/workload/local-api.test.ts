import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { IdentityService, type IssueX509Request } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { asBuffer, hex } from '@chancery/shared/ground/bytes.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import { generateKey, signerOf, spkiOf } from '@chancery/shared/keys/key.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { verifyCsr, writeCsr } from '@chancery/shared/x509/csr.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { after, type Made, makeAuthority, makeLeaf, NOW } from '../../../test/kit/certificates.ts';
import { loadRevocations, NO_REVOCATIONS } from '../trust/state/revocations.ts';
import { compileSnapshot } from '../trust/state/snapshot.ts';
import { type Attached, attach, readStatus } from './attach.ts';
import { type ServedAgent, serveLocalApi } from './local-api.ts';
import type { StatusReport } from './local-messages.ts';

const trustDomain = parseTrustDomain('prod.example');
const id = parseSpiffeId('spiffe://prod.example/web');
const root = makeAuthority('Root');
const ownUid = process.getuid?.() ?? 0;
const bundle: Bundle = { trustDomain, authorities: [root.certificate.der], sequence: 1n };

let certify: (spki: Uint8Array) => Made | undefined;
let issuedTo: string[];
const ca = new grpc.Server();
let caAddress: string;
beforeAll(async () => {
  const issueX509 = ({ request }: { request: IssueX509Request }, done: grpc.sendUnaryData<unknown>): void => {
    const { spki } = verifyCsr(request.csrs[0] ?? Buffer.alloc(0));
    issuedTo.push(hex(spki));
    const made = certify(spki);
    if (made === undefined) {
      done(null, { issued: [] });
      return;
    }
    const { certificate } = made;
    const issued = {
      chain: [asBuffer(certificate.der)],
      bundle: [],
      notAfter: BigInt(certificate.notAfter.getTime() / 1000),
      renewAfter: BigInt(after(1800).getTime() / 1000),
      spiffeId: id,
      now: BigInt(after(0).getTime() / 1000),
    };
    done(null, { issued: [issued] });
  };
  ca.addService(IdentityService, { issueX509, renew: () => {} });
  const credentials = grpc.ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) => {
    ca.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  caAddress = `127.0.0.1:${port}`;
});
afterAll(() => ca.forceShutdown());

const dir = mkdtempSync(join(tmpdir(), 'chy-'));
afterAll(() => rmSync(dir, { recursive: true }));
const path = join(dir, 'agent.sock');

const missing = () => new IdentityError('unavailable', 'none');
const svidUntil = (seconds: number): Svid => {
  const { key, certificate } = makeLeaf(id, root);
  const chain = [certificate.der];
  return { id, chain, key, notBefore: after(-10), notAfter: after(seconds), renewAfter: after(seconds / 2) };
};

function fakeAgent() {
  const sources = {
    svid: new LiveValue<Svid>(missing, svidUntil(3600)),
    bundle: new LiveValue<Bundle>(missing, bundle),
    policy: new LiveValue<Policy>(missing, compileSnapshot([], 5n, NOW)),
    revocations: new LiveValue<RevocationSet>(missing, NO_REVOCATIONS),
  };
  const agent: ServedAgent = {
    ...sources,
    trust: {
      ...sources,
      resources: () => [],
      ...{ successions: { follows: () => false, onChange: () => () => {} }, gateways: () => 1 },
      stream: () => ({ failure: undefined, since: after(0) }),
      silentSeconds: () => 0,
      ...{ crls: { onChange: () => () => {} }, crossChains: new LiveValue(missing) },
      caTarget: () => ({ address: caAddress, credentials: grpc.credentials.createInsecure(), options: {} }),
    },
  };
  return { agent, ...sources };
}

const revoked = { number: 3, kind: 'id', value: id, serials: ['40aa'], reason: 'superseded', until: null };

const none = { renewalFailure: null, revoked: null, trustStream: null, skewSeconds: null };
const status: StatusReport = {
  ...none,
  version: '1.2.3',
  spiffeId: id,
  serial: '01',
  notAfter: after(3600).toISOString(),
  renewAfter: after(1800).toISOString(),
  expired: false,
  policyVersion: 5,
  servers: [],
  gateway: null,
  connect: [],
  outputs: [],
  problems: [],
};

type Served = Awaited<ReturnType<typeof serveLocalApi>>;
let fake: ReturnType<typeof fakeAgent>;
let served: Served | undefined;
const serve = async (agent: ServedAgent | undefined = fake.agent, uid = ownUid): Promise<void> => {
  const options = { path, agent: agent && Promise.resolve(agent), status: () => status };
  served = await serveLocalApi({ ...options, ownUid: uid, log: silentLog });
};
beforeEach(() => {
  fake = fakeAgent();
  issuedTo = [];
  certify = (spki) => makeLeaf(id, root, { fields: { spki } });
});
afterEach(async () => {
  await served?.close();
  served = undefined;
});

interface Answer {
  readonly status: number;
  readonly body: { readonly code?: string; readonly message?: string; readonly [key: string]: unknown };
}

async function ask(method: string, url: string, body?: Uint8Array): Promise<Answer> {
  const request = http.request({ socketPath: path, method, path: url, agent: false });
  request.end(body);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const text = Buffer.concat(await response.toArray()).toString('utf8');
  return { status: response.statusCode ?? 0, body: JSON.parse(text) };
}

describe('the agent’s socket', () => {
  test('is 0600, and tells the status', async () => {
    await serve();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await readStatus(path)).toEqual(status);
  });

  test('certifies a key by its CSR', async () => {
    await serve();
    const key = generateKey();
    const answer = await ask('POST', '/v1/svid', await writeCsr(signerOf(key)));
    expect(answer).toMatchObject({ status: 200, body: { id, renewAfter: after(1800).getTime() / 1000 } });
    expect(issuedTo).toEqual([hex(spkiOf(key))]);
  });

  test.each<readonly [string, string, string, Uint8Array | undefined, number, string, RegExp]>([
    [
      'an unknown path',
      'GET',
      '/v2/status',
      undefined,
      400,
      'message_parse',
      /GET \/v2\/status is not served/,
    ],
    ['another method', 'DELETE', '/v1/status', undefined, 400, 'message_parse', /is not served/],
    [
      'a CSR of 16 KiB and a byte',
      'POST',
      '/v1/svid',
      Buffer.alloc(16 * 1024 + 1),
      413,
      'csr_size',
      /more than 16384/,
    ],
    [
      'what the CA refuses',
      'POST',
      '/v1/svid',
      Buffer.from('no CSR'),
      403,
      'refused_by_ca',
      /the CA refused/,
    ],
  ])('refuses %s', async (_, method, url, body, code, reason, says) => {
    await serve();
    const answer = await ask(method, url, body);
    expect(answer).toEqual({ status: code, body: { code: reason, message: expect.stringMatching(says) } });
    expect(issuedTo).toEqual([]);
  });

  test('refuses where the CA answers without a certificate', async () => {
    await serve();
    certify = () => undefined;
    expect(await ask('POST', '/v1/svid', await writeCsr(signerOf(generateKey())))).toEqual({
      status: 503,
      body: { code: 'unavailable', message: 'the CA answered without a certificate' },
    });
  });

  test('tells only its status where the key is in a TPM', async () => {
    served = await serveLocalApi({ path, agent: undefined, status: () => status, ownUid, log: silentLog });
    expect((await ask('GET', '/v1/status')).status).toBe(200);
    for (const [method, url] of [
      ['GET', '/v1/trust'],
      ['POST', '/v1/svid'],
    ] as const)
      expect(await ask(method, url)).toMatchObject({
        status: 400,
        body: { message: expect.stringContaining('the key of this agent is in its TPM') },
      });
  });

  test('streams what is in force and every change, and forgets who has left', async () => {
    let listeners = 0;
    const onChange: ServedAgent['svid']['onChange'] = (listener) => {
      listeners += 1;
      const stop = fake.svid.onChange(listener);
      return () => {
        listeners -= 1;
        stop();
      };
    };
    await serve({ ...fake.agent, svid: { current: () => fake.svid.current(), onChange } });
    const request = http.get({ socketPath: path, path: '/v1/trust', agent: false });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    response.setEncoding('utf8');
    const next = async () => JSON.parse((await once(response, 'data'))[0]);
    expect(await next()).toMatchObject({ svidNotAfter: after(3600).toISOString(), policy: { version: '5' } });
    fake.policy.publish(compileSnapshot([], 6n, NOW));
    expect(await next()).toMatchObject({ policy: { version: '6' } });
    fake.svid.publish(svidUntil(7200));
    expect(await next()).toMatchObject({ svidNotAfter: after(7200).toISOString() });
    fake.bundle.publish({ ...bundle, sequence: 2n });
    expect(await next()).toMatchObject({ bundle: { sequence: '2' } });
    fake.revocations.publish(loadRevocations({ sequence: '3', list: [revoked] }));
    expect(await next()).toMatchObject({ revocations: { sequence: '3', list: [revoked] } });
    expect(listeners).toBe(1);
    request.destroy();
    while (listeners > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test('has nothing to tell before there is a policy, then tells it', async () => {
    const policy = new LiveValue<Policy>(missing);
    await serve({ ...fake.agent, trust: { ...fake.agent.trust, policy } });
    const request = http.get({ socketPath: path, path: '/v1/trust', agent: false });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const first = once(response, 'data');
    policy.publish(compileSnapshot([], 1n, NOW));
    expect(JSON.parse(String((await first)[0]))).toMatchObject({ policy: { version: '1' } });
    request.destroy();
  });
});

const run = promisify(execFile);
/** One request as another user, who is made after the program is loaded: its files may be ours alone. */
const AS_NOBODY = `
process.setgroups([]); process.setgid(65534); process.setuid(65534);
const request = require('node:http').get({ socketPath: process.argv[1], path: '/v1/status' }, async (response) => {
  console.log(response.statusCode + ' ' + Buffer.concat(await response.toArray()));
});
request.on('error', (error) => console.log(error.code));
`;

describe('I27 another user', () => {
  const shown = ownUid === 0 ? undefined : 'only root can start a process of another user';
  const ask = async () => (await run(process.execPath, ['-e', AS_NOBODY, path])).stdout.trim();

  test('is kept out by the file’s mode, and by peer credentials where the mode lets others in', async () => {
    if (shown !== undefined) {
      console.info(shown);
      return;
    }
    await serve();
    chmodSync(dir, 0o711);
    expect(await ask()).toBe('EACCES');
    chmodSync(path, 0o666);
    expect(await ask()).toMatch(
      /^403 \{"code":"peer_uid","message":"uid 65534 asked on the socket of uid 0"\}$/,
    );
    chmodSync(dir, 0o700);
  });

  test('root may ask any agent', async () => {
    if (shown !== undefined) {
      console.info(shown);
      return;
    }
    await serve(fake.agent, 65_534);
    expect(await readStatus(path)).toEqual(status);
  });
});

describe('I29 what is in the way of the socket', () => {
  test('another agent that is alive: one agent uses a dataDir at a time', async () => {
    await serve();
    const second = serveLocalApi({ path, agent: undefined, status: () => status, ownUid, log: silentLog });
    await expect(second).rejects.toMatchObject({
      code: 'unavailable',
      message: `another process (pid ${process.pid}) serves ${path}: one agent uses a dataDir at a time`,
    });
    expect(await readStatus(path)).toEqual(status);
  });

  test('the socket of one that was killed is replaced', async () => {
    const killed = await run(process.execPath, [
      '-e',
      `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]).catch((error: { signal: string }) => error.signal);
    expect(killed).toBe('SIGKILL');
    expect(statSync(path).isSocket()).toBe(true);
    await serve();
    expect(await readStatus(path)).toEqual(status);
  });

  test.each([
    ['a file', () => writeFileSync(path, 'precious')],
    ['a link', () => symlinkSync(join(dir, 'precious'), path)],
  ])('%s is refused and left alone', async (_, make) => {
    writeFileSync(join(dir, 'precious'), 'precious');
    make();
    await expect(serve()).rejects.toMatchObject({
      code: 'file',
      message: `${path} is in the way and is not a socket`,
    });
    expect(readFileSync(path, 'utf8')).toBe('precious');
    rmSync(path);
  });

  test('a path that is too long for a socket', async () => {
    const long = join(dir, 'x'.repeat(120));
    const attempt = serveLocalApi({
      path: long,
      agent: undefined,
      status: () => status,
      ownUid,
      log: silentLog,
    });
    await expect(attempt).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('a process that attaches to the agent', () => {
  let stop: AbortController;
  let all: Attached[];
  let warnings: unknown[];
  /** Pauses last one turn of the event loop. */
  const clock = { now: () => NOW, sleepUntil: () => new Promise<void>((resolve) => setImmediate(resolve)) };
  const visit = async (): Promise<Attached> => {
    const log = { ...silentLog, warn: (fields: object) => warnings.push(fields) };
    const attached = await attach({ socket: path, clock, random: () => 0.5, log }, stop.signal);
    all.push(attached);
    return attached;
  };
  beforeEach(() => {
    stop = new AbortController();
    all = [];
    warnings = [];
  });
  afterEach(() => {
    stop.abort();
    for (const attached of all) attached.close();
  });
  const nextOf = <T>(source: { onChange(listener: (value: T) => void): () => void }) =>
    new Promise<T>((resolve) => {
      const done = source.onChange((value) => {
        done();
        resolve(value);
      });
    });

  test('has a key of its own, certified for the agent’s name, and the agent’s bundle and policy', async () => {
    await serve();
    const attached = await visit();
    const svid = attached.svid.current();
    expect(svid).toMatchObject({ id, notAfter: after(3600), renewAfter: after(1800) });
    expect(issuedTo).toEqual([hex(spkiOf(svid.key))]);
    expect(spkiOf(svid.key)).not.toEqual(spkiOf(fake.svid.current().key));
    expect(attached.bundle.current()).toEqual({ ...bundle, authorities: [asBuffer(root.certificate.der)] });
    expect(attached.policy.current().version).toBe(5n);
    const heard = nextOf(attached.revocations);
    fake.revocations.publish(loadRevocations({ sequence: '3', list: [revoked] }));
    expect((await heard).list).toMatchObject([{ number: 3, target: { kind: 'id', value: id } }]);
  });

  test('gets another certificate when the agent has rotated, and not for other changes', async () => {
    await serve();
    const attached = await visit();
    // Lines are taken one after the other: with the second change in force, the first is done with.
    for (const version of [6n, 7n]) {
      const changed = nextOf(attached.policy);
      fake.policy.publish(compileSnapshot([], version, NOW));
      expect((await changed).version).toBe(version);
    }
    expect(issuedTo).toHaveLength(1);
    const rotated = nextOf(attached.svid);
    fake.svid.publish(svidUntil(7200));
    expect(hex(spkiOf((await rotated).key))).toBe(issuedTo[1]);
  });

  test('keeps what it has while the agent restarts, and then starts over', async () => {
    await serve();
    const attached = await visit();
    const before = attached.svid.current();
    await served?.close();
    expect(attached.svid.current()).toBe(before);
    const again = nextOf(attached.svid);
    await serve();
    expect(hex(spkiOf((await again).key))).toBe(issuedTo[1]);
  });

  test('notices an agent that was killed in the middle of a line', async () => {
    const broken = net.createServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"svi\r\n');
      setImmediate(() => socket.destroy());
    });
    await serve();
    const attached = await visit();
    await served?.close();
    served = undefined;
    broken.listen(path);
    await once(broken, 'connection');
    broken.close();
    await once(broken, 'close');
    const again = nextOf(attached.svid);
    await serve();
    await again;
  });

  test.each<readonly [string, (spki: Uint8Array) => Made, string, RegExp]>([
    ['another key', () => makeLeaf(id, root), 'svid', /another key was certified/],
    [
      'another name than the agent says',
      (spki) => makeLeaf('spiffe://prod.example/other', root, { fields: { spki } }),
      'svid',
      /the certificate is for spiffe:\/\/prod\.example\/other, not spiffe:\/\/prod\.example\/web/,
    ],
    ['another authority', (spki) => makeLeaf(id, makeAuthority('Root'), { fields: { spki } }), 'chain', /./],
    [
      'an expired certificate',
      (spki) => makeLeaf(id, root, { fields: { spki, notBefore: after(-20), notAfter: after(-10) } }),
      'expired_peer',
      /./,
    ],
  ])('refuses %s', async (_, make, code, says) => {
    await serve();
    certify = make;
    await expect(visit()).rejects.toMatchObject({ code, message: expect.stringMatching(says) });
  });

  test('waits where no agent answers, warns once, and says why when it is told to stop', async () => {
    const visiting = visit();
    await expect.poll(() => warnings.length).toBe(1);
    stop.abort();
    await expect(visiting).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining(`no agent answers at ${path}: run chancery-agent run`),
    });
    expect(warnings).toHaveLength(1);
    await expect(readStatus(path)).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('finds an agent that starts later', async () => {
    const visiting = visit();
    await expect.poll(() => warnings.length).toBe(1);
    await serve();
    expect((await visiting).svid.current().id).toBeDefined();
  });

  test('ends where the agent has nothing for it', async () => {
    served = await serveLocalApi({ path, agent: undefined, status: () => status, ownUid, log: silentLog });
    await expect(visit()).rejects.toMatchObject({
      code: 'refused_by_ca',
      message: expect.stringMatching(/the agent refused: .*its TPM/),
    });
  });

  test('does not read an answer without end', async () => {
    const endless = http.createServer((_, response) => {
      response.writeHead(200);
      response.write(Buffer.alloc(300 * 1024));
    });
    endless.listen(path);
    await once(endless, 'listening');
    await expect(readStatus(path)).rejects.toMatchObject({ code: 'message_size' });
    endless.closeAllConnections();
    endless.close();
    await once(endless, 'close');
  });
});
