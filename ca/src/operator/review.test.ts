/** Which resources a review lists, and why. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { applied, makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { issuance } from '../../../test/kit/store/records.ts';
import { openOperator } from './operator.ts';
import type { Reviewed, SeenPerson, Why } from './review.ts';
import type { Asker } from './verb.ts';

const DAY = 86_400;
const PAST = '2020-01-01T00:00:00Z';
const root: Asker = { address: 'pid 1 uid 0', local: { uid: 0, ensureStillThere: () => {} } };
const ID = 'spiffe://prod.example/w';
const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: ID };
const server = { kind: 'McpServer', name: 's', identity: ID, address: 'a:1' };
const access = { kind: 'Access', name: 'a', who: [ID], servers: ['s'], tools: { allow: ['*'] } };

let rpc: Rpc;
let people: readonly SeenPerson[];
let operator: ReturnType<typeof openOperator>;
beforeEach(async () => {
  rpc = await makeRpc([{ type: 'unix', attest: () => Promise.reject(new Error('nobody joins here')) }]);
  people = [];
  const doors = { copyPath: 'nowhere', twoPeople: false, rotation: undefined as never };
  operator = openOperator({ ...rpc, ...doors, people: async () => people });
});

const ago = (days: number): Date => addSeconds(rpc.clock.now(), -days * DAY);
const inDays = (days: number): string => ago(-days).toISOString();
const list = (all = false): Promise<readonly Reviewed[]> => operator.review(root)({ all });
const why = async (): Promise<Record<string, readonly Why[]>> =>
  Object.fromEntries((await list()).map((each) => [each.resource.kind, each.why]));

/** A certificate by the Identity `w`, recorded so many days ago. */
async function issued(days: number): Promise<void> {
  const now = rpc.clock.now();
  rpc.clock.jump(ago(days));
  const issuer = rpc.authorities.inUse().find(({ kind }) => kind === 'intermediate')?.serial ?? '';
  const id = parseSpiffeId(ID);
  await rpc.store.record({ ...issuance, id, identity: 'w', issuer }, { ...event, id });
  rpc.clock.jump(now);
}
const event = { type: 'agent.acknowledged', sequence: 1 } as const;

/** As if they had been applied so many days ago. */
async function appliedAgo(days: number, ...resources: readonly object[]): Promise<void> {
  const now = rpc.clock.now();
  rpc.clock.jump(ago(days));
  await applied(rpc, ...resources);
  rpc.clock.jump(now);
}

test.each<[string, object, number, readonly Why[] | undefined]>([
  ['used lately', {}, 89, undefined],
  ['used long ago', {}, 91, ['unused']],
  ['whose review is due', { reviewBy: PAST }, 1, ['overdue']],
  ['that has ended', { until: PAST }, 1, ['ended']],
])('an Identity %s', async (_, more, days, expected) => {
  await applied(rpc, { ...identity, ...more });
  await issued(days);
  expect((await why())['Identity']).toEqual(expected);
});

test('an Identity without any certificate on record is unused, and one that ends within 30 days is named', async () => {
  await appliedAgo(90, { ...identity, until: inDays(29) });
  expect(await why()).toEqual({ Identity: ['unused', 'ending'] });
  await applied(rpc, { ...identity, until: inDays(31), reviewBy: inDays(1) });
  await issued(1);
  expect(await why()).toEqual({});
  expect(await list(true)).toHaveLength(1);
});

test('a resource that came less than 90 days ago and was not used yet is not unused', async () => {
  await appliedAgo(90, identity);
  await appliedAgo(89, identity, { ...identity, name: 'x', id: `${ID}/x` });
  expect((await list(true)).map(({ resource, isNew, why: found }) => [resource.name, isNew, found])).toEqual([
    ['w', false, ['unused']],
    ['x', true, []],
  ]);
});

test('a server or rule is unused only where its own gateway has reported calls for 90 days', async () => {
  const quiet = { ...server, name: 'quiet', identity: `${ID}/quiet` };
  const both = { ...access, name: 'both', servers: ['s', 'quiet'] };
  await appliedAgo(
    100,
    identity,
    { ...identity, name: 'x', id: quiet.identity },
    server,
    quiet,
    access,
    both,
  );
  const unused = async () =>
    (await list()).map(({ resource }) => resource.name).filter((name) => name !== 'x');
  await issued(1);
  expect(await unused()).toEqual([]);
  await called({ rule: 'other' });
  expect(await unused()).toEqual([]);
  await called({ rule: 'other', stage: 'answered' }, {}, 89);
  expect(await unused()).toEqual([]);
  await called({ rule: 'other', stage: 'answered' }, {}, 91);
  expect(await unused()).toEqual(['a']);
  const known = (await list(true))
    .filter(({ isUseKnown }) => isUseKnown)
    .map(({ resource }) => resource.name);
  expect(known).toEqual(expect.not.arrayContaining(['quiet', 'both']));
  await called({ rule: 'a' }, {}, 1);
  expect(await unused()).toEqual([]);
  const found = (await list(true)).find(({ resource }) => resource.name === 'a');
  expect(found).toMatchObject({ isUseKnown: true, lastUse: ago(1) });
});

test('a server and a rule that were last called more than 90 days ago are unused', async () => {
  await applied(rpc, identity, server, access);
  await issued(1);
  await called({ rule: 'a' }, {}, 91);
  expect(await why()).toEqual({ McpServer: ['unused'], Access: ['unused'] });
});

test('the last call of a server and a rule is found by the index, and none that came after it is read', async () => {
  await applied(rpc, identity, server, access, { ...access, name: 'b' });
  await called({ rule: 'a' });
  for (let more = 0; more < 1_500; more += 1) await called({ rule: 'b' });
  while (await rpc.store.indexEvents(10_000));
  const search = vi.spyOn(rpc.store, 'search');
  expect((await list(true)).every(({ isUseKnown }) => isUseKnown)).toBe(true);
  const pages = await Promise.all(search.mock.results.map(({ value }) => value));
  expect(pages.reduce((sum, { found }) => sum + found.length, 0)).toBe(3);
});

test.each<[string, object, object?]>([
  ['of a server that was not the one of its reporter', {}, { foreign: true }],
  ['that was not decided', { stage: 'answered' }],
  ['by a rule of another server', { server: 'mine' }],
  ['that only quotes one', { server: 'mine', detail: '"type":"call.recorded","server":"s","rule":"a"' }],
])('I175 no call %s says that a server or a rule is in use', async (_, record, event = {}) => {
  const mine = { ...server, name: 'mine', identity: `${ID}/mine` };
  await appliedAgo(100, identity, { ...identity, name: 'x', id: mine.identity }, server, mine, access);
  await called({ stage: 'answered' }, {}, 91);
  await called({ server: 'mine', stage: 'answered' }, { reporter: mine.identity }, 91);
  await called({ rule: 'a', ...record }, event);
  const unused = (await list()).map(({ resource }) => resource.name);
  expect(unused).toEqual(expect.arrayContaining(['s', 'a']));
});

test('I175 where gateways report calls of other servers alone, no use is known', async () => {
  await applied(rpc, identity, server, access);
  await issued(1);
  await called({ rule: 'a' }, { foreign: true });
  expect(await why()).toEqual({});
});

test('I175 a query leaves out what gateways say of servers of others, where it is asked to', async () => {
  await called({}, { foreign: true });
  await called({ detail: '"foreign":true,' });
  const all = { words: ['"server":"s"'], text: '', decision: undefined, place: undefined, backwards: true };
  const times = { since: 0, until: Number.MAX_SAFE_INTEGER };
  const found = async (more: object) =>
    (await operator.audit(root)({ ...all, ...times, limit: 9, ...more })).found.length;
  expect(await found({})).toBe(2);
  expect(await found({ withoutForeign: true })).toBe(1);
  expect(await found({ type: 'operator.acting' })).toBe(0);
});

/** One call that a gateway reported so many days ago, in the store. */
async function called(record: object, event: object = {}, days = 0): Promise<void> {
  const now = rpc.clock.now();
  rpc.clock.jump(ago(days));
  const about = { reporter: ID, serial: 'ab', spool: 'cd', number: 1, ...event };
  const call = { stage: 'decided', id: '1', time: rpc.clock.now().toISOString(), server: 's', ...record };
  await rpc.store.append({ type: 'call.recorded', ...about, record: call } as AuditEvent);
  rpc.clock.jump(now);
}

test('an owner who has not signed in for 90 days is named; a team is not known', async () => {
  await applied(rpc, { ...identity, owner: 'ada' });
  await issued(1);
  expect(await why()).toEqual({});
  people = [{ names: ['ada', 'x'], lastSignIn: ago(91) }];
  expect(await why()).toEqual({ Identity: ['owner'] });
  people = [...people, { names: ['ada'], lastSignIn: ago(1) }];
  expect(await why()).toEqual({});
});

test('I155 a sign-off is for the resource as it was seen, and changes nothing but what the list says', async () => {
  await applied(rpc, { ...identity, reviewBy: PAST });
  await issued(1);
  const [seen] = await list();
  const order = { kind: 'Identity', name: 'w', digest: seen?.digest ?? '', reason: 'needed' };
  const before = rpc.registry.sets.current();
  await operator.signOff(root)(order);
  expect(rpc.registry.sets.current()).toBe(before);
  expect(await list()).toMatchObject([{ why: ['next-date'], signedOff: { reason: 'needed' } }]);
  await applied(rpc, { ...identity, x509: { ttl: '2h' }, reviewBy: PAST });
  expect(await list()).toMatchObject([{ why: ['overdue'], signedOff: undefined }]);
  const says = /^Identity\/w has changed meanwhile: look at it again$/;
  await expect(operator.signOff(root)(order)).rejects.toThrow(refusal('review', says));
});

test.each<[string, object, RegExp]>([
  ['what is not in force', { name: 'v' }, /^there is no Identity\/v in force$/],
  ['without a reason', { reason: ' ' }, /^a reason of 1 to 1000 characters is needed$/],
  ['with a reason that is too long', { reason: 'x'.repeat(1001) }, /^a reason of 1 to 1000/],
])('I155 a sign-off of %s is refused', async (_, more, says) => {
  await applied(rpc, identity);
  const digest = (await list(true))[0]?.digest ?? '';
  const order = { kind: 'Identity', name: 'w', digest, reason: 'needed', ...more };
  await expect(operator.signOff(root)(order)).rejects.toThrow(refusal('review', says));
  expect(await rpc.store.signOffs()).toEqual([]);
});
