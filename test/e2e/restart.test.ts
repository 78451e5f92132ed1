/** An agent without its CA, and the files that it writes, in the hands of programs that are not ours. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { readStatus } from '@chancery/agent/workload/attach.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
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

const run = promisify(execFile);
const TRUST_DOMAIN = 'files.example';
let dir: string;
let ca: CaFolder;
let serving: Running;
let agent: AgentFolder;
let running: Running;
beforeAll(async () => {
  dir = makeFolder();
  const x509 = { ttl: '10m', dnsNames: ['localhost'] };
  const id = `spiffe://${TRUST_DOMAIN}/w`;
  const identity = { kind: 'Identity', name: 'w', platform: 'unix', id, x509 };
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [identity]));
  const told = join(dir, 'told');
  const outputs = [{ dir: 'out', mode: '0640', command: ['/bin/sh', '-c', `echo told >> ${told}`] }];
  agent = makeAgent(ca, 'agent', { evidence: { unix: {} }, outputs });
  running = await agent.run();
  await untilThere(told);
});
afterAll(async () => {
  await running.stop();
  await serving.stop();
  removeFolder(dir);
});

const file = (name: string): string => join(agent.dir, 'out', name);
const material = () => ({
  cert: readFileSync(file('svid.pem')),
  key: readFileSync(file('key.pem')),
  ca: readFileSync(file('bundle.pem')),
});

async function untilThere(path: string): Promise<void> {
  while (statSync(path, { throwIfNoEntry: false }) === undefined)
    await new Promise((resolve) => setImmediate(resolve));
}

describe('the files', () => {
  test('openssl verifies the chain, strictly', async () => {
    const args = [
      'verify',
      '-x509_strict',
      '-purpose',
      'sslserver',
      '-CAfile',
      file('bundle.pem'),
      '-untrusted',
      file('svid.pem'),
    ];
    expect((await run('openssl', [...args, file('svid.pem')])).stdout).toMatch(/: OK/);
  });

  test('the key is protected as the config says, the other two are public', () => {
    expect(statSync(file('key.pem')).mode & 0o777).toBe(0o640);
    expect(statSync(file('svid.pem')).mode & 0o777).toBe(0o644);
  });

  test('Node, plain, completes mutual TLS on both sides', async () => {
    const server = tls.createServer(
      { ...material(), requestCert: true, rejectUnauthorized: true },
      (socket) => {
        socket.end(socket.getPeerCertificate().subjectaltname ?? '');
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const socket = tls.connect({ ...material(), port, host: '127.0.0.1', servername: 'localhost' });
    const [said] = await once(socket, 'data');
    expect(String(said)).toBe(`URI:spiffe://${TRUST_DOMAIN}/w, DNS:localhost`);
    expect(socket.authorized).toBe(true);
    socket.destroy();
    server.close();
  });

  test('openssl s_client completes mutual TLS with openssl s_server', async () => {
    const port = await freePort();
    const own = [
      '-cert',
      file('svid.pem'),
      '-cert_chain',
      file('svid.pem'),
      '-key',
      file('key.pem'),
      '-CAfile',
      file('bundle.pem'),
    ];
    const server = spawn('openssl', [
      's_server',
      '-accept',
      `127.0.0.1:${port}`,
      '-Verify',
      '3',
      '-verify_return_error',
      '-tls1_3',
      '-naccept',
      '1',
      '-www',
      ...own,
    ]);
    await once(server.stdout, 'data');
    const client = spawn('openssl', [
      's_client',
      '-connect',
      `127.0.0.1:${port}`,
      '-verify',
      '3',
      '-verify_return_error',
      '-tls1_3',
      ...own,
    ]);
    let said = '';
    client.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('Verify return code')) client.stdin.end('GET / HTTP/1.0\r\n\r\n');
    });
    await once(client, 'close');
    server.kill();
    expect(said).toMatch(/Verify return code: 0 \(ok\)/);
  });
});

describe('without the CA', () => {
  test('a restarted agent serves the certificate that it had', async () => {
    const before = await readStatus(agent.socket);
    await serving.stop('SIGKILL');
    await running.stop('SIGKILL');
    running = await agent.run();
    const after = await readStatus(agent.socket);
    expect(after.serial).toBe(before.serial);
    expect(after.policyVersion).toBe(before.policyVersion);
    expect(running.log()).toMatch(/started with the saved SVID/);
  });

  test('and follows the CA again when that is back', async () => {
    serving = await ca.serve();
    for (;;) {
      const { stdout } = await ca.cli('agents', '--json');
      const agents: unknown[] = JSON.parse(stdout);
      if (agents.length > 0) break;
    }
  });

  test('a state file that others may read is refused', async () => {
    await running.stop();
    const state = join(agent.dir, 'data', 'state.json');
    expect(statSync(state).mode & 0o777).toBe(0o600);
    await run('chmod', ['644', state]);
    const ran = await agent.cli('run');
    expect(ran.status).toBe(1);
    expect(ran.stderr).toMatch(/state\.json/);
    expect(ran.stderr).not.toMatch(/ at .*\.ts:\d+/);
    await run('chmod', ['600', state]);
    running = await agent.run();
  });
});
