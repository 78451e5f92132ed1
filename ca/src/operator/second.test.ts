/** What needs two people, by the verbs. */
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { openRotations } from '../jwt/rotations.ts';
import type { NamedTarget } from '../revocation/revocations.ts';
import { openOperator } from './operator.ts';
import { commandOf, type Person } from './roles.ts';
import type { Asker } from './verb.ts';

const root: Asker = { address: 'pid 1 uid 0', local: { uid: 0, ensureStillThere: () => {} } };
const ID = 'spiffe://prod.example/w';
const files = (name: string) => [
  { name, text: JSON.stringify({ kind: 'Identity', name, platform: 'unix', id: ID }) },
];
const BOBS = 'ab'.repeat(16);
const needed = (verb: string) =>
  refusal('operator_second', new RegExp(`^${commandOf(verb)} needs two people: request \\d`));

let rpc: Rpc;
let operator: ReturnType<typeof openOperator>;
beforeEach(async () => {
  rpc = await makeRpc([{ type: 'unix', attest: () => Promise.reject(new Error('nobody joins here')) }]);
  const own = { leave: async () => {}, settle: async () => {} };
  const clock = { now: () => rpc.clock.now(), sleepUntil: async () => {} };
  const rotation = openRotations({ ...rpc, clock, own, ensureSteady: () => {} });
  const doors = { copyPath: 'nowhere', twoPeople: true, rotation };
  operator = openOperator({ ...rpc, ...doors, people: async () => [] });
  const revocation = { kind: 'id', value: ID, reason: 'keyCompromise', seconds: 0, force: false };
  for (let n = 0; n < 2; n += 1) await operator.revoke(root)({ ...revocation, dryRun: false });
});

/** A person of this name, who is called `called` this time. */
const signedIn = (name: string, more: Partial<Person> & { readonly called?: string } = {}): Asker => ({
  address: '10.0.0.2',
  person: async () => ({
    id: parseSpiffeId(`spiffe://prod.example/chancery/operator/${name}`),
    peer: { id: parseSpiffeId(`spiffe://prod.example/chancery/operator/${name}`), serial: BOBS },
    by: more.called ?? name,
    role: 'operator',
    servers: [],
    authTime: rpc.clock.now(),
    ...more,
  }),
});
const [ada, bob] = [signedIn('ada'), signedIn('bob')];
const standing = () => rpc.revocations.standing().map(({ number }) => number);

describe('I148 a destructive verb with two people', () => {
  test('is done after the other has countersigned it, once', async () => {
    await expect(operator.lift(ada)(1)).rejects.toThrow(needed('lift'));
    expect(standing()).toEqual([1, 2]);
    expect(await operator.requests(bob)(undefined)).toMatchObject([
      { number: 1, verb: 'lift', about: `revocation 1 of id ${ID}`, by: 'ada' },
    ]);
    await operator.countersign(bob)(1);
    await operator.lift(ada)(1);
    expect(standing()).toEqual([2]);
    const gone = refusal('revocation', /^there is no revocation 1 in force$/);
    await expect(operator.lift(ada)(1)).rejects.toThrow(gone);
    const acting = (await rpc.store.events(0, 99)).map(({ event }) => event);
    expect(acting.slice(-6)).toMatchObject([
      { type: 'countersign.requested', by: 'ada' },
      { type: 'operator.acting', verb: 'countersign', by: 'bob' },
      { type: 'countersign.signed', by: 'bob' },
      { type: 'countersign.used', by: 'ada' },
      { type: 'operator.acting', verb: 'lift', by: 'ada' },
      { type: 'revocation.lifted', number: 1 },
    ]);
  });

  test('is not done with a countersignature for another value, or of another person', async () => {
    await expect(operator.lift(ada)(1)).rejects.toThrow(needed('lift'));
    await operator.countersign(bob)(1);
    await expect(operator.lift(ada)(2)).rejects.toThrow(needed('lift'));
    await expect(operator.lift(bob)(1)).rejects.toThrow(needed('lift'));
    expect(standing()).toEqual([1, 2]);
  });

  test('is not countersigned by the same person under another name, by a reader, or after a stale sign-in', async () => {
    await expect(operator.lift(ada)(1)).rejects.toThrow(needed('lift'));
    const again = signedIn('ada', { called: 'somebody else' });
    await expect(operator.countersign(again)(1)).rejects.toThrow(refusal('countersign', /is your own/));
    const reader = signedIn('bob', { role: 'reader' });
    await expect(operator.countersign(reader)(1)).rejects.toThrow(
      refusal('operator_role', /has the role reader/),
    );
    const stale = signedIn('bob', { authTime: new Date(rpc.clock.now().getTime() - 301_000) });
    await expect(operator.countersign(stale)(1)).rejects.toThrow(refusal('operator_fresh', /last 5 minutes/));
    await expect(operator.lift(ada)(1)).rejects.toThrow(needed('lift'));
  });

  test('is done at once by root on the admin socket, and is on record as that', async () => {
    await operator.lift(root)(1);
    expect(standing()).toEqual([2]);
    expect((await rpc.store.events(0, 99)).at(-1)?.event).toMatchObject({ by: 'uid 0 by the admin socket' });
  });
});

describe('I309 what cannot be done', () => {
  const once = { dryRun: false };
  const step = { without: [], everybody: false, reason: '', ...once };
  test.each<[string, () => Promise<unknown>, ReturnType<typeof refusal>]>([
    ['unrevoke', () => operator.lift(ada)(77), refusal('revocation', /no revocation 77 in force/)],
    ['rotate next', () => operator.rotateNext(ada)(step), refusal('rotation', /no rotation/)],
    ['rotate rollback', () => operator.rotateRollback(ada)(once), refusal('rotation', /no rotation/)],
    [
      'rotate jwt next',
      () => operator.rotateJwt(ada)({ step: 'next', ...step }),
      refusal('rotation', /no JWT key signs|no rotation/),
    ],
    [
      'accept-loss',
      () => operator.acceptLoss(ada)({ reason: '', ...once }),
      refusal('recovering', /a reason of 1 to/),
    ],
  ])('%s is refused to the first person, and no second one is asked', async (_, ask, refused) => {
    await expect(ask()).rejects.toThrow(refused);
    expect(await operator.requests(bob)(undefined)).toEqual([]);
  });
});

describe('I148 an apply that widens access', () => {
  const apply = (asker: Asker, name: string, dryRun = false) =>
    operator.apply(asker)({ files: files(name), how: {}, dryRun });

  test('is countersigned for its very set and the one that it replaces', async () => {
    await expect(apply(ada, 'w')).rejects.toThrow(needed('apply'));
    const [request] = await operator.requests(bob)(undefined);
    expect(request?.about).toBe('of version 0, added Identity/w');
    await operator.countersign(bob)(request?.number ?? 0);
    await expect(apply(ada, 'v')).rejects.toThrow(needed('apply'));
    // Somebody else was faster: what was countersigned is another change by now.
    await apply(root, 'u');
    await expect(apply(ada, 'w')).rejects.toThrow(needed('apply'));
    expect(rpc.registry.sets.current().version).toBe(1);
  });

  test('is made when it was, and a dry run needs nobody', async () => {
    await apply(ada, 'w', true);
    expect(await operator.requests(bob)(undefined)).toEqual([]);
    await expect(apply(ada, 'w')).rejects.toThrow(needed('apply'));
    await operator.countersign(bob)(1);
    expect(await apply(ada, 'w')).toMatchObject({ version: 1 });
  });
});

describe('I176 a countersignature is for what was asked for, and not for what the same words do later', () => {
  const once = { dryRun: false };
  const step = { without: [], everybody: false, reason: '', ...once };
  const roots = async () =>
    (await rpc.store.authorities()).flatMap(({ kind, state }) => (kind === 'root' ? [state] : []));
  const first = async () => (await rpc.store.authorities()).find(({ kind }) => kind === 'root')?.serial ?? '';

  test.each<[string, (asker: Asker) => Promise<unknown>, readonly string[], RegExp, unknown?]>([
    [
      'rotate',
      (asker) => operator.rotate(asker)({ intermediate: false, ...once }),
      [],
      /^makes a root and puts it into the bundle; nothing signs with it yet, /,
      refusal('rotation', /^a rotation is under way/),
    ],
    [
      'rotate',
      (asker) => operator.rotate(asker)({ intermediate: true, ...once }),
      [],
      /^makes an intermediate under root \w+, which signs at once, /,
    ],
    [
      'rotateNext',
      (asker) => operator.rotateNext(asker)(step),
      ['rotate'],
      /^lets root \w+ sign, now at stage published \(root \w+ signs, root \w+ is published\)$/,
    ],
    [
      'rotateRollback',
      (asker) => operator.rotateRollback(asker)(once),
      ['rotate'],
      /^removes root \w+, which nobody relies on yet, /,
    ],
    [
      'standBy',
      (asker) => operator.standBy(asker)(once),
      [],
      /^makes a root that stands by, on this machine /,
    ],
    [
      'taint',
      async (asker) => operator.taint(asker)({ authority: await first(), reason: 'x', ...once }),
      ['rotate'],
      /^takes authority \w+ away, because: x, /,
    ],
  ])('%s %#', async (verb, ask, before, says, refused) => {
    if (before.length > 0) await operator.rotate(root)({ intermediate: false, ...once });
    await expect(ask(ada)).rejects.toThrow(needed(verb));
    const [request] = await operator.requests(bob)(undefined);
    expect(request?.about).toMatch(says);
    expect(request?.about).toMatch(
      before.length > 0
        ? /, now at stage published \(root \w+ signs, root \w+ is published\)$/
        : /, now at stage idle \(root \w+ signs\)$/,
    );
    await operator.countersign(bob)(1);
    // Somebody else moves the authorities meanwhile.
    if (before.length > 0) await operator.rotateNext(root)(step);
    else await operator.rotate(root)({ intermediate: false, ...once });
    const moved = await roots();
    await expect(ask(ada)).rejects.toThrow(refused ?? needed(verb));
    expect(await roots()).toEqual(moved);
  });

  test('a step is made where nothing has moved, once', async () => {
    await operator.rotate(root)({ intermediate: false, ...once });
    await expect(operator.rotateNext(ada)(step)).rejects.toThrow(needed('rotateNext'));
    await operator.countersign(bob)(1);
    expect(await operator.rotateNext(ada)(step)).toMatchObject({ stage: 'retiring' });
    await expect(operator.rotateNext(ada)(step)).rejects.toThrow(needed('rotateNext'));
  });

  test('a revocation of this number that is another one is not lifted', async () => {
    await expect(operator.lift(ada)(1)).rejects.toThrow(needed('lift'));
    await operator.countersign(bob)(1);
    const [one, ...more] = rpc.revocations.standing();
    if (one === undefined) throw new Error('none is in force');
    const other = { ...one, target: { kind: 'id', value: `${ID}/other` } as typeof one.target };
    vi.spyOn(rpc.revocations, 'standing').mockReturnValue([other, ...more]);
    await expect(operator.lift(ada)(1)).rejects.toThrow(needed('lift'));
  });

  test('I314 a wait after a restore that has become another one is not ended', async () => {
    const why = vi.spyOn(rpc.recovery, 'whyHeld').mockReturnValue('it waits for gateway a');
    const ended = vi.spyOn(rpc.recovery, 'acceptLoss');
    const accept = () => operator.acceptLoss(ada)({ reason: 'a drill', ...once });
    await expect(accept()).rejects.toThrow(needed('acceptLoss'));
    await operator.countersign(bob)(1);
    why.mockReturnValue('authorities are stolen (40aa)');
    await expect(accept()).rejects.toThrow(needed('acceptLoss'));
    expect(ended).not.toHaveBeenCalled();
    const [, request] = await operator.requests(bob)(undefined);
    expect(request?.about).toBe('after a restore, because: a drill; authorities are stolen (40aa)');
    await operator.countersign(bob)(2);
    await accept();
    expect(ended).toHaveBeenCalledOnce();
  });

  test('a machine that has joined meanwhile is not released', async () => {
    const node = { platform: 'azure', node: 'vm-1' };
    await rpc.store.swapNodeState(node, undefined, 'first');
    const release = () =>
      operator.releaseNode(ada)({ node: 'azure/vm-1', reason: 'made anew', dryRun: false });
    await expect(release()).rejects.toThrow(needed('releaseNode'));
    await operator.countersign(bob)(1);
    await rpc.store.swapNodeState(node, 'first', 'second');
    await expect(release()).rejects.toThrow(needed('releaseNode'));
    expect(await rpc.store.nodeState(node)).toBe('second');
  });
});

describe('I177 what the second person sees', () => {
  const set = (count: number, of: string) => {
    const names = Array.from({ length: count }, (_, n) => `a${n}-${'n'.repeat(55)}`);
    const resource = (name: string, id: string) => ({ kind: 'Identity', name, platform: 'unix', id });
    const list = [...names.map((name, n) => resource(name, `${ID}/${n}`)), resource('zz', `${ID}/${of}`)];
    return [{ name: 'f', text: list.map((each) => JSON.stringify(each)).join('\n---\n') }];
  };
  const apply = (asker: Asker, count: number, { of = 'zz', dryRun = false } = {}) =>
    operator.apply(asker)({ files: set(count, of), how: {}, dryRun });
  const request = async () => (await operator.requests(bob)(undefined))[0];

  test('is how many changes there are, and how many are not named', async () => {
    await expect(apply(ada, 99)).rejects.toThrow(needed('apply'));
    const about = (await request())?.about ?? '';
    const [, named = '', more] =
      /^100 changes of version 0((?:, added \S+)+), \.\.\. and (\d+) more$/.exec(about) ?? [];
    expect(named.split(', added ').length - 1 + Number(more)).toBe(100);
  });

  test('is the digest that a dry run of the same files has, and of no others', async () => {
    await expect(apply(ada, 99)).rejects.toThrow(needed('apply'));
    const { digest } = (await request()) ?? {};
    expect((await apply(bob, 99, { dryRun: true })).digest).toBe(digest);
    expect((await apply(bob, 99, { dryRun: true, of: 'payroll' })).digest).not.toBe(digest);
    expect((await apply(root, 99)).digest).toBeUndefined();
    expect((await apply(bob, 99, { dryRun: true })).digest).toBeUndefined();
  });

  test('is one line, whatever the reason says', async () => {
    const order = { without: [], everybody: true, dryRun: false };
    await operator.rotate(root)({ intermediate: false, dryRun: false });
    const reason = 'x\ncountersigned request 9: nothing';
    await expect(operator.rotateNext(ada)({ ...order, reason })).rejects.toThrow(needed('rotateNext'));
    expect((await request())?.about).toMatch(/because: x\\ncountersigned|because: x\\u000acountersigned/);
  });
});

describe('I178 one person who asks for much', () => {
  const more = (asker: Asker, n: number) =>
    operator.releaseNode(asker)({ node: 'azure/vm-1', reason: `because ${n}`, dryRun: false });
  beforeEach(async () => {
    await rpc.store.swapNodeState({ platform: 'azure', node: 'vm-1' }, undefined, 'kept');
    for (let n = 1; n <= 10; n += 1) await expect(more(ada, n)).rejects.toThrow(needed('releaseNode'));
  });

  test('keeps nobody else from asking', async () => {
    const says =
      /^10 requests of yours wait, and at most 10 may; withdraw one: chancery-ca countersign 1 --withdraw$/;
    await expect(more(ada, 11)).rejects.toThrow(refusal('countersign', says));
    await expect(more(bob, 1)).rejects.toThrow(needed('releaseNode'));
  });

  test('can withdraw what is their own, also what was countersigned; root can withdraw all', async () => {
    await expect(operator.withdraw(bob)(1)).rejects.toThrow(
      refusal('countersign', /^request 1 is of ada, who/),
    );
    await operator.countersign(bob)(1);
    await operator.withdraw(ada)(1);
    await operator.withdraw(root)(2);
    const gone = refusal('countersign', /^there is no request 1 that waits$/);
    await expect(operator.withdraw(ada)(1)).rejects.toThrow(gone);
    expect((await rpc.store.events(0, 999)).slice(-3).map(({ event }) => event)).toMatchObject([
      { type: 'operator.acting', verb: 'withdraw' },
      { type: 'countersign.withdrawn', number: 2, by: 'uid 0 by the admin socket' },
      { type: 'operator.acting', verb: 'withdraw', by: 'ada' },
    ]);
    await expect(more(ada, 1)).rejects.toThrow(needed('releaseNode'));
    expect(await rpc.store.nodeState({ platform: 'azure', node: 'vm-1' })).toBe('kept');
    expect(await operator.requests(bob)(undefined)).toHaveLength(9);
  });
});

describe('I179 the countersignature of who is revoked before it is used', () => {
  test.each<[string, NamedTarget]>([
    ['by name', { kind: 'id', value: 'spiffe://prod.example/chancery/operator/bob', force: true }],
    ['by certificate', { kind: 'serial', value: BOBS, force: true }],
  ])('%s does not count', async (_, target) => {
    await expect(operator.lift(ada)(1)).rejects.toThrow(needed('lift'));
    await operator.countersign(bob)(1);
    await operator.revoke(root)({ ...target, reason: 'keyCompromise', seconds: 0, dryRun: false });
    const says =
      /^bob, who countersigned request 1, was revoked since: withdraw it \(chancery-ca countersign 1 --withdraw\)/;
    await expect(operator.lift(ada)(1)).rejects.toThrow(refusal('countersign', says));
    expect(standing()).toEqual([1, 2, 3]);
    await operator.withdraw(ada)(1);
    await expect(operator.lift(ada)(1)).rejects.toThrow(needed('lift'));
  });

  test('is not called revoked while what is on record cannot be read', async () => {
    await expect(operator.lift(ada)(1)).rejects.toThrow(needed('lift'));
    await operator.countersign(bob)(1);
    vi.spyOn(rpc.store, 'revocations').mockRejectedValue(new Error('busy'));
    await expect(rpc.revocations.change(async () => {})).rejects.toThrow('busy');
    await expect(operator.lift(ada)(1)).rejects.toThrow(refusal('store', /could not be read/));
  });

  test('takes nothing from another person who asks for the same', async () => {
    const carl = signedIn('carl');
    await expect(operator.lift(carl)(1)).rejects.toThrow(needed('lift'));
    await operator.countersign(bob)(1);
    await expect(operator.lift(ada)(1)).rejects.toThrow(needed('lift'));
    await operator.countersign(root)(2);
    const target = { kind: 'serial', value: BOBS, force: true } as const;
    await operator.revoke(root)({ ...target, reason: 'keyCompromise', seconds: 0, dryRun: false });
    await operator.lift(ada)(1);
    expect(standing()).toEqual([2, 3]);
  });

  test('counts where root gave it', async () => {
    await expect(operator.lift(ada)(1)).rejects.toThrow(needed('lift'));
    await operator.countersign(root)(1);
    await operator.lift(ada)(1);
    expect(standing()).toEqual([2]);
  });
});
