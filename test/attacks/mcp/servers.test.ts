/** Several servers behind one gateway, where none can be taken for another, or cost another anything: M136 to M144. */
import { writeClaims } from '@chancery/agent/mcp/wire/claims.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, ask } from '../../kit/mcp/clients/ask.ts';
import { callOf, INITIALIZE } from '../../kit/mcp/clients/caller.ts';
import { claim, holdCalls, openCall, serialOf } from '../../kit/mcp/clients/open-calls.ts';
import { type FakeServer, startFakeServer } from '../../kit/mcp/servers/server.ts';
import {
  id,
  STRANGER,
  startWorld,
  TOOLS,
  TRIAGE,
  type World,
  type WorldOptions,
} from '../../kit/mcp/world/world.ts';

const OTHER = id('agents/other');
const KIB = 1024;

let first: FakeServer;
let second: FakeServer;
let world: World;
let version: bigint;
beforeEach(async () => {
  version = 10n;
  [first, second] = [await startFakeServer(), await startFakeServer()];
  await open();
});
afterEach(async () => {
  await world.close();
  await Promise.all([first.close(), second.close()]);
});

async function open(options: WorldOptions = {}): Promise<void> {
  const others = [{ server: 'mail', upstream: second.target }];
  world = await startWorld(first.target, { ...options, others });
  allow({ everything: [TRIAGE], mail: [TRIAGE, OTHER] });
}

/** `payroll` is registered for the gateway's identity, and not behind it. */
function policyOf(allowed: Readonly<Record<string, readonly string[]>>): Policy {
  const address = `127.0.0.1:${world.gateway.port}`;
  const servers = ['everything', 'mail', 'payroll'].map((name) =>
    McpServer.parse({ kind: 'McpServer', name, identity: TOOLS, address }),
  );
  const rules = Object.entries(allowed).map(([server, who]) =>
    Access.parse({ kind: 'Access', name: server, who, servers: [server], tools: { allow: ['*'] } }),
  );
  version += 1n;
  return compilePolicy([...servers, ...rules], version);
}
const allow = (allowed: Readonly<Record<string, readonly string[]>>): void =>
  world.policy.publish(policyOf(allowed));

const post = (path: string, body = callOf(1), caller = TRIAGE, headers = {}): Promise<Answer> =>
  ask(world, world.td.svid(caller), { path, body, headers });
const seen = (): readonly number[] => [first.seen.length, second.seen.length];
const begin = async (path: string): Promise<string> =>
  String((await post(path, INITIALIZE)).headers['mcp-session-id']);

test('a path names the server that a call goes to, and its record', async () => {
  expect((await post('/mcp/everything')).json.result.content[0].text).toBe('echo');
  expect(seen()).toEqual([1, 0]);
  expect((await post('/mcp/mail')).status).toBe(200);
  expect(seen()).toEqual([1, 1]);
  const decided = world.events.filter(({ stage }) => stage === 'decided');
  expect(decided.map(({ server }) => server)).toEqual(['everything', 'mail']);
});

test.each([
  '/mcp',
  '/mcp/',
  '/mcp/Mail',
  '/MCP/mail',
  '/mcp/mail/',
  '/mcp//mail',
  '//mcp/mail',
  '/mcp/%6dail',
  '/mcp%2Fmail',
  '/mcp/./mail',
  '/mcp/everything/../mail',
  '/mcp/mail?x',
  '/mcp/mail#x',
  '/mcp/mail%00',
  '/mcp/__proto__',
  '/mcp/mail;x',
])('M136 the path %s names no server', async (path) => {
  expect(await post(path)).toMatchObject({ status: 404, json: { error: { code: -31404 } } });
  expect(seen()).toEqual([0, 0]);
  expect(world.events).toMatchObject([{ stage: 'refused', code: 'server_unknown', allow: false }]);
});

/** Without what differs by chance, and without the name that was asked for. */
function shapeOf({ status, headers, text }: Answer, name: string) {
  const { date: _date, ...rest } = headers;
  const plain = text.replace(/"decisionId":"[^"]+"/, '"decisionId":""').replaceAll(name, 'NAME');
  return { status, headers: { ...rest, 'chancery-server': 'NAME', 'content-length': '' }, text: plain };
}

test('M137 a server elsewhere, one that nobody registered and one that is not allowed look the same', async () => {
  const names = ['everything', 'payroll', 'nowhere', 'constructor'];
  const answers: object[] = [];
  for (const name of names) {
    const answer = await post(`/mcp/${name}`, callOf(1), OTHER);
    expect(answer.headers['chancery-server']).toBe(name);
    answers.push(shapeOf(answer, name));
  }
  expect(new Set(answers.map((each) => JSON.stringify(each))).size).toBe(1);
  expect(answers[0]).toMatchObject({ status: 403, text: expect.stringContaining('-31403') });
  expect(seen()).toEqual([0, 0]);
  const why = [
    /no Access rule/,
    /payroll is not behind/,
    /nowhere is not behind/,
    /constructor is not behind/,
  ];
  expect(world.events).toMatchObject(
    why.map((reason) => ({
      stage: 'decided',
      allow: false,
      caller: OTHER,
      reason: expect.stringMatching(reason),
    })),
  );
});

test('M137 a caller that may reach no server learns no name by a claim', async () => {
  const body = writeClaims([new Uint8Array(32)]);
  const answer = await post('/chancery/claims', body, STRANGER);
  expect(answer.status).toBe(403);
  expect(answer.text).not.toMatch(/everything|mail/);
  expect(world.events).toMatchObject([{ stage: 'refused', code: 'mcp_call', caller: STRANGER }]);
});

test('M138 a session of one server does not exist at another', async () => {
  const session = { 'mcp-session-id': await begin('/mcp/everything') };
  expect(await post('/mcp/mail', callOf(1), TRIAGE, session)).toMatchObject({
    status: 404,
    json: { error: { code: -32001 } },
  });
  expect(seen()).toEqual([1, 0]);
  expect((await post('/mcp/everything', callOf(1), TRIAGE, session)).status).toBe(200);
});

/** A call on a connection of its own that its server does not answer yet. */
async function held(path: string, server: FakeServer) {
  const calls = holdCalls(server);
  const svid = world.td.svid(TRIAGE);
  const call = await openCall(world, svid, 'echo', path);
  await expect.poll(() => calls.open).toBe(1);
  return { ...call, svid, answer: () => calls.answerAll() };
}

describe('M139 a caller that loses one server', () => {
  test('loses its open call there and its sessions, and keeps what it has at the other', async () => {
    const session = { 'mcp-session-id': await begin('/mcp/everything') };
    const [lost, kept] = [await held('/mcp/everything', first), await held('/mcp/mail', second)];
    allow({ mail: [TRIAGE] });
    expect(await lost.outcome).toBe('cut');
    kept.answer();
    expect(await kept.outcome).toBe(200);
    expect(world.events.find(({ stage }) => stage === 'ended')).toMatchObject({ server: 'everything' });
    expect((await post('/mcp/everything', callOf(2), TRIAGE, session)).status).toBe(403);
  });

  test('cannot claim its open call there by what it may reach', async () => {
    const { secret, svid, outcome } = await held('/mcp/everything', first);
    const next = world.td.svid(TRIAGE, 7200);
    world.links.set(serialOf(next), serialOf(svid));
    allow({ mail: [TRIAGE] });
    expect(await claim(world, next, secret)).toEqual([false]);
    expect(await outcome).toBe('cut');
  });
});

test('M140 a call that is claimed goes on at its own server, and is on record there', async () => {
  const { secret, svid, outcome, answer } = await held('/mcp/mail', second);
  const next = world.td.svid(TRIAGE, 7200);
  world.links.set(serialOf(next), serialOf(svid));
  expect(await claim(world, next, secret)).toEqual([true]);
  expect(world.events.at(-1)).toMatchObject({ stage: 'claimed', server: 'mail', serial: serialOf(next) });
  answer();
  expect(await outcome).toBe(200);
});

describe('M141 a flood at one server', () => {
  const reopen = async (options: WorldOptions): Promise<void> => {
    await world.close();
    await open(options);
  };

  test('takes no place of a session of another', async () => {
    await reopen({ sessions: { max: 2, maxPerCaller: 2 } });
    for (const status of [200, 200, 503])
      expect((await post('/mcp/everything', INITIALIZE)).status).toBe(status);
    expect((await post('/mcp/mail', INITIALIZE)).status).toBe(200);
  });

  test('takes no room for bodies of another', async () => {
    await reopen({ bodies: { perConnection: 64 * KIB, perCaller: 64 * KIB, total: 64 * KIB } });
    first.say = () => {};
    const large = callOf(1, 'echo', { arguments: { x: 'x'.repeat(48 * KIB) } });
    const svid = world.td.svid(TRIAGE);
    const open = [1, 2, 3].map(() =>
      ask(world, svid, { path: '/mcp/everything', body: large }).catch(() => {}),
    );
    await expect.poll(() => seen()[0]).toBeGreaterThan(0);
    expect((await post('/mcp/mail', large)).status).toBe(200);
    await world.close();
    await Promise.all(open);
  });
});

test('M142 a server that hangs, and one that is gone, hold up no call of another', async () => {
  const { outcome, answer } = await held('/mcp/everything', first);
  expect((await post('/mcp/mail')).status).toBe(200);
  answer();
  expect(await outcome).toBe(200);
  await first.close();
  first = await startFakeServer();
  expect((await post('/mcp/everything')).json.error.code).toBe(-31502);
  expect((await post('/mcp/mail')).json.result.content[0].text).toBe('echo');
});
