/** A CA above: a corporate CA of openssl certifies our root, and programs that trust only that CA are the judges. */
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { makeOpensslCa, type OpensslCa } from '../kit/ca/openssl-ca.ts';
import { buildGo, runProgram as runFile } from '../kit/languages/go.ts';
import { askOver, makeNginx, type Nginx, nginxVersion } from '../kit/nginx.ts';
import {
  type CaFolder,
  freePort,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'above.example';
const ID = `spiffe://${TRUST_DOMAIN}/w`;
const GATEWAY = `spiffe://${TRUST_DOMAIN}/gateway`;
const WAIT = { timeout: 60_000, interval: 50 };
const NGINX = nginxVersion();
const resourcesFor = (address: string): readonly object[] => [
  { kind: 'Identity', name: 'w', platform: 'unix', id: ID },
  { kind: 'Identity', name: 'gateway', platform: 'unix', id: GATEWAY },
  { kind: 'McpServer', name: 's', identity: GATEWAY, address },
  { kind: 'Access', name: 'a', who: [ID], servers: ['s'], tools: { allow: ['*'] } },
];

const dir = makeFolder();
const at = (name: string): string => join(dir, name);
const full = at('agent/full');
const short = at('agent/short');
let ca: CaFolder;
let serving: Running;
let running: Running[] = [];
let corporate: OpensslCa;
let nginx: Nginx | undefined;
let gatewayPort: number;
/** Of a gateway with `chain: full`. */
let fullPort: number;
beforeAll(async () => {
  corporate = makeOpensslCa(at('corporate'), TRUST_DOMAIN);
  gatewayPort = await freePort();
  const address = `127.0.0.1:${gatewayPort}`;
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, resourcesFor(address)));
  const outputs = [{ dir: 'full', chain: 'full' }, { dir: 'short' }];
  const agent = makeAgent(ca, 'agent', { evidence: { unix: {} }, id: ID, outputs });
  const gateway = makeAgent(ca, 'gateway', {
    ...{ evidence: { unix: {} }, id: GATEWAY },
    gateway: { server: 's', listen: address, upstream: { url: 'http://127.0.0.1:1/mcp' } },
  });
  fullPort = await freePort();
  const known = makeAgent(ca, 'known', {
    ...{ evidence: { unix: {} }, id: GATEWAY },
    gateway: {
      ...{ server: 's', listen: `127.0.0.1:${fullPort}`, chain: 'full' },
      upstream: { url: 'http://127.0.0.1:1/mcp' },
    },
  });
  running = [await agent.run(), await gateway.run('gateway'), await known.run('gateway')];
  await vi.waitFor(() => expect(fs.existsSync(join(full, 'svid.pem'))).toBe(true), WAIT);
});
afterAll(async () => {
  await nginx?.stop();
  for (const each of running) await each.stop();
  await serving.stop();
  removeFolder(dir);
});

const must = async (...args: readonly string[]): Promise<string> => {
  const { status, stdout, stderr } = await ca.cli(...args);
  expect([status, stderr]).toEqual([0, stderr]);
  return stdout;
};
const blocks = (folder: string): number =>
  fs.readFileSync(join(folder, 'svid.pem'), 'utf8').split('BEGIN CERTIFICATE').length - 1;
/** By the corporate root alone: what openssl says of the chain in this folder. */
function verify(folder: string): readonly [number | null, string] {
  const svid = join(folder, 'svid.pem');
  const args = ['verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile', corporate.root];
  const { status, stdout, stderr } = spawnSync('openssl', [...args, '-untrusted', svid, svid], {
    encoding: 'utf8',
  });
  return [status, `${stdout}${stderr}`];
}
/** What a client with the corporate root alone says of the gateway at `port`: openssl's verdict, and what was sent. */
function handshake(port: number): { readonly verdict: string; readonly sent: readonly string[] } {
  const own = ['-cert', join(full, 'svid.pem'), '-key', join(full, 'key.pem')];
  const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', corporate.root, '-x509_strict'];
  const { stdout } = spawnSync('openssl', [...args, ...own, '-purpose', 'sslserver', '-showcerts'], {
    ...{ encoding: 'utf8', input: '' },
  });
  const [verdict = 'none'] = /Verification: OK|Verification error: .*/.exec(stdout) ?? [];
  return { verdict, sent: stdout.match(/-----BEGIN CERT[\s\S]*?END CERTIFICATE-----/g)?.slice(0, 8) ?? [] };
}
const statusOf = async () => JSON.parse(await must('rotate', 'status', '--json'));

/** Asks for a root, has it certified, imports the chain. */
async function certify(root: readonly string[], name: string): Promise<string> {
  await must('authorities', 'request', '--above', ...root, '-o', at(name));
  const [file = ''] = fs.readdirSync(at(name));
  const request = join(at(name), file);
  const checked = spawnSync('openssl', ['req', '-verify', '-noout', '-text', '-in', request], {
    encoding: 'utf8',
  });
  const said = `${checked.stdout}${checked.stderr}`;
  expect(said).toMatch(/verify OK/);
  expect(said).toMatch(/CA:TRUE, pathlen:1[\s\S]*Certificate Sign, CRL Sign/);
  fs.writeFileSync(at(`${name}.pem`), corporate.certify(request));
  const dry = await must('authorities', 'import', at(`${name}.pem`), '--root', corporate.root, '--dry-run');
  expect(dry).toMatch(/would be handed to agents, until [\s\S]*nothing was changed \(dry run\)/);
  return must('authorities', 'import', at(`${name}.pem`), '--root', corporate.root);
}

describe('a CA above', () => {
  test('before it has certified anything, the full chain is the short one, and the agent says so', async () => {
    expect([blocks(full), blocks(short)]).toEqual([2, 2]);
    expect(running[0]?.log()).toMatch(/an output has the short chain and not the full one/);
    expect(verify(full)).toEqual([2, expect.stringMatching(/unable to get/)]);
  });

  test('certifies the root that signs, and openssl takes the full chain by the corporate root alone', async () => {
    const said = await certify([], 'first');
    expect(said).toMatch(/CN=Chancery root .*issued by .*CN=Intermediate/);
    await vi.waitFor(() => expect(blocks(full)).toBe(4), WAIT);
    expect(blocks(short)).toBe(2);
    expect(verify(full)).toEqual([0, expect.stringMatching(/OK$/m)]);
    expect(verify(short)).toEqual([2, expect.stringMatching(/unable to get/)]);
    expect(await must('authorities')).toMatch(
      /^root [0-9a-f]+ is certified from above, by .*CN=Root, until /m,
    );
    expect(await must('audit', 'query', '--text', 'authority.crossCertified')).toMatch(/crossCertified/);
  });

  test('Go takes the full chain for both purposes, and not the short one', async ({ skip }) => {
    const missing = await buildGo('go-chain', at('go'), 'chain').catch((error: unknown) => String(error));
    skip(missing !== undefined, `no Go here: ${missing}`);
    const verdict = (folder: string) =>
      runFile(join(at('go'), 'chain'), [corporate.root, join(folder, 'svid.pem')]).then(
        () => 'good',
        (error: { stderr: string }) => error.stderr,
      );
    expect(await verdict(full)).toBe('good');
    expect(await verdict(short)).toMatch(/unknown authority/);
  });

  test('I330 a client of the corporate root alone takes the gateway with the full chain, and not the other', async ({
    skip,
  }) => {
    expect(handshake(gatewayPort)).toMatchObject({ verdict: expect.stringMatching(/unable to get/) });
    await vi.waitFor(() => expect(handshake(fullPort).verdict).toBe('Verification: OK'), WAIT);
    const { sent } = handshake(fullPort);
    const chain = sent.map((pem) => new X509Certificate(pem));
    expect(chain.map(({ issuer }) => issuer.replaceAll('\n', ' '))).toEqual([
      expect.stringMatching(/^CN=Chancery intermediate /),
      expect.stringMatching(/^CN=Chancery root /),
      expect.stringMatching(/CN=Intermediate$/),
      expect.stringMatching(/CN=Root$/),
    ]);
    expect(await must('authorities')).toContain('certified from above');
    // Ours, which trust our root alone, take it as well.
    expect(await answerOf(fullPort, ownFiles())).toMatch(/^HTTP\/1\.1 /);
    fs.writeFileSync(at('sent.pem'), sent.join('\n'));
    skip(!fs.existsSync(join(at('go'), 'chain')), 'no Go here');
    await runFile(join(at('go'), 'chain'), [corporate.root, at('sent.pem')]);
  });

  test('nginx takes a client with the full chain and refuses the short one; a client takes its full chain', async ({
    skip,
  }) => {
    skip(NGINX === undefined, 'no nginx here');
    const port = await freePort();
    nginx = makeNginx(at('nginx'), full, port, corporate.root);
    nginx.start();
    await vi.waitFor(async () => expect(await askOver(port, full)).toBe('HTTP/1.1 200 OK'), WAIT);
    expect(await askOver(port, short)).toBe('HTTP/1.1 400 Bad Request');
    expect(await askOver(port, full, corporate.root)).toBe('HTTP/1.1 200 OK');
  });

  test('I235 what it certifies for names of ours is refused by the gateway', async () => {
    const forged = corporate.mint(ID, 'forged');
    const files = { cert: fs.readFileSync(forged.chain), key: fs.readFileSync(forged.key) };
    const cross = fs.readFileSync(at('first.pem'));
    const root = fs.readFileSync(corporate.root);
    expect(await answerOf(gatewayPort, ownFiles())).toMatch(/^HTTP\/1\.1 /);
    for (const more of [[], [cross], [root], [cross, root]]) {
      const shown = { ...files, cert: Buffer.concat([files.cert, ...more]) };
      expect(await answerOf(gatewayPort, shown)).toBe('');
    }
  });

  test('each root of a rotation needs its own', async () => {
    await must('rotate');
    const next = (await statusOf()).roots.find(({ state }: { state: string }) => state !== 'active')?.serial;
    await vi.waitFor(async () => expect((await statusOf()).stage).toBe('published'), WAIT);
    expect(await must('rotate', 'status')).toContain(`root ${next} has no certificate from the CA above`);
    const checked = await ca.cli('check');
    expect(checked.stderr).toContain(`root ${next} has no certificate from the CA above`);
    await certify([next], 'second');
    expect((await ca.cli('check')).stderr).not.toContain(`root ${next} has no certificate`);
    expect(await must('rotate', 'status')).not.toContain(`root ${next} has no certificate`);
    await vi.waitFor(async () => expect((await statusOf()).waits).toEqual([]), WAIT);
    const serial = fs.readFileSync(join(full, 'svid.pem'), 'utf8');
    await must('rotate', 'next');
    await vi.waitFor(() => expect(fs.readFileSync(join(full, 'svid.pem'), 'utf8')).not.toBe(serial), WAIT);
    await vi.waitFor(() => expect(blocks(full)).toBe(4), WAIT);
    expect(verify(full)).toEqual([0, expect.stringMatching(/OK$/m)]);
    await vi.waitFor(() => expect(handshake(fullPort).verdict).toBe('Verification: OK'), WAIT);
    expect((await must('authorities')).match(/is certified from above/g)).toHaveLength(2);
  });

  test('I267 a chain that does not permit a DNS name which a resource in force gives is not imported', async () => {
    const other = { kind: 'Identity', name: 'o', platform: 'unix', id: `${ID}/o` };
    const give = () =>
      ca.cli('authorities', 'import', at('second.pem'), '--root', corporate.root, '--dry-run');
    for (const [name, ran] of [
      [
        'o.elsewhere.example',
        { status: 1, stderr: expect.stringMatching(/do not permit the DNS name o\.elsewhere/) },
      ],
      [`o.${TRUST_DOMAIN}`, { status: 0, stderr: '' }],
    ] as const) {
      await ca.apply([...resourcesFor(`127.0.0.1:${gatewayPort}`), { ...other, x509: { dnsNames: [name] } }]);
      expect(await give()).toMatchObject(ran);
    }
  });

  test('a stolen root that it has certified: what it must revoke is said, and the root after it needs its own', async () => {
    const { roots } = await statusOf();
    const stolen = roots.find(({ state }: { state: string }) => state === 'active').serial;
    const cross = new X509Certificate(fs.readFileSync(at('second.pem')));
    const revoke = `the CA above must revoke its certificate ${cross.serialNumber.toLowerCase()} of root ${stolen}`;
    expect(await must('taint', stolen, '--reason', 'a drill', '--dry-run')).toContain(revoke);
    const before = fs.readFileSync(join(full, 'svid.pem'), 'utf8');
    expect(await must('taint', stolen, '--reason', 'a drill', '--yes')).toContain(revoke);
    expect(await must('authorities')).toContain(revoke);
    // Peers of the CA above refuse what the root after it signs, until it has a chain.
    const next = (await statusOf()).roots.find(({ state }: { state: string }) => state === 'active').serial;
    expect(next).not.toBe(stolen);
    await vi.waitFor(() => expect(fs.readFileSync(join(full, 'svid.pem'), 'utf8')).not.toBe(before), WAIT);
    await vi.waitFor(() => expect(blocks(full)).toBe(2), WAIT);
    expect(verify(full)).toEqual([2, expect.stringMatching(/unable to get/)]);
    expect(await must('rotate', 'status')).toContain(`root ${next} has no certificate from the CA above`);
    await certify([], 'third');
    await vi.waitFor(() => expect(blocks(full)).toBe(4), WAIT);
    expect(verify(full)).toEqual([0, expect.stringMatching(/OK$/m)]);
    // What the thief could still show is what the CA above has to revoke.
    expect(await must('authorities')).toContain(revoke);
  });
});

const ownFiles = () => ({
  cert: fs.readFileSync(join(full, 'svid.pem')),
  key: fs.readFileSync(join(full, 'key.pem')),
});

/** What a server of ours answers to a client with these files; empty if it ends the connection without a word. */
function answerOf(port: number, files: { cert: Buffer; key: Buffer }): Promise<string> {
  return new Promise((resolve) => {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...files });
    let said = '';
    socket.once('secureConnect', () => socket.write('GET / HTTP/1.1\r\nhost: s\r\n\r\n'));
    socket.on('data', (bytes) => {
      said += bytes.toString('latin1');
      socket.end();
    });
    socket.on('error', () => resolve(said));
    socket.on('close', () => resolve(said));
  });
}
