import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { runProgram } from '@chancery/shared/cli/program.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { serveLocalApi } from '../workload/local-api.ts';
import type { StatusReport } from '../workload/local-messages.ts';
import { agentProgram } from './program.ts';

const dir = mkdtempSync(join(tmpdir(), 'chy-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = join(dir, 'agent.yaml');
const socket = join(dir, 'data', 'agent.sock');
const ownUid = process.getuid?.() ?? 0;
const least = {
  trustDomain: 'prod.example',
  ca: { address: '127.0.0.1:1', bundle: 'bundle.pem' },
  evidence: { tpm: {} },
  dataDir: 'data',
};
const configure = (changes: object = {}): void => writeFileSync(file, stringify({ ...least, ...changes }));
beforeAll(() => {
  mkdirSync(join(dir, 'data'), { mode: 0o700 });
  configure();
});

let clientInput = new PassThrough();
const program = agentProgram(
  {
    clock: systemClock,
    random: () => 0.5,
    randomBytes: (size) => new Uint8Array(size),
    ownUid,
    platform: 'linux',
    ownPid: process.pid,
    signalProcess: () => {},
    logAt: () => silentLog,
    version: '1.2.3',
    self: () => ['/usr/bin/node', '/opt/chancery/main.ts'],
    stdio: () => ({ input: clientInput, output: new PassThrough() }),
  },
  '1.2.3',
);

/** Of the terminal. */
let columns: number | undefined;
async function cli(...args: readonly string[]) {
  let [out, err] = ['', ''];
  const io = {
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
    env: {},
    signal: AbortSignal.timeout(20_000),
    input: async () => '',
    isTerminal: false,
    columns,
  };
  const status = await runProgram(program, [...args, '--config', file], io);
  return { status, out, err };
}

const report: StatusReport = {
  version: '1.2.3',
  spiffeId: 'spiffe://prod.example/web',
  serial: '0102',
  notAfter: '2026-06-01T13:00:00.000Z',
  renewAfter: '2026-06-01T12:30:00.000Z',
  expired: false,
  renewalFailure: null,
  revoked: null,
  trustStream: { up: true, since: '2026-06-01T12:00:00.000Z', failure: null },
  skewSeconds: 0,
  policyVersion: 7,
  servers: ['github', 'jira'],
  gateway: { server: 'github', port: 8443 },
  connect: [{ server: 'jira', listen: 'unix:/run/jira.sock' }],
  outputs: [],
  problems: [],
};

describe('status', () => {
  let served: { close(): Promise<void> } | undefined;
  afterEach(async () => {
    await served?.close();
    served = undefined;
  });
  const serve = async (changes: Partial<StatusReport> = {}): Promise<void> => {
    const status = () => ({ ...report, ...changes });
    served = await serveLocalApi({ path: socket, agent: undefined, status, ownUid, log: silentLog });
  };

  test('tells what the agent is', async () => {
    await serve();
    expect(await cli('status')).toEqual({
      status: 0,
      err: '',
      out: `SPIFFE ID     spiffe://prod.example/web
certificate   0102
valid until   2026-06-01T13:00:00.000Z, renewed about 2026-06-01T12:30:00.000Z
CA            heard since 2026-06-01T12:00:00.000Z
policy        version 7
MCP servers   github, jira
gateway       before github, port 8443
connect       jira at unix:/run/jira.sock
`,
    });
  });

  test('tells what it is not', async () => {
    await serve({ policyVersion: null, servers: [], gateway: null, connect: [] });
    const { out } = await cli('status');
    expect(out).toMatch(/^policy {8}none yet$/m);
    expect(out).toMatch(/^MCP servers {3}none that this workload may reach$/m);
    expect(out).not.toMatch(/^(gateway|connect|renewal)/m);
  });

  test('says why a renewal fails, and is well while the certificate is', async () => {
    await serve({ renewalFailure: 'the CA does not answer' });
    const { status, out } = await cli('status');
    expect(status).toBe(0);
    expect(out).toMatch(/^renewal {7}fails: the CA does not answer$/m);
  });

  test('tells an expired certificate, a silent CA, another clock and an output that is not up to date', async () => {
    await serve({
      expired: true,
      trustStream: { up: false, since: '2026-06-01T12:00:00.000Z', failure: 'the CA does not answer' },
      skewSeconds: -90,
      outputs: [
        { dir: '/run/good', failure: null },
        { dir: '/run/tls', failure: 'disk full' },
      ],
    });
    const { out } = await cli('status');
    for (const line of [
      /^expired {7}2026/m,
      /^CA {12}not heard since 2026-06-01T12:00:00.000Z: the CA does not answer$/m,
      /^clock {9}this machine's clock is 90 s behind the CA's$/m,
      /^output {8}\/run\/good\noutput {8}\/run\/tls is not up to date: disk full$/m,
    ])
      expect(out).toMatch(line);
  });

  test.each([[], ['--json']])('is 1 for what needs a person %s', async (...flags) => {
    await serve({ problems: ['the CA was not heard for 300 s: it does not answer'] });
    const { status, out } = await cli('status', ...flags.flat());
    expect(status).toBe(1);
    expect(out).toMatch(/^PROBLEM {7}the CA was not heard|"problems": \[/m);
  });

  test('as JSON is the report', async () => {
    await serve();
    const { status, out } = await cli('status', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(out)).toEqual(report);
  });

  test('is 1 without an agent, in a sentence', async () => {
    const { status, err } = await cli('status');
    expect(status).toBe(1);
    expect(err).toMatch(/no agent answers at .*agent\.sock: run chancery-agent run/);
    expect(err).not.toMatch(/ at .*\.ts:\d+/);
  });
});

describe('what is not meant', () => {
  const unix = { evidence: { unix: {} }, ca: { ...least.ca, socket: 'join.sock' } };
  const inTpm = { evidence: { tpm: { key: 'tpm' } }, outputs: [{ dir: 'out' }] };
  test.each<readonly [string, object, readonly string[], RegExp]>([
    [
      'gateway without one in the config',
      unix,
      ['gateway'],
      /gateway: server, listen and upstream are expected/,
    ],
    ['connect without a name', unix, ['connect'], /expected: connect NAME/],
    ['connect with two names', unix, ['connect', 'a', 'b'], /expected: connect NAME/],
    [
      'connect on every interface',
      unix,
      ['connect', 'a', '--listen', '0.0.0.0:1'],
      /--listen is unix:PATH or/,
    ],
    [
      'connect with a key in the TPM',
      inTpm,
      ['connect', 'a'],
      /connect: this needs a key that the agent can use/,
    ],
    ['mcp without its verb', unix, ['mcp'], /expected: mcp config NAME/],
    [
      'mcp for a client that nobody knows',
      unix,
      ['mcp', 'config', 'a', '--client', 'toString'],
      /--client is one of/,
    ],
    ['a config that is broken', { ca: {} }, ['run'], /ca\.address/],
    ['an unknown command', unix, ['toString'], /unknown command "toString"/],
  ])('%s', async (_, changes, args, says) => {
    configure(changes);
    const { status, err } = await cli(...args);
    expect(status).toBe(2);
    expect(err).toMatch(says);
    configure();
  });
});

test('connect ends with the reason when its client leaves before an agent has answered', async () => {
  configure({ evidence: { unix: {} }, ca: { ...least.ca, socket: 'join.sock' } });
  // What an agent that was killed leaves behind: nobody answers there.
  writeFileSync(socket, '');
  clientInput = new PassThrough();
  const running = cli('connect', 'a');
  clientInput.write('{}\n');
  setImmediate(() => clientInput.end());
  const { status, err } = await running;
  expect(status).toBe(1);
  expect(err).toContain(`no agent answers at ${socket}`);
  rmSync(socket);
  configure();
});

describe('mcp config', () => {
  const entry = {
    command: '/usr/bin/node',
    args: ['/opt/chancery/main.ts', 'connect', 'github', '--config', file],
  };
  test.each([
    [[], { mcpServers: { github: entry } }],
    [['--client', 'cursor'], { mcpServers: { github: entry } }],
    [['--client', 'vscode'], { servers: { github: { type: 'stdio', ...entry } } }],
  ])('prints the entry %s', async (flags, expected) => {
    const { status, out } = await cli('mcp', 'config', 'github', ...flags);
    expect(status).toBe(0);
    expect(JSON.parse(out)).toEqual(expected);
  });
});

describe('doctor', () => {
  afterEach(() => {
    columns = undefined;
  });
  const joinSocket = join(dir, 'join.sock');
  const ca = { ...least.ca, socket: joinSocket };
  const unix = async () => JSON.parse((await cli('doctor', '--json')).out).platforms.at(-1);

  test('looks for the socket of the CA where the config proves unix', async () => {
    configure({ ca, evidence: { unix: {} } });
    const missing = `no CA at the socket ${joinSocket}: its socket does not exist. Start the CA, or mend ca.socket`;
    expect(await unix()).toEqual({ name: 'unix', good: false, says: missing });
    const serving = net.createServer().listen(joinSocket);
    await once(serving, 'listening');
    expect(await unix()).toEqual({ name: 'unix', good: true, says: `the CA's socket ${joinSocket} answers` });
    serving.close();
    configure();
    expect(await unix()).toMatchObject({ name: 'unix', good: false });
  });

  test('says what it found in plain words, and what to do', async () => {
    configure({ ca: { ...least.ca, bundle: undefined, pin: 'ab'.repeat(32) } });
    const { out } = await cli('doctor');
    expect(out).toMatch(
      /no {3}127\.0\.0\.1:1 {2}the CA does not answer: 127\.0\.0\.1:1: the connection was refused/,
    );
    expect(out).not.toMatch(/E[A-Z]+: |\b(access|connect|getaddrinfo) |Error:|Last error/);
  });

  test('fits a terminal of 40 columns but for words that are longer', async () => {
    columns = 40;
    const { out } = await cli('doctor');
    const wide = out.split('\n').filter((line) => line.length > 40 && line.trim().includes(' '));
    expect(wide).toEqual([]);
  });
});
