/** The verbs by their values, through no door. */
import { hash } from 'node:crypto';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import type { Refusal } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { certifiedCaller, makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { Acknowledged } from '../agents/acknowledged.ts';
import type { LiveAgent } from '../agents/agents.ts';
import type { Unacknowledged } from '../agents/holders.ts';
import { ensureJwtKey } from '../jwt/keys.ts';
import { Resource } from '../registry/resources.ts';
import type { Operator } from './operator.ts';
import type { Asker } from './verb.ts';

const ID = 'spiffe://prod.example/w';
const root: Asker = { address: 'pid 1 uid 0', local: { uid: 0, ensureStillThere: () => {} } };
const stranger: Asker = { address: '10.0.0.1' };
const files = [
  { name: 'w.yaml', text: JSON.stringify({ kind: 'Identity', name: 'w', platform: 'unix', id: ID }) },
];
/** Of the resource as the registry keeps it. */
const kept = Resource.parse({ kind: 'Identity', name: 'w', platform: 'unix', id: ID });
const DIGEST = hash('sha256', JSON.stringify(kept), 'hex');
const pinned = { platform: 'azure', node: 'vm-1' };
const asked = {
  ...{ verb: 'rotate', digest: 'd', about: 'root', by: 'ada', until: new Date('2100-01-01T00:00:00Z') },
  person: parseSpiffeId('spiffe://prod.example/chancery/operator/ada'),
};
const revocation = { kind: 'id', value: ID, reason: 'keyCompromise', seconds: 0, force: false };

/** Every verb with a value. */
const VERBS: { readonly [V in keyof Operator]: Parameters<ReturnType<Operator[V]>>[0] } = {
  acceptLoss: { reason: 'a drill', dryRun: false },
  apply: { files, how: {}, dryRun: false },
  diff: { files, how: {} },
  explain: { kind: 'facts', facts: { platform: 'unix', attributes: {} } },
  resources: undefined,
  agents: undefined,
  issued: { id: undefined, limit: 0 },
  revoke: { ...revocation, dryRun: false },
  lift: 1,
  revocations: undefined,
  audit: {
    words: [],
    text: '',
    decision: undefined,
    since: 0,
    until: Number.MAX_SAFE_INTEGER,
    place: undefined,
    backwards: false,
    limit: 1,
  },
  checkCertificates: undefined,
  copyDatabase: undefined,
  rewrapKeys: { fromPassphrase: false, withoutStandby: true, dryRun: false },
  rotate: { intermediate: false, dryRun: false },
  rotateNext: { without: [ID], everybody: true, reason: 'a drill', dryRun: false },
  rotateRollback: { dryRun: false },
  rotateJwt: { step: 'begin', without: [], everybody: false, reason: '', dryRun: false },
  jwtRotationStatus: undefined,
  rotationStatus: undefined,
  review: { all: true },
  signOff: { kind: 'Identity', name: 'w', digest: DIGEST, reason: 'still needed' },
  requests: undefined,
  releaseNode: { node: 'azure/vm-1', reason: 'made anew', dryRun: false },
  countersign: 1,
  withdraw: 1,
  standBy: { dryRun: false },
  taint: { authority: '40aa', reason: 'a drill', dryRun: false },
  authorities: undefined,
  authorityRequests: undefined,
  askForAuthority: undefined,
  serving: undefined,
  auditStatus: undefined,
  askAbove: { root: '', dryRun: false },
  importAuthority: { answer: new Uint8Array(), rootAbove: new Uint8Array(), dryRun: false },
};
const verbs = Object.keys(VERBS) as (keyof Operator)[];
const WRITING: Readonly<Record<string, string>> = {
  acceptLoss: 'after a restore, because: a drill; a test',
  apply: '1 file',
  revoke: `id ${ID}`,
  lift: `revocation 1 of id ${ID}`,
  copyDatabase: 'for a backup',
  rewrapKeys: 'another key-encryption key, without the keys of standby roots',
  rotate: 'root',
  rotateNext: 'root, without waiting for anybody, because: a drill',
  rotateRollback: 'root',
  rotateJwt: 'JWT key, begin',
  signOff: 'Identity/w',
  releaseNode: 'azure/vm-1, because: made anew',
  countersign: 'request 1',
  withdraw: 'request 1',
  standBy: 'standby root',
  taint: 'authority 40aa, because: a drill',
  askAbove: 'a request for root that signs',
  askForAuthority: 'an intermediate',
  importAuthority: `the answer with SHA-256 ${hash('sha256', '')}`,
};

let rpc: Rpc;
beforeEach(async () => {
  rpc = await makeRpc([{ type: 'unix', attest: () => Promise.reject(new Error('nobody joins here')) }]);
  await ensureJwtKey(rpc);
});
const run = async (verb: keyof Operator, value: unknown = VERBS[verb]) => {
  const open = rpc.operator[verb] as unknown as (asker: Asker) => (value: unknown) => Promise<unknown>;
  return open(root)(value);
};
const acts = async () =>
  (await rpc.store.events(0, 1000))
    .map(({ event }) => event)
    .filter(({ type }) => type === 'operator.acting');

test('accept-loss where nothing waits is refused, and no dry run says otherwise', async () => {
  vi.spyOn(rpc.recovery, 'whyHeld').mockReturnValue('');
  for (const dryRun of [true, false])
    await expect(run('acceptLoss', { reason: 'a drill', dryRun })).rejects.toThrow(
      refusal('recovering', /^the CA waits for nothing: it issues$/),
    );
});

test('what a step needs of an offline root is asked for at once, by the step and not by its dry run', async () => {
  const keepUp = vi.spyOn(rpc.requests, 'keepUp');
  await run('rotate', { intermediate: false, dryRun: true });
  expect(keepUp).not.toHaveBeenCalled();
  await run('rotate', { intermediate: false, dryRun: false });
  expect(keepUp).toHaveBeenCalledTimes(1);
});

describe.each(verbs)('%s', (verb) => {
  test('is for operators', () => {
    expect(() => rpc.operator[verb](stranger)).toThrow(/^operators call on the admin socket/);
  });

  test(`leaves ${WRITING[verb] === undefined ? 'no' : 'an'} event`, async () => {
    if (verb === 'lift') await rpc.operator.revoke(root)(VERBS.revoke);
    if (verb === 'signOff') await run('apply');
    if (verb === 'releaseNode') await rpc.store.swapNodeState(pinned, undefined, 'vm a');
    if (/^countersign|withdraw/.test(verb)) await rpc.store.request(asked, { all: 1, each: 1 });
    if (/^rotate[NR]/.test(verb)) await rpc.operator.rotate(root)(VERBS.rotate);
    const before = (await acts()).length;
    // No authority has this name, which is found out after the event.
    await run(verb).catch(() => expect(verb).toBe('taint'));
    const about = WRITING[verb];
    const event = { type: 'operator.acting', verb, about, by: 'uid 0 by the admin socket' };
    expect((await acts()).slice(before)).toEqual(about === undefined ? [] : [event]);
  });
});

test.each<readonly [keyof Operator, object]>([
  ['apply', { ...VERBS.apply, dryRun: true }],
  ['revoke', { ...VERBS.revoke, dryRun: true }],
  ['rotate', { ...VERBS.rotate, dryRun: true }],
  ['rotate', { intermediate: true, dryRun: true }],
  ['standBy', { dryRun: true }],
])('a dry run of %s changes nothing and leaves no event', async (verb, value) => {
  const before = (await rpc.store.events(0, 1000)).length;
  await run(verb, value);
  expect(await rpc.store.events(0, 1000)).toHaveLength(before);
  expect([rpc.registry.sets.current().version, rpc.revocations.standing()]).toEqual([0, []]);
});

test('values in, values out: what a console would show', async () => {
  const { operator } = rpc;
  await certifiedCaller(rpc);
  const applied = await operator.apply(root)(VERBS.apply);
  expect(applied).toMatchObject({
    version: 1,
    changes: [{ change: 'added', key: 'Identity/w' }],
    // It was given by no Identity of the set.
    losses: [{ agents: [{ node: 'n1' }], connected: 0 }],
    unacknowledged: { connected: 0, away: 1 },
  });
  expect((await operator.resources(root)(undefined)).resources).toMatchObject([
    { kind: 'Identity', name: 'w' },
  ]);
  expect(await operator.explain(root)(VERBS.explain)).toMatchObject({ allow: true, spiffeIds: [ID] });
  expect(await operator.agents(root)(undefined)).toMatchObject({
    connected: [],
    away: [{ node: 'n1' }],
    current: { bundle: 1n, policy: 1n, revocations: 0n },
  });
  expect(
    await operator.issued(root)({ id: parseSpiffeId('spiffe://prod.example/web'), limit: 9 }),
  ).toHaveLength(1);
  const revoked = await operator.revoke(root)({ ...VERBS.revoke, value: 'spiffe://prod.example/web' });
  expect(revoked).toMatchObject({
    made: { number: 1, by: 'uid 0 by the admin socket' },
    certificates: 1,
    agents: 0,
  });
  // It is the only holder, and cut off.
  expect(revoked.unacknowledged).toEqual({ connected: 0, names: [], away: 0, atLeast: false });
  expect(await operator.revocations(root)(undefined)).toEqual([revoked.made]);
  // No change counts it as a holder that can still hear of it.
  expect(await operator.apply(root)({ files: [], how: { pruneAll: true }, dryRun: false })).toMatchObject({
    losses: [],
    unacknowledged: { connected: 0, names: [], away: 0 },
  });
  expect((await operator.revoke(root)({ ...VERBS.revoke, value: `${ID}2` })).unacknowledged).toMatchObject({
    away: 0,
  });
  expect(await operator.lift(root)(2)).toMatchObject({ revocation: { number: 2 }, still: [] });
  expect(await operator.agents(root)(undefined)).toMatchObject({
    away: [{ node: 'n1', revoked: true }],
    awayCount: 0,
  });
  expect(await operator.lift(root)(1)).toMatchObject({ revocation: { number: 1 } });
  expect(await operator.revocations(root)(undefined)).toEqual([]);
});

test('apply warns of a resource that has ended', async () => {
  const text = `kind: Identity\nname: w\nplatform: unix\nid: ${ID}\nuntil: '2020-01-01T00:00:00Z'\n`;
  const { warnings } = await rpc.operator.apply(root)({ ...VERBS.apply, files: [{ name: 'w', text }] });
  expect(warnings).toEqual(['Identity/w is off: its until (2020-01-01T00:00:00Z) has passed']);
  expect(await rpc.operator.explain(root)(VERBS.explain)).toMatchObject({ allow: false });
});

describe('a machine that is released', () => {
  const release = (more = {}) => rpc.operator.releaseNode(root)({ ...VERBS.releaseNode, ...more });

  test('starts anew, and the log says who let it and why; a dry run only says what it would forget', async () => {
    await rpc.store.swapNodeState(pinned, undefined, 'vm a');
    expect(await release({ dryRun: true })).toBe('vm a');
    expect(await rpc.store.nodeState(pinned)).toBe('vm a');
    expect(await release()).toBe('vm a');
    expect(await rpc.store.nodeState(pinned)).toBeUndefined();
    expect((await rpc.store.events(0, 99)).at(-1)?.event).toMatchObject({
      ...{ type: 'node.released', ...pinned, reason: 'made anew', by: 'uid 0 by the admin socket' },
    });
  });

  test.each([
    ['that is not remembered', {}, /^the CA remembers nothing of azure\/vm-1$/],
    ['without a platform', { node: 'vm-1' }, /is not platform\/node of a machine$/],
    ['that is an operator', { node: 'self/operator/ada' }, /is not platform\/node of a machine$/],
    ['without a reason', { reason: ' ' }, /^a reason of 1 to 1000 characters is needed$/],
  ])('I156 is none %s', async (_, more, says) => {
    await rpc.store.swapNodeState({ platform: 'self', node: 'operator/ada' }, undefined, 'signed in');
    await expect(release(more)).rejects.toThrow(refusal('node_state', says));
    expect(await rpc.store.nodeState({ platform: 'self', node: 'operator/ada' })).toBe('signed in');
  });

  test('I156 is none that joins at that moment', async () => {
    await rpc.store.swapNodeState(pinned, undefined, 'vm a');
    const read = rpc.store.nodeState.bind(rpc.store);
    vi.spyOn(rpc.store, 'nodeState').mockImplementationOnce(async (node) => {
      const state = await read(node);
      await rpc.store.swapNodeState(pinned, 'vm a', 'vm b');
      return state;
    });
    await expect(release()).rejects.toThrow(
      refusal('node_state', /^azure\/vm-1 has joined meanwhile: look again$/),
    );
    expect(await rpc.store.nodeState(pinned)).toBe('vm b');
  });
});

test('an end that is too far away is refused', async () => {
  const order = { ...VERBS.revoke, seconds: 2 ** 40 };
  await expect(rpc.operator.revoke(root)(order)).rejects.toThrow(/^1099511627776 seconds are too long/);
});

test('explain says nothing where the revocations cannot be read', async () => {
  await rpc.operator.apply(root)(VERBS.apply);
  const broken = new TypeError('broken');
  vi.spyOn(rpc.revocations, 'ensureGood').mockImplementation(() => {
    throw broken;
  });
  await expect(rpc.operator.explain(root)(VERBS.explain)).rejects.toBe(broken);
});

/** A trust stream to which the CA has sent every change that a test makes. */
function connectedAgent(name: string): { readonly acknowledge: () => void } {
  const acknowledged = new Acknowledged();
  acknowledged.sending(9n, { bundle: 9n, policy: 9n, revocations: 9n });
  const now = rpc.clock.now();
  const agent: LiveAgent = {
    id: parseSpiffeId(`spiffe://prod.example/${name}`),
    ...{ platform: 'unix', node: name, identity: name, serial: '1', address: 'a', version: '1' },
    ...{ connectedAt: now, certificateNotAfter: addSeconds(now, 3600), acknowledged },
  };
  rpc.agents.open(agent, Buffer.from(name.padEnd(16)));
  return { acknowledge: () => rpc.agents.acknowledge(agent, { sequence: 9n }) };
}

describe.each([
  [
    'apply',
    {
      ...VERBS.apply,
      files: [
        { name: 'v.yaml', text: JSON.stringify({ kind: 'Identity', name: 'v', platform: 'unix', id: ID }) },
      ],
    },
  ],
  ['revoke', { ...VERBS.revoke, value: `${ID}2` }],
] as const)('%s with connected agents', (verb, value) => {
  const running = () => run(verb, value) as Promise<{ readonly unacknowledged: Unacknowledged }>;
  const isWaiting = () => vi.waitFor(() => expect(rpc.clock.sleeping).toBe(1));

  test('answers when they have acknowledged the change', async () => {
    const { acknowledge } = connectedAgent('a');
    const answer = running();
    await isWaiting();
    acknowledge();
    expect((await answer).unacknowledged).toMatchObject({ connected: 0, names: [] });
  });

  test('names those that say nothing for a second, and none that has connected meanwhile', async () => {
    connectedAgent('a');
    const answer = running();
    await isWaiting();
    connectedAgent('b');
    rpc.clock.advanceTo(addSeconds(rpc.clock.now(), 1));
    const names = ['spiffe://prod.example/a (unix/a)'];
    expect((await answer).unacknowledged).toMatchObject({ connected: 1, names });
  });

  test('does not wait for them in a dry run', async () => {
    await run('apply');
    // It has not acknowledged the set in force.
    connectedAgent('a');
    expect(await run(verb, { ...value, dryRun: true })).toMatchObject({ unacknowledged: undefined });
    expect(rpc.clock.sleeping).toBe(0);
  });
});

test('a holder whose later certificate is revoked is listed once, by the one that is not', async () => {
  const { issued: earlier } = await certifiedCaller(rpc, 1800);
  const { issued: later } = await certifiedCaller(rpc, 3600);
  await run('revoke', { ...VERBS.revoke, kind: 'serial', value: later.serial });
  expect(await run('agents')).toMatchObject({
    away: [{ serial: earlier.serial, revoked: false }],
    awayCount: 1,
  });
  const { away } = (await run('agents')) as { readonly away: readonly unknown[] };
  expect(away).toHaveLength(1);
});

describe('I221 an order of a rotation', () => {
  const step = { without: [], everybody: false, reason: '', dryRun: false };
  const long = 'x'.repeat(501);
  test.each<[string, 'rotateNext' | 'taint', object, Refusal, RegExp]>([
    [
      'a step with a long reason',
      'rotateNext',
      { ...step, reason: long },
      'message_parse',
      /more than 500 char/,
    ],
    [
      'a step without one that is no SPIFFE ID',
      'rotateNext',
      { ...step, without: ['prod.example/w'] },
      'spiffe_id',
      /./,
    ],
    [
      'a step without anybody and a reason',
      'rotateNext',
      { ...step, everybody: true },
      'message_parse',
      /needs a reason/,
    ],
    [
      'a theft with a long reason',
      'taint',
      { ...VERBS.taint, reason: long },
      'message_parse',
      /more than 500 char/,
    ],
    ['a theft without a reason', 'taint', { ...VERBS.taint, reason: ' ' }, 'message_parse', /needs a reason/],
  ])('%s', async (_, verb, order, code, says) => {
    await rpc.operator.rotate(root)(VERBS.rotate);
    const before = await rpc.store.authorities();
    await expect(run(verb, order)).rejects.toThrow(refusal(code, says));
    expect(await rpc.store.authorities()).toEqual(before);
  });
});
