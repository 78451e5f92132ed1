/**
 * Revocation reaches TLS software that is not ours: nginx and OpenSSL, by the files of an output and by the list that a
 * certificate names.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { askOver, makeNginx, type Nginx, nginxVersion } from '../kit/nginx.ts';
import { readStatus } from '../kit/observe/status.ts';
import {
  type AgentFolder,
  type CaFolder,
  freePort,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'lists.example';
const ID = `spiffe://${TRUST_DOMAIN}/w`;
/** Its certificates name no list. */
const PLAIN = `spiffe://${TRUST_DOMAIN}/plain`;
const NGINX = nginxVersion();
const WAIT = { timeout: 60_000, interval: 20 };

let dir: string;
let ca: CaFolder;
let serving: Running;
let nginx: Nginx;
let port: number;
let crlPort: number;
const agents = new Map<string, { readonly agent: AgentFolder; readonly running: Running }>();

beforeAll(async () => {
  dir = makeFolder();
  crlPort = await freePort();
  port = await freePort();
  const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: ID };
  const crl = { listen: `127.0.0.1:${crlPort}`, url: `http://127.0.0.1:${crlPort}` };
  const plain = { ...identity, name: 'x', id: PLAIN, x509: { crl: false } };
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [identity, plain], { crl }));
  const proxy = join(dir, 'proxy', 'tls');
  nginx = makeNginx(join(dir, 'nginx'), proxy, port);
  const signal = { pidFile: nginx.pidFile };
  await startAgent('proxy', { dir: proxy, crl: true, ...(NGINX === undefined ? {} : { signal }) });
  for (const name of ['good', 'bad']) await startAgent(name, { dir: join(dir, name, 'tls') });
  await startAgent('plain', { dir: join(dir, 'plain', 'tls') }, PLAIN);
  await vi.waitFor(() => expect(fs.existsSync(join(proxy, 'crl.pem'))).toBe(true), WAIT);
});
afterAll(async () => {
  await nginx.stop();
  for (const { running } of agents.values()) await running.stop();
  await serving.stop();
  removeFolder(dir);
});

async function startAgent(name: string, output: object, id = ID): Promise<void> {
  const agent = makeAgent(ca, name, { evidence: { unix: {} }, id, outputs: [output] });
  agents.set(name, { agent, running: await agent.run() });
  await vi.waitFor(() => expect(fs.existsSync(join(tls(name), 'svid.pem'))).toBe(true), WAIT);
}
const tls = (name: string): string => join(dir, name, 'tls');
async function serialOf(name: string): Promise<string> {
  const found = agents.get(name);
  if (found === undefined) throw new Error(name);
  return (await readStatus(found.agent.socket)).serial ?? '';
}

/** `openssl verify` of the certificate of an agent by the files of the proxy: its status and what it said. */
function verify(name: string, ...flags: readonly string[]): readonly [number | null, string] {
  const files = ['-CAfile', join(tls('proxy'), 'bundle.pem'), '-CRLfile', join(tls('proxy'), 'crl.pem')];
  const chain = ['-untrusted', join(tls(name), 'svid.pem'), join(tls(name), 'svid.pem')];
  const { status, stdout, stderr } = spawnSync('openssl', ['verify', ...flags, ...files, ...chain], {
    encoding: 'utf8',
  });
  return [status, `${stdout}${stderr}`];
}

test('OpenSSL reads the lists, and accepts whom nothing revokes, by all lists of the chain', () => {
  const pem = fs.readFileSync(join(tls('proxy'), 'crl.pem'), 'utf8');
  const blocks = pem.match(/-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----\n/g) ?? [];
  expect(blocks).toHaveLength(2);
  for (const input of blocks) {
    const said = execFileSync('openssl', ['crl', '-noout', '-text'], { input, encoding: 'utf8' });
    expect(said).toMatch(
      /Version 2 \(0x1\)[\s\S]*Next Update[\s\S]*X509v3 CRL Number[\s\S]*No Revoked Certificates/,
    );
  }
  for (const flag of ['-crl_check', '-crl_check_all'])
    expect(verify('good', flag)).toEqual([0, expect.stringMatching(/OK$/m)]);
});

test('OpenSSL reads the name of a list in a certificate, and none where the Identity wants none', () => {
  const point = /X509v3 CRL Distribution Points:[\s\S]*?URI:(\S+)/;
  const read = (name: string) =>
    execFileSync('openssl', ['x509', '-noout', '-text', '-in', join(tls(name), 'svid.pem')], {
      encoding: 'utf8',
    });
  expect(point.exec(read('good'))?.[1]).toMatch(new RegExp(`^http://127.0.0.1:${crlPort}/[0-9a-f]+\\.crl$`));
  expect(read('plain')).not.toMatch(point);
  // It is judged by lists all the same, where a verifier has them.
  expect(verify('plain', '-crl_check_all')).toEqual([0, expect.stringMatching(/OK$/m)]);
});

test('an output that does not ask has no lists', () => {
  expect(fs.existsSync(join(tls('good'), 'crl.pem'))).toBe(false);
});

describe('a revoked certificate', () => {
  beforeAll(async () => {
    if (NGINX === undefined) return console.info('nginx is missing: its part of this test is left out');
    nginx.start();
    await vi.waitFor(async () => {
      expect(await askOver(port, tls('good'))).toBe('HTTP/1.1 200 OK');
      expect(await askOver(port, tls('bad'))).toBe('HTTP/1.1 200 OK');
    }, WAIT);
    // The output is up to date once nginx was told.
    await vi.waitFor(async () => expect((await statusOfProxy()).outputs[0]?.failure).toBeNull(), WAIT);
  });
  const statusOfProxy = async () => {
    const found = agents.get('proxy');
    if (found === undefined) throw new Error('no proxy');
    return readStatus(found.agent.socket);
  };

  test('is refused by nginx within one push, and by OpenSSL, while the others go on', async () => {
    const serial = await serialOf('bad');
    expect(await ca.cli('revoke', serial, '--reason', 'keyCompromise')).toMatchObject({ status: 0 });
    const revoked = performance.now();
    await vi.waitFor(
      () =>
        expect(verify('bad', '-crl_check_all')).toEqual([2, expect.stringMatching(/certificate revoked/)]),
      WAIT,
    );
    expect(verify('good', '-crl_check_all')[0]).toBe(0);
    if (NGINX !== undefined) {
      await vi.waitFor(async () => {
        expect(await askOver(port, tls('bad'))).toBe('HTTP/1.1 400 Bad Request');
      }, WAIT);
      console.info(`${NGINX} refuses ${Math.round(performance.now() - revoked)} ms after the command`);
      expect(await askOver(port, tls('good'))).toBe('HTTP/1.1 200 OK');
    }
    expect((await statusOfProxy()).problems).toEqual([]);
  });

  test('is refused by HAProxy, which reads the same files', async () => {
    if (spawnSync('haproxy', ['-v']).status !== 0)
      return console.info('HAProxy is missing: this test is left out');
    const [own, listen] = [join(dir, 'haproxy'), await freePort()];
    fs.mkdirSync(own);
    const both = ['svid.pem', 'key.pem'].map((name) => fs.readFileSync(join(tls('proxy'), name), 'utf8'));
    fs.writeFileSync(join(own, 'both.pem'), both.join(''), { mode: 0o600 });
    const [bundle, lists] = [join(tls('proxy'), 'bundle.pem'), join(tls('proxy'), 'crl.pem')];
    const bind = `bind 127.0.0.1:${listen} ssl crt ${join(own, 'both.pem')} verify required`;
    const front = [
      'frontend it',
      'mode http',
      'timeout client 5s',
      `${bind} ca-file ${bundle} crl-file ${lists}`,
    ];
    const config = join(own, 'haproxy.cfg');
    fs.writeFileSync(config, `${front.join('\n')}\nhttp-request return status 200\n`);
    const haproxy = spawn('haproxy', ['-db', '-f', config], { stdio: 'ignore' });
    try {
      await vi.waitFor(async () => expect(await askOver(listen, tls('good'))).toBe('HTTP/1.1 200 OK'), WAIT);
      expect(await askOver(listen, tls('bad'))).toMatch(/alert certificate revoked/);
    } finally {
      haproxy.kill('SIGKILL');
    }
  });

  test('is on the list that it names itself', async () => {
    const args = ['x509', '-in', join(tls('good'), 'svid.pem'), '-noout', '-ext', 'crlDistributionPoints'];
    const [, url = ''] = /URI:(\S+)/.exec(execFileSync('openssl', args, { encoding: 'utf8' })) ?? [];
    const response = await fetch(url);
    expect(response.headers.get('content-type')).toBe('application/pkix-crl');
    const file = join(dir, 'fetched.crl');
    fs.writeFileSync(file, Buffer.from(await response.arrayBuffer()));
    // The issuer is the second certificate of the file.
    const chain = ['-CAfile', join(tls('good'), 'svid.pem')];
    const { stdout, stderr } = spawnSync(
      'openssl',
      ['crl', '-inform', 'DER', '-in', file, '-text', '-noout', ...chain],
      {
        encoding: 'utf8',
      },
    );
    expect(stderr).toMatch(/verify OK/);
    const serial = (await serialOf('bad')).toUpperCase();
    expect(stdout).toMatch(
      new RegExp(`Serial Number: ${serial}[\\s\\S]*CRL Reason Code:\\s*Key Compromise`, 'i'),
    );
  });
});
