/** Jobs without an agent beside them: one certificate, or a command that has one for as long as it runs. */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startIssuer, type TestIssuer } from '../kit/oidc/issuer.ts';
import {
  AGENT_MAIN,
  type CaFolder,
  isRunning,
  killLeft,
  makeCa,
  makeFolder,
  type Ran,
  type Running,
  removeFolder,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'jobs.example';
const ID = `spiffe://${TRUST_DOMAIN}/repo/74`;
const identity = {
  kind: 'Identity',
  name: 'ci',
  platform: 'oidc/github',
  id: `spiffe://${TRUST_DOMAIN}/repo/{repositoryId}`,
  x509: { ttl: '6s' },
};
const workflow = {
  repository: 'octo-org/octo-repo',
  repository_id: '74',
  job_workflow_ref: 'octo-org/octo-repo/.github/workflows/ci.yml@refs/heads/main',
  event_name: 'push',
  run_id: '1',
  run_attempt: '1',
};

let dir: string;
let hub: TestIssuer;
let ca: CaFolder;
let serving: Running;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  dir = makeFolder();
  hub = await startIssuer({ now: () => new Date(), claims: workflow });
  const github = { preset: 'github', issuer: hub.url, claims: { repository_id: ['74'] } };
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { oidc: { github } } });
  serving = await ca.serve();
  await ca.saveBundle();
  await ca.apply([identity]);
  env = { ...process.env, GITHUB_ACTIONS: 'true', ...hub.env, XDG_RUNTIME_DIR: dir, HOME: dir };
});
afterAll(async () => {
  await serving.stop();
  await hub.close();
  removeFolder(dir);
});

const flags = (): readonly string[] => [
  '--ca',
  `127.0.0.1:${ca.port}`,
  '--trust-domain',
  TRUST_DOMAIN,
  '--bundle',
  ca.bundle,
];

const agent = (args: readonly string[], environment = env): Promise<Ran> =>
  ran([process.execPath, AGENT_MAIN, ...args], environment);

/** Where this machine is itself a cloud's, the program is kept from asking it, if the kernel lets us. */
const ALONE = spawnSync('unshare', ['-rn', 'true']).status === 0 ? ['unshare', '-rn'] : [];

/** On a machine that is no platform at all. */
const agentNowhere = (args: readonly string[]): Promise<Ran> =>
  ran([...ALONE, process.execPath, AGENT_MAIN, ...args], { PATH: process.env['PATH'], HOME: dir });

function ran([program = '', ...args]: readonly string[], environment: NodeJS.ProcessEnv): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(program, args, { env: environment }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
      resolve({ status, stdout, stderr });
    });
  });
}

const leftovers = (): readonly string[] => readdirSync(dir).filter((name) => name.startsWith('chancery-'));

describe('issue', () => {
  test('writes a certificate that openssl verifies, and exits', async () => {
    const out = join(dir, 'out');
    const ran = await agent(['issue', '--out', out, '--json', ...flags()]);
    expect(ran).toMatchObject({ status: 0, stderr: '' });
    const { spiffeId, notAfter, files } = JSON.parse(ran.stdout);
    expect(spiffeId).toBe(ID);
    expect(new Date(notAfter).getTime()).toBeGreaterThan(Date.now());
    expect(statSync(files.key).mode & 0o777).toBe(0o600);
    const verify = ['verify', '-x509_strict', '-CAfile', files.bundle, '-untrusted', files.svid, files.svid];
    expect((await promisify(execFile)('openssl', verify)).stdout).toMatch(/: OK/);
    expect(readdirSync(dir).filter((name) => name === 'data')).toEqual(['data']);
  });

  test('says who it is, and takes a config as well as flags', async () => {
    const config = join(dir, 'agent.yaml');
    const ours = { trustDomain: TRUST_DOMAIN, ca: { address: `127.0.0.1:${ca.port}`, bundle: ca.bundle } };
    writeFileSync(config, JSON.stringify({ ...ours, platform: 'auto', dataDir: 'never' }));
    const ran = await agent(['issue', '-o', join(dir, 'out2'), '--config', config, '--id', ID]);
    expect(ran.stdout).toMatch(new RegExp(`^${ID} until .*, in .*out2\n$`));
    expect(existsSync(join(dir, 'never'))).toBe(false);
  });

  const away = () => ['--ca', '127.0.0.1:1', '--trust-domain', TRUST_DOMAIN, '--bundle', ca.bundle];
  test.each<[string, () => readonly string[], number, RegExp]>([
    ['no folder', () => flags(), 2, /expected --out DIR/],
    ['half of the flags', () => ['-o', 'x', '--ca', 'a:1'], 2, /expected --ca and --trust-domain together/],
    [
      'neither flags nor a config',
      () => ['-o', 'x'],
      2,
      /expected --ca, --trust-domain and --bundle or --pin/,
    ],
    ['flags and a config', () => ['-o', 'x', '-c', 'y', ...flags()], 2, /--ca is instead of a config/],
    ['nobody to trust', () => ['-o', 'x', ...flags().slice(0, 4)], 2, /set `bundle` or `pin`/],
    [
      'another trust domain’s ID',
      () => ['-o', 'x', ...flags(), '--id', 'spiffe://a/b'],
      2,
      /is not of trust domain/,
    ],
    [
      'an ID that is not earned',
      () => ['-o', 'x', ...flags(), '--id', `${ID}/b`],
      1,
      /PERMISSION_DENIED.*no identity/,
    ],
    [
      'a CA that is away',
      () => ['-o', 'x', '--timeout', '1s', ...away()],
      1,
      /no certificate in 1 s: the CA does not/,
    ],
  ])('with %s says so and writes nothing', async (_, args, status, says) => {
    const ran = await agent(['issue', ...args()]);
    expect(ran.status).toBe(status);
    expect(ran.stderr).toMatch(says);
    expect(existsSync('x')).toBe(false);
  });

  test('before a CA that answered once and then says nothing keeps the reason', async () => {
    let connections = 0;
    const server = net.createServer((socket) => {
      connections += 1;
      socket.on('error', () => {});
      if (connections === 1) socket.destroy();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    const to = ['--ca', `127.0.0.1:${port}`, '--trust-domain', TRUST_DOMAIN, '--bundle', ca.bundle];
    const { status, stderr } = await agent(['issue', '-o', 'x', '--timeout', '5s', ...to]);
    server.close();
    expect({ status, connections }).toEqual({ status: 1, connections: expect.toSatisfy((n) => n > 1) });
    expect(stderr).toMatch(
      /no certificate in 5 s: the CA does not answer: .*; the attempt after that was cut/,
    );
  });

  test('where nothing proves the job says all that it tried', async () => {
    const { status, stderr } = await agentNowhere(['issue', '-o', 'x', ...flags()]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/no supported platform found; tried:\n( {2}[a-z-]+: .+\n){5,}/);
  });
});

describe('exec', () => {
  const script = `
    const { readFileSync } = require('node:fs');
    const { SPIFFE_ID, SPIFFE_SVID_FILE, SPIFFE_KEY_FILE, SPIFFE_BUNDLE_FILE } = process.env;
    require('node:tls').createSecureContext({
      cert: readFileSync(SPIFFE_SVID_FILE), key: readFileSync(SPIFFE_KEY_FILE), ca: readFileSync(SPIFFE_BUNDLE_FILE),
    });
    console.log(JSON.stringify({ SPIFFE_ID, SPIFFE_SVID_FILE, argv: process.argv.slice(1) }));
    process.exitCode = 7;`;

  test('gives the command its files and arguments, answers as it does, and leaves nothing', async () => {
    const ran = await agent(['exec', ...flags(), '--', process.execPath, '-e', script, 'a b', '--json']);
    expect(ran).toMatchObject({ status: 7, stderr: '' });
    const seen = JSON.parse(ran.stdout);
    expect(seen).toMatchObject({ SPIFFE_ID: ID, argv: ['a b', '--json'] });
    expect(existsSync(seen.SPIFFE_SVID_FILE)).toBe(false);
    expect(leftovers()).toEqual([]);
  });

  test('takes from a config how to join, and runs beside the agent of that config', async () => {
    const taken = [1, 2, 3].map(() => net.createServer().listen(0, '127.0.0.1'));
    await Promise.all(taken.map((each) => once(each, 'listening')));
    const [http, local, outer] = taken.map((each) => `127.0.0.1:${(each.address() as net.AddressInfo).port}`);
    const config = join(dir, 'beside.yaml');
    const ours = { trustDomain: TRUST_DOMAIN, ca: { address: `127.0.0.1:${ca.port}`, bundle: ca.bundle } };
    const running = {
      http,
      connect: [{ server: 's', listen: local }],
      gateway: { server: 's', listen: outer, upstream: { url: 'http://127.0.0.1:1/mcp' } },
      outputs: [{ dir: 'of-the-agent' }],
    };
    const text = JSON.stringify({ ...ours, platform: 'auto', dataDir: 'beside', ...running });
    writeFileSync(config, text);
    const ran = await agent(['exec', '--config', config, '--id', ID, '--', 'true']);
    for (const each of taken) each.close();
    expect(ran).toEqual({ status: 0, stdout: '', stderr: '' });
    expect([existsSync(join(dir, 'of-the-agent')), existsSync(join(dir, 'beside'))]).toEqual([false, false]);
  });

  test.each<NodeJS.Signals>(['SIGHUP', 'SIGQUIT'])(
    'I86 at %s the command ends and no key is left on the disk',
    async (signal) => {
      const waiting = `process.on('SIGTERM', () => setTimeout(() => process.exit(3), 200));
        setInterval(() => {}, 1000);
        console.log(process.env.SPIFFE_KEY_FILE);`;
      const args = ['exec', ...flags(), '--', process.execPath, '-e', waiting];
      const child = spawn(process.execPath, [AGENT_MAIN, ...args], {
        env,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
      const key = String(line).trim();
      expect(existsSync(key)).toBe(true);
      child.kill(signal);
      // A terminal that closes and its shell both send it.
      child.kill(signal);
      expect(await once(child, 'exit')).toEqual([3, null]);
      expect(existsSync(key)).toBe(false);
      expect(leftovers()).toEqual([]);
    },
  );

  test.each<[NodeJS.Signals, NodeJS.Signals, number]>([
    ['SIGTERM', 'SIGTERM', 143],
    ['SIGINT', 'SIGQUIT', 131],
    ['SIGHUP', 'SIGINT', 130],
  ])('I95 %s and later %s end it at once, without a key on the disk', async (first, later, status) => {
    const stubborn = `for (const each of ['SIGTERM', 'SIGINT', 'SIGQUIT']) process.on(each, () => {});
      process.on('SIGTERM', () => console.log('asked'));
      setInterval(() => {}, 1000);
      console.log(process.env.SPIFFE_KEY_FILE + ' ' + process.pid);`;
    const args = ['exec', ...flags(), '--', process.execPath, '-e', stubborn];
    const child = spawn(process.execPath, [AGENT_MAIN, ...args], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const [key = '', pid = ''] = String((await lines.next()).value).split(' ');
    expect(existsSync(key)).toBe(true);
    child.kill(first);
    child.kill(first);
    expect(await lines.next()).toMatchObject({ value: 'asked' });
    const again = setInterval(() => child.kill(later), 50);
    const end = await exited;
    clearInterval(again);
    try {
      expect(end).toEqual([status, null]);
      expect(existsSync(key)).toBe(false);
      expect(leftovers()).toEqual([]);
      await vi.waitFor(() => expect(isRunning(Number(pid))).toBe(false), { timeout: 30_000 });
    } finally {
      killLeft([Number(pid)]);
    }
  });

  test('renews while the command runs, and ends it when it is told to end', async () => {
    const watching = `process.on('SIGTERM', () => process.exit(3)); setInterval(() => {}, 1000);
      console.log(process.env.SPIFFE_SVID_FILE);`;
    const args = ['exec', ...flags(), '--', process.execPath, '-e', watching];
    const child = spawn(process.execPath, [AGENT_MAIN, ...args], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
    const file = String(line).trim();
    const first = readFileSync(file, 'utf8');
    await vi.waitFor(() => expect(readFileSync(file, 'utf8')).not.toBe(first));
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([3, null]);
    expect(leftovers()).toEqual([]);
  });

  test.each<[string, readonly string[], number, RegExp]>([
    ['no command', [], 2, /expected: exec -- COMMAND/],
    [
      'a command that is not there',
      ['--', 'no-such-program'],
      127,
      /no-such-program cannot be run: no such program in the PATH/,
    ],
    [
      'a command that cannot be run',
      ['--', '/etc/passwd'],
      126,
      /\/etc\/passwd cannot be run: it is not an executable file/,
    ],
    ['a command that kills itself', ['--', '/bin/sh', '-c', 'kill -9 $$'], 137, /^$/],
    ['an ID that is not earned', ['--id', `${ID}/b`, '--', 'true'], 1, /PERMISSION_DENIED.*no identity/],
  ])('with %s says so', async (_, args, status, says) => {
    const ran = await agent(['exec', ...flags(), ...args]);
    expect(ran.status).toBe(status);
    expect(ran.stderr).toMatch(says);
    expect(leftovers()).toEqual([]);
  });
});

describe('told to end while the CA is away', () => {
  test.each<[string, NodeJS.Signals, readonly string[], number]>([
    ['issue', 'SIGINT', ['-o', 'x'], 130],
    ['issue', 'SIGTERM', ['-o', 'x'], 143],
    ['issue', 'SIGHUP', ['-o', 'x'], 129],
    ['exec', 'SIGINT', ['--', 'true'], 130],
    ['exec', 'SIGQUIT', ['--', 'true'], 131],
    ['run', 'SIGTERM', [], 0],
  ])('%s ends by %s, without a stack and without files', async (command, signal, more, status) => {
    const config = join(dir, 'away.yaml');
    const away = { trustDomain: TRUST_DOMAIN, ca: { address: '127.0.0.1:1', bundle: ca.bundle } };
    writeFileSync(config, JSON.stringify({ ...away, platform: 'auto', dataDir: 'away' }));
    const args = [AGENT_MAIN, command, '--config', config, ...more];
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'inherit', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    await vi.waitFor(() => expect(said).toContain('not joined yet'));
    child.kill(signal);
    expect(await once(child, 'exit')).toEqual([status, null]);
    expect(said.split('\n').filter((line) => line !== '' && !line.startsWith('{'))).toEqual([]);
    expect(leftovers()).toEqual([]);
    expect(existsSync('x')).toBe(false);
  });
});

describe('doctor', () => {
  test('without a config tells what could be proven', async () => {
    const ran = await agent(['doctor', '--json']);
    expect(ran.status).toBe(0);
    const { auto, ca: found, platforms, good } = JSON.parse(ran.stdout);
    expect({ auto, found, good }).toEqual({ auto: 'oidc', found: null, good: true });
    expect(platforms).toContainEqual({
      name: 'oidc',
      good: true,
      says: expect.stringMatching(/a job of GitHub/),
    });
    expect(platforms.every(({ says }: { says: string }) => says !== '')).toBe(true);
  });

  test('with a config also looks for the CA', async () => {
    const config = join(dir, 'agent.yaml');
    const told = await agent(['doctor', '--config', config]);
    expect(told.status).toBe(0);
    expect(told.stdout).toMatch(
      /^platforms\n( {2}(yes|no ) {2}[a-z-]+ +.+\n)+platform: auto would prove oidc\nCA\n/,
    );
    expect(told.stdout).toMatch(/yes {2}127\.0\.0\.1:\d+ +answers and is verified \(2 in its bundle\)/);
    writeFileSync(config, readFileSync(config, 'utf8').replace(/127\.0\.0\.1:\d+/, '127.0.0.1:1'));
    const away = await agent(['doctor', '--config', config]);
    expect(away.status).toBe(1);
    expect(away.stdout).toMatch(/no {3}127\.0\.0\.1:1 +the CA does not answer/);
  });

  test('where nothing could be proven exits 1', async () => {
    const { status, stdout } = await agentNowhere(['doctor']);
    expect(status).toBe(1);
    expect(stdout).toMatch(/no platform is usable; set one under `evidence`/);
  });
});
