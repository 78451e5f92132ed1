/** Calls whose outcome nobody can know: rows M209 to M212 and M222. The server counts what reaches it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request, type ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json as jsonOf } from 'node:stream/consumers';
import type { CallEvent } from '@chancery/agent/mcp/call-event.ts';
import type { UpstreamTarget } from '@chancery/agent/mcp/upstream/upstream.ts';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { decisionOf, entryText } from '@chancery/shared/audit/leaves.ts';
import { ocsfOf } from '@chancery/shared/audit/ocsf.ts';
import { saysWord } from '@chancery/shared/audit/words.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  callerOf,
  callOf,
  INITIALIZE,
  MODERN_META,
  modernHeaders,
  rpc,
  stdioAnswers,
} from '../../kit/mcp/clients/caller.ts';
import { openStream } from '../../kit/mcp/clients/open-stream.ts';
import {
  type FakeServer,
  politely,
  type RpcJson,
  reply,
  type Say,
  startFakeServer,
  stream,
} from '../../kit/mcp/servers/server.ts';
import { startWire, type Wire } from '../../kit/mcp/wire.ts';
import { connectTo, policyFor, startWorld, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

let server: FakeServer;
let world: World;
beforeEach(async () => {
  server = await startFakeServer();
});
afterEach(async () => {
  await world.close();
  await server.close();
});
const { post, begin } = callerOf(() => world);

type Era = 'legacy' | 'modern';
const ERAS: readonly Era[] = ['legacy', 'modern'];
const bodyOf = (era: Era): string => callOf(7, 'odd', era === 'modern' ? { _meta: MODERN_META } : {});

/** How often the server was called. */
const calls = (): number => server.seen.filter(({ json }) => json?.method === 'tools/call').length;
const ends = (): readonly CallEvent[] => world.events.filter(({ outcome }) => outcome !== undefined);
const decided = (): CallEvent | undefined => world.events.find(({ method }) => method === 'tools/call');

const oddly =
  (say: Say): Say =>
  (seen, res, req) =>
    (seen.json?.method === 'tools/call' ? say : politely)(seen, res, req);
const PROGRESS = { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1 } };

const BREAKS: readonly [string, Say][] = [
  ['before the head of its answer', (_seen, res) => res.destroy()],
  [
    'after the head of its answer',
    (_seen, res) => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 }).flushHeaders();
      setImmediate(() => res.destroy());
    },
  ],
  [
    'in its answer',
    (_seen, res) => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 }).write('{"jsonrpc"');
      setImmediate(() => res.destroy());
    },
  ],
  [
    'in its stream',
    (_seen, res) => {
      stream(res, [PROGRESS], true);
      setTimeout(() => res.destroy(), 20);
    },
  ],
  ['at the proper end of a stream without an answer', (_seen, res) => stream(res, [PROGRESS])],
];

describe.each(ERAS)('M209 a call of the %s era whose server has it and breaks off', (era) => {
  test.each(BREAKS)('%s, is called once, told and recorded as unknown', async (_name, say) => {
    server.say = oddly(say);
    world = await startWorld(server.target);
    const headers = era === 'modern' ? modernHeaders('tools/call', 'odd') : await begin();
    const { status, json } = await post(bodyOf(era), headers);
    expect([status, json.id, json.error.code]).toEqual([200, 7, -31502]);
    expect(json.error.message).toMatch(/it may have done what was asked$/);
    expect(json.error.data).toEqual({ outcome: 'unknown', decisionId: decided()?.id });
    expect(ends().filter(({ method }) => method === 'tools/call')).toMatchObject([
      { id: decided()?.id, stage: 'answered', outcome: 'unknown', detail: json.error.message },
    ]);
    expect(calls()).toBe(1);
  });
});

describe('M209 a call whose process has it and ends', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'chancery-outcome-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const DIES = `
    require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
      const { id, method } = JSON.parse(line);
      require('node:fs').appendFileSync(process.argv[1], method + '\\n');
      if (method === 'tools/call') process.exit(1);
      const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: {} };
      if (id !== undefined) console.log(JSON.stringify({ jsonrpc: '2.0', id, result }));
    });`;

  test.each(ERAS)('in the %s era is called once, told and recorded as unknown', async (era) => {
    const file = join(folder, 'calls');
    const command = [process.execPath, '-e', DIES, file] as const;
    world = await startWorld({ kind: 'command', command, env: {} });
    const headers = era === 'modern' ? modernHeaders('tools/call', 'odd') : await begin();
    const { json } = await post(bodyOf(era), headers);
    expect(json.error.data).toEqual({ outcome: 'unknown', decisionId: decided()?.id });
    const last = ends().filter(({ method }) => method === 'tools/call');
    expect(last.map(({ outcome }) => outcome)).toEqual(['unknown']);
    const called = readFileSync(file, 'utf8').split('\n');
    expect(called.filter((method) => method === 'tools/call')).toHaveLength(1);
  });
});

/** A port that nobody listens on by now. */
async function deadPort(): Promise<number> {
  const listener: Server = createServer();
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const address = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

describe('M210 a call that no server has', () => {
  const targets: readonly [string, () => Promise<UpstreamTarget>, RegExp][] = [
    [
      'whose server does not listen',
      async () => ({ kind: 'url', url: new URL(`http://127.0.0.1:${await deadPort()}/`) }),
      /could not be reached/,
    ],
    [
      'whose program is not there',
      async () => ({ kind: 'command', command: ['/nonexistent/server'], env: {} }),
      /process of the MCP server ended$/,
    ],
  ];
  test.each(targets)('%s, is recorded as failed, and may be repeated', async (_name, target, says) => {
    world = await startWorld(await target());
    const { json } = await post(bodyOf('modern'), modernHeaders('tools/call', 'odd'));
    expect(json.error).toEqual({ code: -31502, message: expect.stringMatching(says) });
    expect(ends().map(({ outcome }) => outcome)).toEqual(['error']);
  });

  test('because the server answered HTTP 500, is its error', async () => {
    server.say = (_seen, res) => void res.writeHead(500, { 'content-type': 'text/plain' }).end('boom');
    world = await startWorld(server.target);
    const { json } = await post(bodyOf('modern'), modernHeaders('tools/call', 'odd'));
    expect(json.error).toEqual({ code: -31502, message: 'the MCP server answered HTTP 500' });
    expect([ends().map(({ outcome }) => outcome), calls()]).toEqual([['error'], 1]);
  });
});

describe.each(ERAS)('M211 a connection to the gateway that breaks under a call of the %s era', (era) => {
  let wire: Wire;
  beforeEach(async () => {
    world = await startWorld(server.target);
    wire = await startWire(world.gateway.port);
    world.policy.publish(policyFor(wire.port, { allow: ['*'] }, 3n));
    // The network goes when the server has the call: it may have left, and no answer can come.
    server.say = oddly(() => wire.cut());
  });
  afterEach(() => wire.close());
  const told = {
    code: -31502,
    message: expect.stringMatching(/gateway.*the MCP server may have done what was asked$/),
    data: { outcome: 'unknown' },
  };

  test('is told to a client of a local address, and the server is called once', async () => {
    const connect = await connectTo(world, { kind: 'tcp', port: 0 });
    const headers = era === 'modern' ? modernHeaders('tools/call', 'odd') : {};
    const json = await localPost(connect.port ?? 0, bodyOf(era), headers);
    expect(json).toMatchObject({ id: 7, error: told });
    await connect.close();
    expect(calls()).toBe(1);
  });

  test('is told to a stdio client, and the server is called once', async () => {
    const lines = era === 'modern' ? [bodyOf(era)] : [INITIALIZE, bodyOf(era)];
    const answers = await stdioAnswers(world, lines, lines.length);
    expect(JSON.parse(answers.at(-1) ?? '')).toMatchObject({ id: 7, error: told });
    expect(calls()).toBe(1);
  });
});

function localPost(port: number, body: string, more: Record<string, string>): Promise<RpcJson> {
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...more,
  };
  return new Promise((resolve, reject) => {
    const where = { host: '127.0.0.1', port, path: '/mcp', method: 'POST', agent: false } as const;
    const outgoing = request({ ...where, headers }, (response) => {
      jsonOf(response).then((read) => resolve(read as RpcJson), reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

describe('M212 in the audit log a call of an unknown outcome', () => {
  const about = { id: '5c1f', stage: 'answered', time: '2026-11-30T02:00:00.000Z', server: 'git' } as const;
  const recorded = (outcome: string): AuditEvent => ({
    type: 'call.recorded',
    reporter: TRIAGE,
    serial: '40231f0be537b1f5',
    spool: 'ab'.repeat(16),
    number: 1,
    record: { ...about, outcome, detail: 'x' },
  });
  const ocsf = (outcome: string) => ocsfOf(entryText(new Date(), JSON.stringify(recorded(outcome))), 1);

  test('is not one that failed, and is found by its outcome', () => {
    expect(decisionOf(recorded('error'))).toBe('failed');
    expect(decisionOf(recorded('unknown'))).toBeUndefined();
    const word = '"outcome":"unknown"';
    const found = ['error', 'unknown'].map((each) => saysWord(JSON.stringify(recorded(each)), word));
    expect(found).toEqual([false, true]);
  });

  test('cannot be forged by a text that a server or a client chose', () => {
    const forged = { ...recorded('result'), record: { ...about, detail: '"outcome":"unknown"' } };
    expect(saysWord(JSON.stringify(forged), '"outcome":"unknown"')).toBe(false);
  });

  test('has in OCSF a status of which nobody knows, and no failure', () => {
    expect(ocsf('error')).toMatchObject({ status_id: 2, severity_id: 3 });
    expect(ocsf('unknown')).toMatchObject({ status_id: 0, severity_id: 1, status_detail: 'x' });
    expect(ocsf('result')).toMatchObject({ status_id: 1 });
  });
});

describe('M222 a server that did what was asked, with an answer that cannot be read', () => {
  const RULES = Object.fromEntries(
    ['prompts', 'resources', 'tasks', 'elicitation'].map((kind) => [kind, { allow: ['*'] }]),
  );
  const asks = (more: object) => ({ resultType: 'input_required', ...more });
  const ODD = { name: 'odd' };
  const TASK = { ...ODD, task: {} };
  const UNREAD: readonly [string, Era, string, object, object][] = [
    ['a call whose state is a number', 'modern', 'tools/call', ODD, asks({ requestState: 5 })],
    ['a call that asks for nothing', 'modern', 'tools/call', ODD, asks({})],
    [
      'a read with a list of questions',
      'modern',
      'resources/read',
      { uri: 'a:b' },
      asks({ inputRequests: [] }),
    ],
    ['a prompt with no question', 'modern', 'prompts/get', ODD, asks({ inputRequests: { a: 1 } })],
    ['a list that is none', 'modern', 'tools/list', {}, { tools: 1 }],
    ['a list in a session', 'legacy', 'tools/list', {}, { tools: [{}] }],
    ['a task without an id', 'legacy', 'tools/call', TASK, { task: { taskId: '' } }],
  ];
  const endsOf = (method: string) =>
    world.events.filter((event) => event.method === method && event.outcome !== undefined);
  /** Of the one call of this method, with its record. */
  function expectUnknown(json: RpcJson, method: string): void {
    const asked = world.events.find((event) => event.method === method);
    expect(json).toMatchObject({ id: 7, error: { code: -31502 } });
    expect(json.error.message).toMatch(/could not be read: .*; it may have done what was asked$/);
    expect(json.error.data).toEqual({ outcome: 'unknown', decisionId: asked?.id });
    expect(endsOf(method)).toMatchObject([
      { id: asked?.id, stage: 'answered', requestId: 7, outcome: 'unknown', detail: json.error.message },
    ]);
  }
  const answering =
    (method: string, result: object, how: string): Say =>
    (seen, res, req) => {
      if (seen.json?.method !== method) return politely(seen, res, req);
      const answer = { jsonrpc: '2.0', id: 7, result };
      if (how === 'in JSON') reply(res, answer);
      else stream(res, [PROGRESS, answer]);
    };
  const named = (params: object) => Object.values(params)[0];

  describe.each(['in JSON', 'in a stream'])('%s', (how) => {
    test.each(UNREAD)('%s is told and recorded as unknown', async (_name, era, method, params, result) => {
      server.say = answering(method, result, how);
      world = await startWorld(server.target, { rules: RULES });
      const [more, headers] =
        era === 'modern'
          ? [{ _meta: MODERN_META }, modernHeaders(method, named(params))]
          : [{}, await begin()];
      const { status, text } = await post(rpc(method, { ...params, ...more }, 7), headers);
      expect(status).toBe(200);
      expectUnknown(JSON.parse(text.slice(text.lastIndexOf('{"jsonrpc"'))), method);
    });
  });

  test('because the gateway has no SVID to sign its state with, is told and recorded as unknown', async () => {
    const says = answering('tools/call', asks({ requestState: 's' }), 'in JSON');
    server.say = (...said) => {
      world.gatewaySvid.current = () => {
        throw new IdentityError('unavailable', 'no SVID');
      };
      says(...said);
    };
    world = await startWorld(server.target, { rules: RULES });
    const { json } = await post(bodyOf('modern'), modernHeaders('tools/call', 'odd'));
    expectUnknown(json, 'tools/call');
  });

  test('on another stream, is told there under the id of its call, whose record says so', async () => {
    const open = new Map<string, ServerResponse>();
    server.say = (seen, res, req) => {
      const key = seen.method === 'GET' ? 'GET' : seen.json?.method;
      if (key !== 'GET' && key !== 'tools/call') return politely(seen, res, req);
      stream(res, [PROGRESS], true);
      open.set(key, res);
    };
    world = await startWorld(server.target, { rules: RULES });
    const [svid, session] = [world.td.svid(TRIAGE), await begin()];
    const call = await openStream(world, svid, session, callOf(7, 'odd', { task: {} }));
    const other = await openStream(world, svid, session);
    const bad = { jsonrpc: '2.0', id: 7, result: { task: { taskId: '' } } };
    open.get('GET')?.write(`data: ${JSON.stringify(bad)}\n\n`);
    expectUnknown(await other.message(1), 'tools/call');
    // The stream goes on.
    open.get('GET')?.write(`data: ${JSON.stringify(PROGRESS)}\n\n`);
    expect(await other.message(2)).toMatchObject(PROGRESS);
    call.leave();
    other.leave();
    expect(endsOf('tools/call')).toHaveLength(1);
  });
});
