import { type ApplyRequest, OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { proven } from '../../../../test/kit/ca/authority.ts';
import {
  applied,
  callUnary,
  certifiedCaller,
  FakeCall,
  makeRpc,
  peerOf,
  type Rpc,
  stranger,
} from '../../../../test/kit/ca/rpc.ts';
import { Acknowledged } from '../../agents/acknowledged.ts';
import { unixAttestor } from '../../attestors/unix.ts';
import { issue } from '../../authority/issue.ts';
import { ensureJwtKey } from '../../jwt/keys.ts';
import type { Caller, UnixCaller } from '../caller.ts';
import { operatorMethods } from './operator.ts';

const ID = 'spiffe://prod.example/w';
const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: ID };
const server = { kind: 'McpServer', name: 's', identity: ID, address: 'a:1' };
const long = (name: string, who: number) => ({
  kind: 'Access',
  name,
  who: Array.from({ length: who }, (_, index) => `${ID}/${'x'.repeat(1500)}/${index}`),
  servers: ['s'],
  tools: { allow: ['*'] },
});
const by = (uid: number, via: UnixCaller['via'] = 'admin'): UnixCaller => ({
  via,
  address: `uid ${uid}`,
  peer: { pid: 1, uid, gid: 1, ensureStillThere() {}, close() {} },
});
const root = by(0);
const gone: UnixCaller = {
  ...root,
  peer: {
    ...root.peer,
    ensureStillThere: () => {
      throw new IdentityError('peer_gone', 'process 1 has exited');
    },
  },
};

let rpc: Rpc;
beforeEach(async () => {
  rpc = await makeRpc([unixAttestor()]);
  await ensureJwtKey(rpc);
});

type Method = keyof typeof OperatorService;
type RequestOf<M extends Method> = Parameters<(typeof OperatorService)[M]['requestSerialize']>[0];
type ResponseOf<M extends Method> = ReturnType<(typeof OperatorService)[M]['responseDeserialize']>;

/** What it answers, or the code and detail of what it refuses, as the operator reads it. */
async function call<M extends Method>(method: M, request: RequestOf<M>, caller: Caller = root) {
  const { path, requestSerialize } = OperatorService[method];
  const handled = operatorMethods(rpc)
    .map((each) => each(rpc))
    .find((each) => each.method.path === path);
  if (handled === undefined) throw new Error(`${path} is not answered`);
  if (OperatorService[method].requestStream)
    return (await stream([request as never], caller, method)) as never;
  const bytes = requestSerialize(request as never);
  const { error, response } = await callUnary(handled, peerOf(rpc, caller), bytes);
  if (error !== null) throw Object.assign(new Error(error.details), { code: error.code });
  return response as ResponseOf<M>;
}

/** The answers of a streaming call, as the operator puts them together. */
async function stream(requests: readonly ApplyRequest[], caller: Caller = root, method: Method = 'apply') {
  const definition = OperatorService[method === 'diff' ? 'diff' : 'apply'];
  const handled = operatorMethods(rpc)
    .map((each) => each(rpc))
    .find((each) => each.method.path === definition.path);
  if (handled === undefined) throw new Error(`${definition.path} is not answered`);
  const talk = new FakeCall(definition, peerOf(rpc, caller));
  talk.run(handled);
  for (const request of requests) talk.say(request);
  talk.emit('end');
  const ended = new Promise<undefined>((resolve) => talk.ended.mockImplementation(() => resolve(undefined)));
  const error = await Promise.race([ended, talk.failed]);
  if (error !== undefined) throw Object.assign(new Error(error.details), { code: error.code });
  const { written } = talk;
  return {
    changes: written.flatMap(({ changes }) => changes),
    version: written.at(-1)?.version,
    warnings: written.at(-1)?.warnings,
    unacknowledged: written.at(-1)?.unacknowledged,
    messages: written.length,
  };
}

const filesOf = (...resources: readonly object[]) =>
  resources.map((each, index) => ({ name: `${index}.yaml`, text: JSON.stringify(each), continues: false }));
const setOf = (...resources: readonly object[]): ApplyRequest => ({
  files: filesOf(...resources),
  dryRun: false,
  allowSharedServerIds: false,
  pruneAll: false,
});
const requests: { readonly [M in Method]: RequestOf<M> } = {
  acceptLoss: { reason: 'a test', dryRun: true },
  apply: setOf(identity),
  diff: setOf(identity),
  explain: { about: { $case: 'call', value: { caller: ID, server: 's', tool: 't', arguments: '' } } },
  listResources: { kind: '', name: '', after: '' },
  listAgents: {},
  listIssued: { limit: 0, spiffeId: '' },
  revoke: { kind: 'id', value: ID, reason: 'unspecified', seconds: 0n, dryRun: false, force: false },
  liftRevocation: { number: 1n },
  listRevocations: {},
  queryAudit: {
    words: [],
    text: '',
    decision: '',
    since: 0n,
    until: 0n,
    backwards: false,
    limit: 1,
    withoutForeign: false,
  },
  checkCertificates: { after: undefined },
  copyDatabase: {},
  rewrapKeys: { fromPassphrase: false, withoutStandby: true, dryRun: false },
  rotate: { intermediate: false, dryRun: false, root: Buffer.alloc(0) },
  rotateNext: { without: [], yesToStragglers: false, reason: '', dryRun: false },
  rotateRollback: { dryRun: false },
  rotateJwt: { step: 'begin', without: [], yesToStragglers: false, reason: '', dryRun: false },
  getJwtRotation: {},
  getRotation: {},
  review: { all: true },
  signOff: { kind: 'Identity', name: 'w', digest: '', reason: 'still needed' },
  listRequests: {},
  releaseNode: { node: 'azure/vm-1', reason: 'made anew', dryRun: false },
  countersign: { number: 1n },
  withdraw: { number: 1n },
  standBy: { dryRun: false },
  taint: { authority: '40aa', reason: 'a drill', dryRun: false },
  listAuthorities: {},
  listAuthorityRequests: {},
  askForAuthority: {},
  getServing: {},
  getAuditStatus: {},
  askAbove: { root: '', dryRun: false },
  importAuthority: { answer: Buffer.alloc(0), rootAbove: Buffer.alloc(0), dryRun: false },
};
const methods = Object.keys(requests) as Method[];
const asked = {
  ...{ verb: 'rotate', digest: 'd', about: 'root', by: 'ada', until: new Date('2100-01-01T00:00:00Z') },
  person: parseSpiffeId('spiffe://prod.example/chancery/operator/ada'),
};
/** As an operator who has looked at it asks. */
const signedOff = async () => {
  const { resources } = await call('review', requests.review);
  return { ...requests.signOff, digest: resources[0]?.digest ?? '' };
};

describe('every call', () => {
  test('is one of these', () => {
    expect(Object.keys(OperatorService).toSorted()).toEqual(methods.toSorted());
  });

  describe.each(methods)('%s', (method) => {
    test.each([
      ['over TLS', stranger, /may not do this/],
      ['on the socket for joining, by root', by(0, 'join'), /may not do this/],
      ['by another user', by(1001), /^uid 1001 is no operator$/],
      ['by a process that has gone', gone, /^process 1 has exited$/],
    ])('is refused %s', async (_, caller, message) => {
      await expect(call(method, requests[method], caller)).rejects.toThrow(message);
      expect(await rpc.store.registry()).toBeUndefined();
      expect(rpc.revocations.standing()).toEqual([]);
    });

    test.each([0, 1000])('is answered for uid %i', async (uid) => {
      if (method === 'liftRevocation') await call('revoke', requests.revoke);
      if (/^rotate[NR]/.test(method)) await call('rotate', requests.rotate);
      if (/^countersign|withdraw/.test(method)) await rpc.store.request(asked, { all: 1, each: 1 });
      if (method === 'releaseNode')
        await rpc.store.swapNodeState({ platform: 'azure', node: 'vm-1' }, undefined, 'vm a');
      if (method === 'signOff') await call('apply', requests.apply);
      const authority = rpc.authorities.issuer(rpc.clock.now()).serial;
      const taint = { ...requests.taint, authority };
      const known = method === 'taint' ? taint : requests[method];
      await call(method, method === 'signOff' ? await signedOff() : known, by(uid));
    });
  });
});

describe('apply', () => {
  test('names who applied', async () => {
    expect(await call('apply', requests.apply, by(1000))).toMatchObject({
      version: 1n,
      changes: [{ change: 'added', kind: 'Identity', name: 'w' }],
    });
    expect((await rpc.store.events(0, 100)).at(-1)?.event).toMatchObject({
      type: 'registry.applied',
      by: 'uid 1000 by the admin socket',
    });
  });

  test('as a dry run, and diff, change nothing', async () => {
    for (const answer of [
      await call('apply', { ...requests.apply, dryRun: true }),
      await call('diff', requests.diff),
    ])
      expect(answer).toMatchObject({
        version: 0n,
        changes: [{ change: 'added', name: 'w', diff: expect.stringMatching(/^\+kind/) }],
      });
    expect(await rpc.store.registry()).toBeUndefined();
  });

  test('tells the operator what is wrong', async () => {
    await expect(call('apply', setOf({ ...identity, platform: 'aws' }))).rejects.toThrow(
      /^0\.yaml:1: platform aws is not configured at this CA \(unix\)$/,
    );
  });
});

describe('a set in several messages', () => {
  const text = JSON.stringify(identity);
  const parts = (...files: ApplyRequest['files']): ApplyRequest => ({ ...setOf(), files });
  const part = (from: number, to: number | undefined, continues: boolean) => ({
    name: 'a.yaml',
    text: text.slice(from, to),
    continues,
  });

  test('is one set; a file goes on in the next message', async () => {
    const answer = await stream([
      parts(part(0, 9, true)),
      parts(part(9, 20, true), part(20, undefined, false), ...filesOf(server)),
    ]);
    expect(answer.changes.map(({ change, name }) => `${change} ${name}`)).toEqual(['added w', 'added s']);
  });

  test.each([
    ['nothing at all', []],
    ['a file that does not go on', [parts(part(0, 9, true))]],
  ])('is refused with %s', async (_, requests) => {
    await expect(stream(requests)).rejects.toThrow(/^the set is not whole$/);
  });

  test('is refused above its bound', async () => {
    const mib = parts({ name: 'a', text: `#${' '.repeat(1024 * 1024 - 1)}`, continues: true });
    const all = Array.from({ length: 16 }, () => mib);
    await expect(stream([...all, parts(part(0, 1, false))])).rejects.toThrow(
      /^the set has more than 16777216/,
    );
    const end = parts({ name: 'a', text: '', continues: false });
    expect((await stream([...all, end])).changes).toEqual([]);
  });

  test('is answered in several messages, and no diff is longer than its bound', async () => {
    const many = Array.from({ length: 40 }, (_, index) => ({ ...identity, name: `w${index}` }));
    const { changes, messages, version } = await stream([setOf(...many, server, long('a', 50))]);
    expect([changes.length, messages, version]).toEqual([42, 3, 1n]);
    expect(changes[0]?.diff).toMatch(/^.{65500,}\n… and \d+ more characters$/s);
  });

  test('needs a flag to be empty', async () => {
    await stream([setOf(identity)]);
    await expect(stream([setOf()])).rejects.toThrow(/Pass --prune-all/);
    expect((await stream([{ ...setOf(), pruneAll: true }])).changes).toMatchObject([{ change: 'removed' }]);
  });
});

test('I149 apply does not read the set of who has not the role', async () => {
  const person = async () => ({
    peer: { id: asked.person },
    ...{ id: asked.person, by: 'grace', role: 'reader' as const, servers: [], authTime: new Date(0) },
  });
  const handled = operatorMethods(rpc)
    .map((each) => each(rpc))
    .find((each) => each.method.path === OperatorService.apply.path);
  if (handled === undefined) throw new Error('Apply is not answered');
  const talk = new FakeCall(OperatorService.apply, peerOf(rpc, { ...stranger, person: () => person }));
  talk.run(handled);
  // It has sent nothing yet.
  expect((await talk.failed).details).toBe('the caller may not do this');
});

test('I260 what the CA has loaded of its config is told to operators, and not to readers', async () => {
  const as = (role: 'reader' | 'operator' | 'owner') => ({
    ...stranger,
    person: () => async () => ({
      peer: { id: asked.person },
      ...{ id: asked.person, by: 'grace', role, servers: [], authTime: new Date(0) },
    }),
  });
  for (const role of ['reader', 'owner'] as const)
    await expect(call('getServing', {}, as(role))).rejects.toThrow(/grace has the role|may not do this/);
  const { settings, authorities } = await call('getServing', {}, as('operator'));
  expect(settings).toEqual([{ path: 'logLevel', value: '"info"' }]);
  expect(authorities.map(({ kind }) => kind).toSorted()).toEqual(['intermediate', 'root']);
});

describe('who has not acknowledged a change', () => {
  test('is counted after apply, and not after a dry run or where nothing changes', async () => {
    await certifiedCaller(rpc);
    const told = async (dryRun: boolean) => (await stream([{ ...setOf(identity), dryRun }])).unacknowledged;
    expect(await told(true)).toBeUndefined();
    expect(await told(false)).toEqual({ connected: 0n, away: 1n, awayAtLeast: false, names: [] });
    expect(await told(false)).toBeUndefined();
  });
});

describe('explain', () => {
  const explained = (value: object) =>
    call('explain', {
      about: { $case: 'facts', value: { platform: 'unix', attributes: {}, ...value } },
    });

  test('says what facts earn, the default first', async () => {
    await applied(rpc, identity, { ...identity, name: 'x', id: `${ID}/{uid}` });
    expect(await explained({ attributes: { uid: '7' } })).toEqual({
      spiffeIds: [ID, `${ID}/7`],
      allow: true,
      rule: 'w',
      lines: [`w gives ${ID} (the default)`, `x gives ${ID}/7`],
    });
  });

  test('says why facts earn nothing', async () => {
    await applied(rpc, identity);
    expect(await explained({ platform: 'tpm' })).toEqual({
      spiffeIds: [],
      allow: false,
      rule: '',
      lines: ['no identity; the nearest: w is for platform unix, not tpm'],
    });
  });

  test('says no for an identity that the operator has cut off', async () => {
    const access = { kind: 'Access', name: 'a', who: [ID], servers: ['s'], tools: { allow: ['*'] } };
    await applied(rpc, identity, server, access);
    await call('revoke', requests.revoke);
    const about = { $case: 'call' as const, value: { caller: ID, server: 's', tool: 't', arguments: '' } };
    const no = {
      allow: false,
      rule: 'a',
      lines: [
        expect.stringMatching(/^a lets/),
        expect.stringMatching(/^but it is revoked: .* revocation 1 \(id/),
      ],
    };
    expect(await call('explain', { about })).toMatchObject(no);
    await call('liftRevocation', { number: 1n });
    expect(await call('explain', { about })).toMatchObject({ allow: true });
    expect(await explained({})).toMatchObject({ allow: true });
    await call('revoke', { ...requests.revoke, kind: 'pattern', value: 'spiffe://prod.example/*' });
    expect(await explained({})).toMatchObject({
      allow: false,
      spiffeIds: [ID],
      lines: [`w gives ${ID} (the default)`, expect.stringMatching(/^but it is revoked: .*\(pattern /)],
    });
  });

  test('does not take a fault of ours for a no', async () => {
    vi.spyOn(rpc.registry.sets, 'current').mockImplementation(() => {
      throw new TypeError('a bug');
    });
    await expect(explained({})).rejects.toThrow('a bug');
  });

  test('does not take a fault of ours for a revocation', async () => {
    await applied(rpc, identity);
    vi.spyOn(rpc.revocations, 'ensureGood').mockImplementation(() => {
      throw new TypeError('a bug');
    });
    await expect(explained({})).rejects.toThrow('a bug');
  });

  test('says what decides a call', async () => {
    const access = { kind: 'Access', name: 'a', who: [ID], servers: ['s'], tools: { allow: ['get_*'] } };
    await applied(rpc, identity, server, access);
    const about = (tool: string) => ({
      about: { $case: 'call' as const, value: { caller: ID, server: 's', tool, arguments: '' } },
    });
    expect(await call('explain', about('get_it'))).toMatchObject({ allow: true, rule: 'a', spiffeIds: [] });
    expect(await call('explain', about('drop'))).toMatchObject({
      allow: false,
      rule: '',
      lines: [expect.stringMatching(/^no Access rule lets/)],
    });
  });

  test('reads the arguments of a call', async () => {
    const access = { kind: 'Access', name: 'a', who: [ID], servers: ['s'], tools: { allow: ['put'] } };
    await applied(rpc, identity, server, { ...access, when: 'args.n == 1' });
    const about = {
      $case: 'call' as const,
      value: { caller: ID, server: 's', tool: 'put', arguments: '{"n":1}' },
    };
    expect(await call('explain', { about })).toMatchObject({ allow: true, rule: 'a' });
  });

  test.each([
    ['nothing', undefined, /^explain needs facts or a call$/],
    [
      'what is no SPIFFE ID',
      { $case: 'call', value: { caller: 'w', server: 's', tool: 't', arguments: '' } } as const,
      /SPIFFE ID does not start/,
    ],
  ])('refuses %s', async (_, about, message) => {
    await expect(call('explain', { about })).rejects.toThrow(message);
  });
});

describe('lists', () => {
  test('of resources, by kind where asked', async () => {
    await applied(rpc, identity, server);
    const names = async (kind: string, name = '') =>
      (await call('listResources', { kind, name, after: '' })).resources.map((each) => JSON.parse(each).name);
    expect([await names(''), await names('McpServer'), await names('None')]).toEqual([['w', 's'], ['s'], []]);
    expect([await names('Identity', 'w'), await names('Identity', 's')]).toEqual([['w'], []]);
  });

  test('of resources, page by page', async () => {
    await applied(rpc, server, long('a', 500), long('b', 500), long('c', 500));
    const listed = async (after: string) => {
      const { resources, next } = await call('listResources', { kind: '', name: '', after });
      return [resources.map((each) => JSON.parse(each).name), next];
    };
    expect(await listed('')).toEqual([['a'], 'Access/a']);
    expect(await listed('Access/a')).toEqual([['b'], 'Access/b']);
    expect(await listed('Access/b')).toEqual([['c', 's'], '']);
  });

  test('of certificates, newest first, by SPIFFE ID, and no more than asked', async () => {
    for (let n = 0; n < 3; n += 1) await certifiedCaller(rpc);
    const serials = (await rpc.store.issued({ limit: 9 })).map(({ serial }) => serial);
    const listed = async (limit: number, spiffeId = '') =>
      (await call('listIssued', { limit, spiffeId })).issued.map(({ serial }) => serial);
    expect(await listed(0)).toEqual(serials);
    expect(await listed(2)).toEqual(serials.slice(0, 2));
    expect(await listed(9, ID)).toEqual([]);
    expect(await listed(9, 'spiffe://prod.example/web')).toEqual(serials);
    await expect(listed(1001)).rejects.toThrow(/^limit is 1001, at most 1000$/);
    await expect(listed(1, 'w')).rejects.toThrow(/SPIFFE ID does not start/);
  });

  test('of agents', async () => {
    const { caller, issued } = await certifiedCaller(rpc);
    const svid = caller.svid(rpc.clock.now());
    const acknowledged = new Acknowledged();
    acknowledged.sending(7n, { bundle: 1n, policy: 2n, revocations: 4n });
    acknowledged.take({ sequence: 7n });
    rpc.agents.open(
      {
        ...svid,
        platform: 'fake',
        node: 'n1',
        identity: 'w',
        address: 'a',
        version: '1',
        connectedAt: rpc.clock.now(),
        certificateNotAfter: svid.notAfter,
        acknowledged,
      },
      Buffer.alloc(16),
    );
    const other = { id: parseSpiffeId('spiffe://prod.example/job'), platform: 'fake', node: 'n2' };
    await issue({ ...other, identity: 'job', ttlSeconds: 60, dnsNames: [], key: await proven() }, rpc);
    const seconds = (time: Date) => BigInt(time.getTime() / 1000);
    const listed = await call('listAgents', {});
    expect(listed.agents).toEqual([
      {
        spiffeId: svid.id,
        serial: issued.serial,
        address: 'a',
        version: '1',
        connectedAt: seconds(rpc.clock.now()),
        certificateNotAfter: seconds(issued.notAfter),
        acknowledgedSequence: 7n,
        acknowledged: { bundle: 1n, policy: 2n, revocations: 4n },
      },
    ]);
    expect(listed.current).toEqual({ bundle: 1n, policy: 0n, revocations: 0n });
    const job = { spiffeId: other.id, platform: 'fake', node: 'n2' };
    expect([listed.away, listed.awayCount]).toEqual([[{ ...job, revoked: false }], 1n]);
    await rpc.revocations.revoke({
      target: { kind: 'id', value: other.id },
      reason: 'keyCompromise',
      seconds: 0,
      by: 'the test',
    });
    const after = await call('listAgents', {});
    expect([after.away, after.awayCount]).toEqual([[{ ...job, revoked: true }], 0n]);
  });
});
