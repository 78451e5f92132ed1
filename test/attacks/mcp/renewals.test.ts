/** Open streams and calls that are claimed with a certificate that says something else: row M229. */
import type { ServerResponse } from 'node:http';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeLeaf } from '../../kit/certificates.ts';
import { MovableClock } from '../../kit/clock.ts';
import { ask } from '../../kit/mcp/clients/ask.ts';
import {
  INITIALIZE,
  MODERN_META,
  modernHeaders,
  rpc,
  startPlayed,
  stopPlayed,
} from '../../kit/mcp/clients/caller.ts';
import { type Heard, hear } from '../../kit/mcp/clients/hear.ts';
import { claim, holdCalls, openCall, serialOf } from '../../kit/mcp/clients/open-calls.ts';
import { type FakeServer, politely, reply, stream } from '../../kit/mcp/servers/server.ts';
import { TOOLS, TRIAGE, type World } from '../../kit/mcp/world/world.ts';

const HOUR = 3600;
const A = 'res://a';
const CHANGED = 'notifications/tools/list_changed';
const UPDATED = 'notifications/resources/updated';
const ONLY_RED = { when: 'caller.attributes.kubernetes.team == "red"' };
const TO_RED = { resources: { allow: [A] }, subscriptions: { allow: [A] }, ...ONLY_RED };

let server: FakeServer;
let world: World;
let clock: MovableClock;
let version: bigint;
/** What the server writes on. */
let open: ServerResponse | undefined;
let heard: Heard | undefined;

function allow(...blocks: object[]): void {
  const address = `127.0.0.1:${world.gateway.port}`;
  const where = McpServer.parse({ kind: 'McpServer', name: 'everything', identity: TOOLS, address });
  const whose = { kind: 'Access', who: [TRIAGE], servers: ['everything'] };
  const rules = blocks.map((each, at) => Access.parse({ ...whose, name: `rule-${at}`, ...each }));
  version += 1n;
  world.policy.publish(compilePolicy([where, ...rules], version));
}
/** `more` makes another version of the same rules. */
const toRed = (...more: object[]): void => allow({ tools: { allow: ['get-sum'] } }, TO_RED, ...more);

beforeEach(async () => {
  [version, open, heard, clock] = [10n, undefined, undefined, new MovableClock()];
  ({ server, world } = await startPlayed({ clock }));
  server.say = (seen, res, req) => {
    const { method, json } = seen;
    if (method === 'GET' || json?.method === 'subscriptions/listen') {
      const notifications = json && Reflect.get(json.params, 'notifications');
      const agreed = { jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged' };
      stream(res, json === undefined ? [] : [{ ...agreed, params: { notifications } }], true);
      open = res;
    } else if (json?.method === 'initialize') {
      const capabilities = { resources: { subscribe: true }, tools: { listChanged: true } };
      const result = { protocolVersion: '2025-11-25', capabilities, serverInfo: { name: 's', version: '1' } };
      reply(res, { jsonrpc: '2.0', id: json.id, result }, { 'mcp-session-id': 's' });
    } else politely(seen, res, req);
  };
});
afterEach(async () => {
  heard?.close();
  await stopPlayed(world, server);
});

function certified(team: string, seconds: number): Svid {
  const attributes = new Map([['kubernetes.team', team]]);
  return world.td.svid(TRIAGE, seconds, { platform: 'kubernetes', attributes });
}
function renewed(old: Svid, next: Svid): Svid {
  world.links.set(serialOf(next), serialOf(old));
  return next;
}

/** A stream on which a caller of this certificate is subscribed to A. */
const OPENED = {
  async modern(svid: Svid): Promise<Heard> {
    const method = 'subscriptions/listen';
    const notifications = { resourceSubscriptions: [A], toolsListChanged: true };
    const body = rpc(method, { notifications, _meta: MODERN_META }, 7);
    heard = hear(world, svid, { body, headers: modernHeaders(method) });
    await heard.opened;
    return heard;
  },
  async legacy(svid: Svid): Promise<Heard> {
    const begun = await ask(world, svid, { body: INITIALIZE });
    const headers = { 'mcp-session-id': String(begun.headers['mcp-session-id']) };
    const body = rpc('resources/subscribe', { uri: A }, 1);
    expect((await ask(world, svid, { body, headers })).json.result).toEqual({});
    heard = hear(world, svid, { headers });
    await heard.opened;
    return heard;
  },
};

/** The server says that A has changed, and then that its tools have, which every client is told. */
async function isTold(stream: Heard): Promise<boolean> {
  const count = (method: string): number => stream.messages().filter((each) => each.method === method).length;
  const [updates, changes] = [count(UPDATED), count(CHANGED)];
  const say = (method: string, params: object): void =>
    void open?.write(`data: ${JSON.stringify({ jsonrpc: '2.0', method, params })}\n\n`);
  say(UPDATED, { uri: A });
  say(CHANGED, {});
  await expect.poll(() => count(CHANGED)).toBe(changes + 1);
  return count(UPDATED) > updates;
}

describe.each(['modern', 'legacy'] as const)('M229 a subscription of the %s era', (era) => {
  test('that is claimed with a certificate that says the same goes on past the old one', async () => {
    toRed();
    const old = certified('red', HOUR);
    const stream = await OPENED[era](old);
    expect(await isTold(stream)).toBe(true);
    expect(await claim(world, renewed(old, certified('red', 3 * HOUR)), stream.secret())).toEqual([true]);
    clock.move(1.1 * HOUR);
    expect(await isTold(stream)).toBe(true);
    toRed({ prompts: { allow: ['other'] } });
    expect(await isTold(stream)).toBe(true);
  });
});

test('M229 a subscription ends with a claim by a certificate that may not have it', async () => {
  toRed();
  const old = certified('red', HOUR);
  const stream = await OPENED.modern(old);
  expect(await isTold(stream)).toBe(true);
  expect(await claim(world, renewed(old, certified('blue', 3 * HOUR)), stream.secret())).toEqual([true]);
  await stream.ended;
  expect(stream.messages().at(-1)).toMatchObject({ id: 7, error: { message: 'the call may not go on' } });
  const detail = `no rule lets ${TRIAGE} listen to ${A} any more`;
  expect(world.events).toContainEqual(
    expect.objectContaining({ stage: 'answered', outcome: 'error', detail }),
  );
});

test('M229 a subscription that is claimed is judged by the next certificate at each new policy', async () => {
  toRed();
  const old = certified('red', HOUR);
  const stream = await OPENED.modern(old);
  allow({ tools: { allow: ['get-sum'] } }, { ...TO_RED, when: 'caller.attributes.kubernetes.team != ""' });
  expect(await claim(world, renewed(old, certified('blue', 3 * HOUR)), stream.secret())).toEqual([true]);
  expect(await isTold(stream)).toBe(true);
  toRed();
  await stream.ended;
  expect(stream.messages().at(-1)).toMatchObject({ id: 7, error: {} });
});

test('M229 a legacy stream that is claimed carries what the next certificate may hear', async () => {
  toRed();
  const old = certified('red', HOUR);
  const stream = await OPENED.legacy(old);
  expect(await isTold(stream)).toBe(true);
  expect(await claim(world, renewed(old, certified('blue', 3 * HOUR)), stream.secret())).toEqual([true]);
  expect(await isTold(stream)).toBe(false);
  toRed({ prompts: { allow: ['other'] } });
  expect(await isTold(stream)).toBe(false);
});

test('M229 the answer of a claimed call is judged by the age of the next certificate', async () => {
  allow({ tools: { allow: ['echo'] }, when: 'caller.certificateAge < duration("30m")' });
  const calls = holdCalls(server);
  const fields = { notBefore: new Date(Date.now() - 600_000), notAfter: new Date(Date.now() + HOUR * 1000) };
  const made = makeLeaf(TRIAGE, world.td.root, { fields });
  const old = { ...world.td.svid(TRIAGE), chain: [made.certificate.der], key: made.key };
  const [kept, claimed] = [await openCall(world, old), await openCall(world, old)];
  await expect.poll(() => calls.open).toBe(2);
  expect(await claim(world, renewed(old, certified('red', 3 * HOUR)), claimed.secret)).toEqual([true]);
  clock.move(25 * 60);
  calls.answerAll();
  expect(await claimed.outcome).toBe(200);
  expect(await kept.outcome).toBe('failed');
});
