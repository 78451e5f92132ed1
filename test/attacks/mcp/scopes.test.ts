/** A caller whose certificate has a scope, and that wants more: row M198. */
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { NOT_ATTESTED } from '@chancery/shared/spiffe/attested.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { callerOf, callOf, rpc, startPlayed, stopPlayed } from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely } from '../../kit/mcp/servers/server.ts';
import { TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

let server: FakeServer;
let world: World;
let version = 10n;
const caller = callerOf(() => world);

beforeAll(async () => {
  ({ server, world } = await startPlayed());
});
afterAll(() => stopPlayed(world, server));
beforeEach(() => {
  server.seen.length = 0;
  server.say = politely;
  world.events.length = 0;
  publish({ scopes: ['read'] });
});

function publish(reading: object, ofServer: object = {}): void {
  const address = `127.0.0.1:${world.gateway.port}`;
  const everything = { kind: 'McpServer', name: 'everything', identity: TOOLS, address, ...ofServer };
  const whose = { kind: 'Access', who: [TRIAGE], servers: ['everything'] };
  const rules = [
    { ...whose, name: 'reading', tools: { allow: ['echo'] }, ...reading },
    { ...whose, name: 'all', tools: { allow: ['*'] } },
  ];
  version += 1n;
  const resources = [McpServer.parse(everything), ...rules.map((each) => Access.parse(each))];
  world.policy.publish(compilePolicy(resources, version));
}

const svidIn = (scope?: string) => world.td.svid(TRIAGE, 3600, { ...NOT_ATTESTED, platform: 'tpm', scope });

describe('M198 a certificate with a scope', () => {
  test('is allowed what rules of the scope allow; every record says the scope', async () => {
    const scoped = svidIn('read');
    const { json: echoed } = await caller.post(callOf(1, 'echo'), {}, scoped);
    expect(echoed.error).toBeUndefined();
    const { json: refused } = await caller.post(callOf(2, 'get-sum'), {}, scoped);
    expect(refused.error).toMatchObject({
      code: -31403,
      data: { reason: `no Access rule lets ${TRIAGE} in scope read call tool get-sum of server everything` },
    });
    const { json: list } = await caller.post(rpc('tools/list', {}, 3), {}, scoped);
    expect(list.result.tools.map(({ name }) => name)).toEqual(['echo']);
    expect(server.seen.map(({ text }) => JSON.parse(text).method)).toEqual(['tools/call', 'tools/list']);
    expect(world.events.length).toBeGreaterThanOrEqual(5);
    for (const { scope } of world.events) expect(scope).toBe('read');
    const { json: whole } = await caller.post(callOf(4, 'get-sum'), {}, svidIn());
    expect(whole.error).toBeUndefined();
  });

  test('whose scope is gone, or never was, is not let in', async () => {
    for (const scope of ['write', 'rea', 'read-1'])
      expect((await caller.post(callOf(1, 'echo'), {}, svidIn(scope))).status).toBe(403);
    publish({});
    expect((await caller.post(callOf(1, 'echo'), {}, svidIn('read'))).status).toBe(403);
    expect(server.seen).toEqual([]);
  });

  test('gets no more where the server observes', async () => {
    const until = new Date(Date.now() + 3_600_000).toISOString();
    publish({ scopes: ['read'] }, { observe: { until } });
    const { json } = await caller.post(callOf(2, 'get-sum'), {}, svidIn('read'));
    expect(json.error?.code).toBe(-31403);
  });

  test('has no part in a session of the same caller without it, nor of another scope', async () => {
    publish({ scopes: ['read', 'other'] });
    const whole = await caller.begin(svidIn());
    const scoped = await caller.begin(svidIn('read'));
    const status = async (session: Record<string, string>, scope?: string) =>
      (await caller.post(callOf(1, 'echo'), session, svidIn(scope))).status;
    expect(await status(whole)).toBe(200);
    expect(await status(scoped, 'read')).toBe(200);
    for (const [session, scope] of [[whole, 'read'], [scoped], [scoped, 'other']] as const)
      expect(await status(session, scope)).toBe(404);
  });

  test('loses its session once no rule has the scope', async () => {
    const scoped = await caller.begin(svidIn('read'));
    const whole = await caller.begin(svidIn());
    publish({});
    await expect.poll(() => world.events.filter(({ stage }) => stage === 'ended').length).toBe(1);
    publish({ scopes: ['read'] });
    expect((await caller.post(callOf(1, 'echo'), scoped, svidIn('read'))).status).toBe(404);
    expect((await caller.post(callOf(1, 'echo'), whole, svidIn())).status).toBe(200);
  });
});
