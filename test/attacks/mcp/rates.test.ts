/** Attacks on rates: calling faster than a rule allows, by each way around its count. */
import { OwnCounts } from '@chancery/agent/mcp/gateway/counts.ts';
import { Sharing } from '@chancery/agent/trust/state/sharing.ts';
import { Serving } from '@chancery/ca/agents/serving.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { parseSpiffeId, type SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { after, NOW } from '../../kit/certificates.ts';
import { ManualClock } from '../../kit/manual-clock.ts';
import { type Answer, ask } from '../../kit/mcp/clients/ask.ts';
import {
  INITIALIZE,
  MODERN_META,
  modernHeaders,
  rpc,
  startPlayed,
  stopPlayed,
} from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely } from '../../kit/mcp/servers/server.ts';
import { windowClock } from '../../kit/mcp/world/windows.ts';
import { id, startWorld, TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

/** Of the rates. The wall clock is another one. */
let nowMs = 0;
let gateways = 1;
let aheadMs = 0;
let version = 10n;
const monotonic = (): number => nowMs;
const windows = windowClock();
const clock = { ...windows.clock, now: () => new Date(windows.clock.now().getTime() + aheadMs) };
const countsOfOne = () => new OwnCounts({ ofRates: () => gateways, ofPlaces: () => 1, monotonic });

let server: FakeServer;
let world: World;
const others: World[] = [];
beforeAll(async () => {
  ({ server, world } = await startPlayed({ clock, counts: countsOfOne() }));
  const { td } = world;
  for (let each = 0; each < 2; each += 1)
    others.push(await startWorld(server.target, { td, counts: countsOfOne() }));
});
afterAll(async () => {
  for (const each of others) await each.close();
  await stopPlayed(world, server);
});
beforeEach(async () => {
  await windows.endWindow();
  nowMs += 86_400_000;
  [gateways, aheadMs] = [1, 0];
  server.say = politely;
  server.seen.length = 0;
  world.events.length = 0;
});

const BOTH = [TRIAGE, id('agents/other')];
/** One rule, of a name that is new each time: nothing is left of the test before. */
function publish(rule: object, ofServer: object = {}): void {
  version += 1n;
  for (const each of [world, ...others]) {
    const address = `127.0.0.1:${each.gateway.port}`;
    const everything = { kind: 'McpServer', name: 'everything', identity: TOOLS, address, ...ofServer };
    const named = { kind: 'Access', name: `r${version}`, who: BOTH, servers: ['everything'] };
    const rules = [McpServer.parse(everything), Access.parse({ ...named, tools: { allow: ['*'] }, ...rule })];
    each.policy.publish(compilePolicy(rules, version));
  }
}

type Era = 'legacy' | 'modern';
interface How {
  readonly era?: Era;
  readonly tool?: string;
  readonly as?: (typeof BOTH)[number];
  readonly at?: World;
  readonly session?: string;
}
function call({
  era = 'legacy',
  tool = 'echo',
  as = TRIAGE,
  at = world,
  session,
}: How = {}): Promise<Answer> {
  const svid = world.td.svid(as, 80_000);
  const params = { name: tool, arguments: {} };
  const headers = session === undefined ? {} : { 'mcp-session-id': session };
  if (era === 'legacy') return ask(at, svid, { body: rpc('tools/call', params, 1), headers });
  const body = rpc('tools/call', { ...params, _meta: MODERN_META }, 1);
  return ask(at, svid, { body, headers: modernHeaders('tools/call', tool) });
}
/** How many of the calls pass, one after the other. */
async function passed(times: number, how: How | ((n: number) => How) = {}): Promise<number> {
  let count = 0;
  for (let each = 0; each < times; each += 1) {
    const { json } = await call(typeof how === 'function' ? how(each) : how);
    if (json.error === undefined) count += 1;
  }
  return count;
}

describe.each(['legacy', 'modern'] as const)('in the %s era', (era) => {
  test('M189 a caller above its rate is told when to call again, and is on record', async () => {
    publish({ rate: { calls: '20/m' } });
    expect(await passed(3, { era })).toBe(2);
    const { status, json } = await call({ era });
    const reason = expect.stringMatching(/^r\d+ lets .* call tool echo of server everything at 20\/m of all/);
    const rule = `r${version}`;
    expect([status, json.error]).toEqual([
      200,
      {
        code: -31429,
        message: 'too many calls: try again in 3 s',
        data: { reason, rule, decisionId: expect.any(String), retryAfterMs: 3_000 },
      },
    ]);
    expect(server.seen.filter(({ json: { method } }) => method === 'tools/call')).toHaveLength(2);
    await windows.endWindow();
    const denied = world.events.filter(({ stage, allow }) => stage === 'decided' && allow === false);
    expect(denied[0]).toMatchObject({ rule, reason, tool: 'echo', method: 'tools/call' });
    expect(denied.reduce((sum, { count = 1 }) => sum + count, 0)).toBe(2);
    nowMs += 3_000;
    expect(await passed(2, { era })).toBe(1);
  });
});

const sessionOf = async (as = TRIAGE): Promise<string> =>
  String((await ask(world, world.td.svid(as, 80_000), { body: INITIALIZE })).headers['mcp-session-id']);

test.each<[string, () => Promise<(n: number) => How>]>([
  [
    'in sessions of its own',
    async () => {
      const sessions = [await sessionOf(), await sessionOf(), await sessionOf()];
      return (n) => ({ session: sessions[n % 3] ?? '' });
    },
  ],
  ['in both eras', async () => (n) => ({ era: n % 2 === 0 ? 'legacy' : 'modern' })],
  ['over other tools', async () => (n) => ({ tool: `tool-${n}` })],
])('M189 a caller that calls %s has one rate', async (_how, prepare) => {
  publish({ rate: { calls: '20/m' } });
  const how = await prepare();
  expect(await passed(6, how)).toBe(2);
  // And takes nothing of another one.
  expect(await passed(3, { as: BOTH[1] ?? TRIAGE })).toBe(2);
});

test('M189 each tool has its own, within that of all', async () => {
  publish({ rate: { calls: '60/m', tools: { 'get-*': '20/m' } } });
  expect(await passed(4, { tool: 'get-sum' })).toBe(2);
  expect(await passed(4, { tool: 'get-env' })).toBe(2);
  expect(await passed(4)).toBe(2);
});

test('M189 a clock that is set forward or back gives no call', async () => {
  publish({ rate: { calls: '20/m' } });
  expect(await passed(3)).toBe(2);
  aheadMs = 3_600_000;
  expect(await passed(2)).toBe(0);
  aheadMs = 0;
  expect(await passed(2)).toBe(0);
});

test('M189 what is denied or unreadable counts against nobody, and a new policy forgives nothing', async () => {
  publish({ tools: { allow: ['echo'] }, rate: { calls: '20/m' } });
  expect(await passed(3, { tool: 'other' })).toBe(0);
  await ask(world, world.td.svid(TRIAGE, 80_000), { body: rpc('tools/call', {}, 1) });
  const rules = world.policy.current();
  expect(await passed(3)).toBe(2);
  world.policy.publish({ ...rules, version: version + 1n });
  expect(await passed(1)).toBe(0);
});

test('M189 a server that observes lets it pass, and says so on record', async () => {
  publish(
    { rate: { calls: '20/m' } },
    { observe: { until: new Date(clock.now().getTime() + 600_000).toISOString() } },
  );
  expect(await passed(3)).toBe(3);
  const decided = world.events.filter(({ stage }) => stage === 'decided');
  expect(decided.map(({ observed }) => observed)).toEqual([undefined, undefined, true]);
  expect(decided[2]?.reason).toMatch(/^McpServer.everything observes until .* at 20\/m of all/);
});

test('M190 three gateways let pass what one would, and at most 5 % more in a minute', async () => {
  gateways = 3;
  publish({ rate: { calls: '60/m', burst: 12 } });
  const all = [world, ...others];
  let count = 0;
  for (let second = 0; second < 60; second += 1) {
    for (const at of all) count += await passed(2, { at });
    nowMs += 1_000;
  }
  expect(count).toBeGreaterThanOrEqual(60);
  expect(count).toBeLessThanOrEqual((60 + 12) * 1.05);
}, 240_000);

test('M190 a gateway that is cut off from the CA keeps its part, and the others get none of it', () => {
  const wall = new ManualClock(NOW);
  const serving = new Serving(wall);
  const gateway = parseSpiffeId('spiffe://prod.example/gateway');
  const open = (name: string) =>
    serving.open({ id: gateway, platform: 'fake', node: name, certificateNotAfter: after(3_600) }, name);
  const [, , cut] = [open('a'), open('b'), open('c')];
  expect(serving.count(gateway)).toBe(3);
  cut?.(true);
  wall.advanceTo(after(3_599));
  expect(serving.count(gateway)).toBe(3);
  wall.advanceTo(after(3_600));
  expect(serving.count(gateway)).toBe(2);
});

test('M190 a CA that starts again and has heard of one gateway gives it no larger part', () => {
  let ms = 0;
  const sharing = new Sharing(() => ms);
  const serving = new Serving(new ManualClock(NOW));
  sharing.hear(3);
  ms += 3_600_000;
  sharing.hear(serving.count(parseSpiffeId('spiffe://prod.example/gateway')));
  expect(sharing.gateways).toBe(3);
  ms += 59_000;
  expect(sharing.gateways).toBe(3);
});

test('M191 a caller that makes counts until one is forgotten gets nothing by it', () => {
  const own = new OwnCounts({ ofRates: () => 1, ofPlaces: () => 1, monotonic });
  const rate = { perSecond: 1 / 60, burst: 1, text: '1/m' };
  const use = (tool: string, caller = TRIAGE) =>
    own.spend([{ server: 'everything', rule: 'r', caller, tool, rate }]) === undefined;
  expect([use('echo'), use('echo')]).toEqual([true, false]);
  let made = 0;
  for (let each = 0; each < 5_000; each += 1) if (use(`invented-${each}`)) made += 1;
  expect(made).toBe(999);
  expect(use('echo')).toBe(false);
  // It keeps nobody else out.
  expect(use('echo', BOTH[1])).toBe(true);
});

test('M192 a hundred callers that hold all counts keep nobody out', () => {
  const own = new OwnCounts({ ofRates: () => 1, ofPlaces: () => 1, monotonic });
  const rate = { perSecond: 1 / 3600, burst: 2, text: '1/h' };
  const use = (tool: string, caller: SpiffeId) =>
    own.spend([{ server: 'everything', rule: 'r', caller, tool, rate }]) === undefined;
  for (let n = 0; n < 100; n += 1)
    for (let each = 0; each < 1_000; each += 1) use(`invented-${each}`, id(`made/${n}`));
  expect(use('invented', id('made/0'))).toBe(false);
  expect(use('echo', TRIAGE)).toBe(true);
});
