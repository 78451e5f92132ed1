/** Calls through a gateway that reports them, while the CA and the gateway are killed and the network between them goes. */
import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type FakeServer, startFakeServer } from '../kit/mcp/servers/server.ts';
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

const TRUST_DOMAIN = 'reports.example';
const id = (path: string): string => `spiffe://${TRUST_DOMAIN}/${path}`;
const [CALLER, TOOLS] = [id('agents/triage'), id('tools/everything')];
/** So small that a thousand calls fill it. */
const SPOOL = 1.5 * 1024 * 1024;
/** On a busy machine each look at the log takes seconds. */
const PATIENCE = { timeout: 180_000, interval: 300 };
vi.setConfig({ testTimeout: 600_000 });

let dir: string;
let ca: CaFolder;
let server: FakeServer;
let gateway: AgentFolder;
let network: Network;
let serving: Running;
let gate: Running;
let caller: Running;
let port: number;
let listen: string;
let httpPort: number;

interface Network {
  readonly port: number;
  isUp: boolean;
  cut(): void;
  close(): void;
}

/** Between the gateway and its CA. */
async function openNetwork(to: number): Promise<Network> {
  const open = new Set<net.Socket>();
  const at = net.createServer((from) => {
    if (!network.isUp) return void from.destroy();
    const onward = net.connect({ host: '127.0.0.1', port: to });
    for (const [one, other] of [
      [from, onward],
      [onward, from],
    ] as const) {
      open.add(one);
      one
        .on('error', () => {})
        .on('close', () => {
          open.delete(one);
          other.destroy();
        });
      one.pipe(other);
    }
  });
  const own = await freePort();
  await new Promise<void>((resolve) => at.listen(own, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const each of open) each.destroy();
  };
  const close = (): void => {
    cut();
    at.close();
  };
  return { port: own, isUp: true, cut, close };
}

const resources = (audit: object) => [
  { kind: 'Identity', name: 'triage', platform: 'unix', id: CALLER },
  { kind: 'Identity', name: 'tools', platform: 'unix', id: TOOLS },
  { kind: 'McpServer', name: 'everything', identity: TOOLS, address: listen, ...audit },
  { kind: 'Access', name: 'agents', who: [CALLER], servers: ['everything'], tools: { allow: ['*'] } },
];

beforeAll(async () => {
  dir = makeFolder();
  server = await startFakeServer();
  if (server.target.kind !== 'url') throw new Error('the server has no URL');
  listen = `127.0.0.1:${await freePort()}`;
  httpPort = await freePort();
  ({ ca, serving } = await serveUnixCa(
    dir,
    TRUST_DOMAIN,
    resources({ audit: 'required', clear: [{ tools: ['get-*'], fields: ['/a', '/b/c'] }] }),
  ));
  network = await openNetwork(ca.port);
  const evidence = { unix: {} };
  gateway = makeAgent(ca, 'gateway', {
    ca: { address: `127.0.0.1:${network.port}`, bundle: ca.bundle, socket: ca.joinSocket },
    evidence,
    id: TOOLS,
    gateway: {
      server: 'everything',
      listen,
      upstream: { url: server.target.url.href },
      report: { maxBytes: SPOOL },
    },
    http: `127.0.0.1:${httpPort}`,
  });
  gate = await gateway.run('gateway');
  port = await freePort();
  const connect = [{ server: 'everything', listen: `127.0.0.1:${port}` }];
  caller = await makeAgent(ca, 'caller', { evidence, id: CALLER, connect }).run();
});
afterAll(async () => {
  for (const each of [caller, gate, serving]) await each.stop();
  network.close();
  await server.close();
  removeFolder(dir);
});

let calls = 0;
/** True if the call was answered by the server. */
async function call(name = 'get-sum'): Promise<boolean> {
  calls += 1;
  const params = { name, arguments: { a: calls, b: 1 } };
  const body = JSON.stringify({ jsonrpc: '2.0', id: calls, method: 'tools/call', params });
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const answer = await fetch(`http://127.0.0.1:${port}/mcp`, { method: 'POST', headers, body });
  return (await answer.text()).includes('"result"');
}
/** Calls go on until this is over. */
async function underCalls(work: () => Promise<void>): Promise<number> {
  let [over, passed] = [false, 0];
  const calling = async (): Promise<void> => {
    while (!over) if (await call().catch(() => false)) passed += 1;
  };
  const callers = [calling(), calling(), calling()];
  try {
    await work();
  } finally {
    over = true;
    await Promise.all(callers);
  }
  return passed;
}
const enough = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

interface Line {
  readonly id: string;
  readonly stage: string;
  readonly count?: number;
}
/** What the gateway wrote to its own file, by what each record is of. */
const written = (): string[] =>
  readFileSync(join(gateway.dir, 'data', 'calls.jsonl'), 'utf8')
    .split('\n')
    .flatMap(nameIn);
/** None for a line that was cut off. */
const nameIn = (line: string): readonly string[] =>
  line.startsWith('{') && line.endsWith('}') ? [nameOf(JSON.parse(line) as Line)] : [];
const nameOf = ({ id, stage, count = 0 }: Line): string => `${stage} ${id} ${count}`;

async function inLog(): Promise<{ readonly names: string[]; readonly numbers: number[] }> {
  const { stdout } = await ca.cli('audit', 'query', '--json', '--all', '--text', 'call.recorded');
  const lines = stdout.split('\n').slice(0, -1);
  const events = lines.map((line) => JSON.parse(line) as { number: number; record: Line });
  return { names: events.map(({ record }) => nameOf(record)), numbers: events.map(({ number }) => number) };
}

/** As many records as calls that are open here may have in one write. */
const ONE_WRITE = 6;
/**
 * Records that a killed gateway had written to its file and not yet to its spool, which comes second: a call that was
 * to be let in was not, and of an answer it knew nothing afterwards.
 */
const halfWritten = new Set<string>();
/** After each kill of the gateway, before its next start. */
function lookAtEnd(): void {
  const folder = join(gateway.dir, 'data', 'spool');
  const spooled = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.spool'))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('');
  const kept = new Set(spooled.split('\n').flatMap((line) => nameIn(line.replace(/^\S+ \d+ /, ''))));
  for (const name of written().slice(-ONE_WRITE)) if (!kept.has(name)) halfWritten.add(name);
}

/** Each record is an entry once, and no number is missing. */
const allDelivered = () =>
  vi.waitFor(async () => {
    const { names, numbers } = await inLog();
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    expect(names.length).toBe(new Set(names).size);
    const there = new Set(names);
    expect(written().filter((name) => !there.has(name) && !halfWritten.has(name))).toEqual([]);
  }, PATIENCE);

test('calls are entries of the log, found by caller, server, tool and decision', async () => {
  await vi.waitFor(async () => expect(await call()).toBe(true), PATIENCE);
  await allDelivered();
  const { stdout } = await ca.cli(
    ...['audit', 'query', '--json', '--identity', CALLER, '--server', 'everything'],
    ...['--tool', 'get-sum', '--decision', 'allowed'],
  );
  const [line = '{}'] = stdout.split('\n');
  expect(JSON.parse(line)).toMatchObject({
    type: 'call.recorded',
    reporter: TOOLS,
    record: { stage: 'decided', caller: CALLER, tool: 'get-sum', allow: true, arguments: { '/a': '1' } },
  });
  const asOcsf = await ca.cli(
    'audit',
    'export',
    '--format',
    'ocsf',
    '--tool',
    'get-sum',
    '--decision',
    'allowed',
  );
  expect(JSON.parse(asOcsf.stdout.split('\n')[0] ?? '')).toMatchObject({
    api: { operation: 'get-sum', request: { data: { '/a': '1' } } },
  });
  expect((await ca.cli('audit', 'query', '--tool', 'get-sum')).stdout).toMatch(
    / caller=spiffe:\S+ reporter=spiffe:\S+ \/a=\d+\n/,
  );
  expect((await ca.cli('reach', '--tool', 'get-sum')).stdout).toMatch(/^everything +get-\* +\/a, \/b\/c$/m);
  expect((await ca.cli('audit', 'query', '--server', 'everythin')).stderr).toMatch(/^no entry matches/);
});

test('M88 the CA is killed under calls: no record is lost, none is there twice', async () => {
  const passed = await underCalls(async () => {
    for (let kills = 0; kills < 3; kills += 1) {
      await enough(700);
      await serving.stop('SIGKILL');
      await enough(300);
      serving = await ca.serve();
    }
  });
  expect(passed).toBeGreaterThan(50);
  await allDelivered();
});

test('M88 the gateway is killed under calls: no record is lost, none is there twice', async () => {
  await underCalls(async () => {
    for (let kills = 0; kills < 3; kills += 1) {
      await enough(700);
      await gate.stop('SIGKILL');
      lookAtEnd();
      gate = await gateway.run('gateway');
    }
  });
  await vi.waitFor(async () => expect(await call()).toBe(true), PATIENCE);
  await allDelivered();
});

test('M88 the network between them is gone for a while: calls go on, their records come later', async () => {
  const before = (await inLog()).numbers.length;
  network.isUp = false;
  network.cut();
  const passed = await underCalls(() => enough(3_000));
  expect(passed).toBeGreaterThan(50);
  expect((await inLog()).numbers.length).toBeLessThan(before + passed);
  network.isUp = true;
  await allDelivered();
  expect((await inLog()).numbers.length).toBeGreaterThanOrEqual(before + 2 * passed);
});

const ready = async () => fetch(`http://127.0.0.1:${httpPort}/readyz`).then((answer) => answer.text());
const metric = async (name: string): Promise<number> => {
  const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
};
/** Calls until the spool is full, with the network gone. Returns how many passed. */
async function fill(isFull: () => Promise<boolean>): Promise<number> {
  network.isUp = false;
  network.cut();
  let passed = 0;
  while (!(await isFull())) {
    const answers = await Promise.all(Array.from({ length: 40 }, () => call('x'.repeat(120))));
    passed += answers.filter(Boolean).length;
  }
  return passed;
}

test('M85 a spool that is full under audit: required: no call passes without a record', async () => {
  expect(await ready()).toBe('ready\n');
  const passed = await fill(async () => !(await call()));
  expect(passed).toBeGreaterThan(100);
  expect(await ready()).toMatch(/spool is full: \d+ records wait for the CA/);
  const reached = server.seen.length;
  expect(await call()).toBe(false);
  expect(server.seen.length).toBe(reached);
  expect([await metric('chancery_spool_lost_total'), await metric('chancery_spool_records')]).toEqual([
    0,
    expect.any(Number),
  ]);
  expect(await metric('chancery_spool_oldest_seconds')).toBeGreaterThan(0);
  network.isUp = true;
  await allDelivered();
  await vi.waitFor(async () => expect(await ready()).toBe('ready\n'), PATIENCE);
  expect(await call()).toBe(true);
});

test('M85 without it calls go on, and the log says how many records are missing', async () => {
  const version = async () => (await readStatus(gateway.socket)).policyVersion;
  const before = await version();
  await ca.apply(resources({}));
  await vi.waitFor(async () => expect(await version()).not.toBe(before), PATIENCE);
  await fill(async () => (await metric('chancery_spool_lost_total')) > 0);
  expect(await call()).toBe(true);
  expect(await ready()).toBe('ready\n');
  network.isUp = true;
  await vi.waitFor(async () => expect(await metric('chancery_spool_records')).toBe(0), PATIENCE);
  expect(await call()).toBe(true);
  const lost = await metric('chancery_spool_lost_total');
  await vi.waitFor(async () => {
    const { stdout } = await ca.cli('audit', 'query', '--json', '--all', '--text', 'the spool was full');
    const lines = stdout.split('\n').slice(0, -1);
    const counts = lines.map((line) => (JSON.parse(line) as { record: Line }).record.count ?? 0);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(lost);
  }, PATIENCE);
});

test('the log with the calls verifies', async () => {
  await vi.waitFor(
    async () => expect(await ca.cli('audit', 'verify')).toMatchObject({ status: 0 }),
    PATIENCE,
  );
});
