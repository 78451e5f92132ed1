/** I201 to I204: what peers hand back to a CA that was restored, and when it issues again. */
import { hash } from 'node:crypto';
import { join } from 'node:path';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseTarget } from '@chancery/shared/revocation/revocation.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { signCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { revocationsDigest } from '@chancery/shared/voucher/state-digest.ts';
import { signState } from '@chancery/shared/voucher/state-note.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { after, makeAuthority, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { authority, event } from '../../../test/kit/store/records.ts';
import { newLogKey } from '../../../test/kit/voucher.ts';
import { openRevocations, type Revocations } from '../revocation/revocations.ts';
import { beginLife } from '../store/sqlite/file/second-life.ts';
import { openSqlite } from '../store/sqlite/sqlite.ts';
import type { AuthorityState, Store, StoredAuthority } from '../store/store.ts';
import { Recovery } from './recovery.ts';

const trustDomain = parseTrustDomain('prod.example');
const [gateway, second, web] = ['gateway', 'second', 'web'].map((name) =>
  parseSpiffeId(`spiffe://prod.example/${name}`),
) as [ReturnType<typeof parseSpiffeId>, ReturnType<typeof parseSpiffeId>, ReturnType<typeof parseSpiffeId>];
const log = newLogKey(trustDomain);
const clock = new ManualClock(NOW);
const from = { by: gateway, id: gateway, serial: '40f0' };
type Revoked = Parameters<typeof revocationsDigest>[0][number];

const revoked = (number: number, changes: Partial<Revoked> = {}): Revoked => ({
  number: BigInt(number),
  kind: 'id',
  value: `spiffe://prod.example/gone${number}`,
  serials: [],
  reason: 'keyCompromise',
  until: 0n,
  ...changes,
});

const stolen = (number: number, value: string): Revoked => revoked(number, { kind: 'authority', value });

function handed(number: number, list: readonly Revoked[], { key = log, size = 0 } = {}) {
  const claim = { part: 'revocations', number: BigInt(number), digest: revocationsDigest(list) } as const;
  const root = new Uint8Array(32);
  return {
    note: signState(claim, key.verifier, key.privateKey),
    list,
    checkpoint: size === 0 ? '' : signCheckpoint({ size, root }, key.verifier, key.privateKey),
  };
}

let folder: string;
let store: Store;
let revocations: Revocations;
let recovery: Recovery;
let awaited: readonly string[];
let said: string[];
let settled: number;
let [fails, jwtKeys] = [false, ['40dd']];
let records: readonly StoredAuthority[];
const path = () => join(folder, 'ca.db');

async function open(): Promise<void> {
  store = await openSqlite(path(), clock);
  revocations = await openRevocations({ store, clock, trustDomain, cautious: () => clock.now() } as never);
  const gateways = () => new Set(awaited);
  const own = { ...silentLog, error: (_: object, message: string) => void said.push(message) };
  const rooms = { store, revocations, gateways, clock, log: own, verifier: log.verifier };
  const authorities = { current: () => records, onChange: () => () => {} };
  const settle = async (): Promise<void> => {
    settled += 1;
    if (fails) throw new IdentityError('store', 'busy');
  };
  const bundle = { current: () => ({ jwtAuthorities: jwtKeys.map((keyId) => ({ keyId })) }) };
  recovery = await Recovery.open({ ...rooms, authorities, bundle, settle, longestSeconds: 3600 });
}

/** Two revocations are in the backup, so its number is 2. */
beforeEach(async () => {
  folder = makeFolder();
  awaited = [gateway];
  said = [];
  [settled, fails, records, jwtKeys] = [0, false, [], ['40dd']];
  await open();
  for (const n of [1, 2]) {
    const target = parseTarget('id', `spiffe://prod.example/gone${n}`);
    await revocations.revoke({ target, reason: 'keyCompromise', seconds: 0, by: 'uid 0' });
  }
  await restore();
});
afterEach(async () => {
  await store.close();
  removeFolder(folder);
});

async function restore(holds = true): Promise<void> {
  await store.close();
  const about = { now: clock.now(), backupAt: clock.now(), lost: [], reason: undefined, by: 'uid 0' };
  beginLife(path(), { ...about, entries: 2, holds });
  await open();
}

const numbers = () => revocations.standing().map(({ number }) => number);
const events = async () => (await store.events(0, 1000)).map(({ event }) => event.type);
const kept = async () =>
  (await store.events(0, 1000)).flatMap(({ event }) => (event.type === 'ca.handedBack' ? [event.kept] : []));
const issuance = { serial: '40aa', id: web, identity: 'web', platform: 'unix', node: 'n1' };
const record = () => issue('00');
const issue = (issuer: string) =>
  store.record(
    {
      ...issuance,
      ...{ notBefore: NOW, notAfter: new Date(NOW.getTime() + 60_000), issuer },
      keySha256: new Uint8Array(32),
    } as never,
    { type: 'operator.acting', verb: 'test', about: '', by: 'x' },
  );
const known = [revoked(1), revoked(2)];

describe('a CA that was restored', () => {
  test('issues nothing until each gateway has handed back what it has, and says so', async () => {
    awaited = [gateway, second];
    await expect(record()).rejects.toThrow(refusal('recovering', /restored from a backup/));
    expect(recovery.whyHeld()).toMatch(
      /issues nothing yet.*gateway, spiffe:.*second; chancery-ca accept-loss/,
    );
    await recovery.take(handed(2, known), from);
    expect(recovery.whyHeld()).toMatch(/hand back: spiffe:\/\/prod\.example\/second;/);
    await expect(record()).rejects.toThrow(refusal('recovering', /restored/));
    await recovery.take(handed(2, known), { by: second, id: second });
    expect(recovery.whyHeld()).toBeUndefined();
    await record();
    expect(await events()).toContain('ca.issuesAgain');
  });

  test('holds still after a restart, and knows who was heard', async () => {
    awaited = [gateway, second];
    await recovery.take(handed(2, known), from);
    await store.close();
    await open();
    expect(recovery.whyHeld()).toMatch(/hand back: spiffe:\/\/prod\.example\/second;/);
  });

  test('waits for an operator where there is no gateway', async () => {
    awaited = [];
    expect(recovery.whyHeld()).toMatch(/waits for an operator/);
    await recovery.take(handed(2, known), from);
    expect(recovery.whyHeld()).toBeDefined();
    expect(await recovery.acceptLoss('a drill', 'uid 0')).toBe(true);
    expect(await recovery.acceptLoss('a drill', 'uid 0')).toBe(false);
    expect(recovery.whyHeld()).toBeUndefined();
    expect(await events()).toContain('ca.issuesAgain');
  });

  test('I201 asks for revocations that are newer, and puts them in force', async () => {
    const newer = handed(4, [
      ...known,
      revoked(3),
      revoked(4, { kind: 'node', value: 'unix/n1', serials: ['40bb'] }),
    ]);
    expect(await recovery.take({ ...newer, list: [] }, from)).toBe(true);
    expect(recovery.whyHeld()).toBeDefined();
    expect(await recovery.take(newer, from)).toBe(false);
    expect(numbers()).toEqual([1, 2, 3, 4]);
    // The certificate of the node is on no record: what was handed back leads to it.
    expect(revocations.standing().at(-1)).toMatchObject({ target: { kind: 'node' }, serials: ['40bb'] });
    expect(revocations.sets.current().sequence).toBeGreaterThan(1_000_000n);
    expect(await recovery.take(newer, from)).toBe(false);
    expect(numbers()).toHaveLength(4);
    expect((await events()).filter((type) => type === 'ca.handedBack')).toHaveLength(1);
  });

  test('I202 a state from before the backup changes nothing', async () => {
    for (const old of [handed(2, [...known, revoked(3)]), handed(1, [])])
      expect(await recovery.take(old, from)).toBe(false);
    expect(numbers()).toEqual([1, 2]);
  });

  test('I202 what is known already costs no turn, no write and no reading of revocations', async () => {
    awaited = [gateway, second];
    const newest = handed(4, [...known, revoked(3), revoked(4)], { size: 12 });
    const change = vi.spyOn(revocations, 'change');
    const [write, read] = [vi.spyOn(store, 'handBack'), vi.spyOn(store, 'revocations')];
    const counts = () => [change, write, read].map(({ mock }) => mock.calls.length);
    await recovery.take(newest, from);
    expect(counts()).toEqual([1, 1, 1]);
    const old = handed(2, known, { size: 11 });
    for (const each of [newest, { ...newest, list: [] }, old])
      for (const bringer of [from, { by: web, id: web }, { by: '10.0.0.1', id: undefined }])
        expect(await recovery.take(each, bringer)).toBe(false);
    expect(counts()).toEqual([1, 1, 1]);
    // A gateway is heard, and lost entries are counted, beside the turn.
    await recovery.take(handed(2, known, { size: 13 }), from);
    await recovery.take(newest, { by: second, id: second });
    expect(counts()).toEqual([1, 3, 1]);
    expect([(await store.recovery())?.lost, recovery.whyHeld()]).toEqual([11, undefined]);
  });

  test('a gateway that is none any more is not waited for', async () => {
    awaited = [gateway, second];
    await recovery.take(handed(2, known), from);
    awaited = [gateway];
    await recovery.take(handed(2, known), from);
    expect(recovery.whyHeld()).toBeUndefined();
  });

  test('I202 what a newer state of the life before has no more stays, and is named', async () => {
    await recovery.take(handed(3, [...known, revoked(3)]), from);
    expect(numbers()).toEqual([1, 2, 3]);
    await recovery.take(handed(5, [revoked(1), revoked(4)]), from);
    // An operator looks: what was lifted, and what another life never heard of, look the same from here.
    expect(numbers()).toEqual([1, 2, 3, 4]);
    expect(await kept()).toEqual([[], [2, 3]]);
  });

  test('I228 certificates of a node that is good again are good again', async () => {
    const node = (number: number) => revoked(number, { kind: 'node', value: 'unix/n1', serials: ['40bb'] });
    await recovery.take(handed(4, [...known, node(3), node(4)]), from);
    const peer = { id: web, serial: '40bb' };
    const ensure = () => revocations.ensureGood(peer, 'revoked_peer');
    expect(ensure).toThrow(refusal('revoked_peer', /3|4/));
    await revocations.lift(3, 'uid 0');
    expect(ensure).toThrow(refusal('revoked_peer', /4/));
    await revocations.lift(4, 'uid 0');
    ensure();
    await store.close();
    await open();
    ensure();
  });

  test('I229 after the hold only peers with a certificate hand back, and after 30 days none', async () => {
    await recovery.acceptLoss('a drill', 'uid 0');
    const since = clock.now();
    const stranger = { by: '10.0.0.1', id: undefined };
    const take = (n: number, bringer: Parameters<typeof recovery.take>[1]) =>
      recovery.take(handed(n, [...known, revoked(n)]), bringer);
    await take(3, stranger);
    expect(numbers()).toEqual([1, 2]);
    await take(3, { by: web, id: web });
    expect(numbers()).toEqual([1, 2, 3]);
    clock.jump(new Date(since.getTime() + 31 * 86_400_000));
    await take(4, { by: web, id: web });
    expect(numbers()).toEqual([1, 2, 3]);
    clock.jump(NOW);
  });

  test('I202 a revocation that an operator has lifted since does not come back', async () => {
    await revocations.lift(2, 'uid 0');
    await recovery.take(handed(3, [...known, revoked(3)]), from);
    expect(numbers()).toEqual([1, 3]);
  });

  test.each<[string, () => ReturnType<typeof handed>, RegExp]>([
    ['another key', () => handed(4, [revoked(3)], { key: newLogKey(trustDomain) }), /not signed by/],
    ['another list', () => ({ ...handed(4, [revoked(3)]), list: [revoked(9)] }), /is another one/],
    ['nothing', () => ({ ...handed(4, []), note: '' }), /not a signed note|no empty line|not/],
    [
      'another checkpoint',
      () => ({ ...handed(4, known), checkpoint: 'x' }),
      /not a signed note|no empty line/,
    ],
    [
      'a policy',
      () => ({
        ...handed(4, []),
        note: signState(
          { part: 'policy', number: 4n, subject: web, digest: new Uint8Array(32) },
          log.verifier,
          log.privateKey,
        ),
      }),
      /note is of policy/,
    ],
  ])('I203 refuses what the key of the log has not signed: %s', async (_, spoiled, says) => {
    await expect(recovery.take(spoiled(), from)).rejects.toThrow(refusal('tlog', says));
    expect([numbers(), recovery.whyHeld()]).toEqual([[1, 2], expect.any(String)]);
  });

  test('I204 a peer that is no gateway, or shows no certificate, ends no wait', async () => {
    await recovery.take(handed(2, known), { by: web, id: web });
    await recovery.take(handed(2, known), { by: '10.0.0.1', id: undefined });
    expect(recovery.whyHeld()).toBeDefined();
    expect((await store.recovery())?.heard).toEqual([]);
  });

  test('a taint of what is not in the backup is in force as any revocation', async () => {
    await recovery.take(handed(3, [...known, stolen(3, 'ab'.repeat(32))]), from);
    expect([numbers(), settled, recovery.whyHeld()]).toEqual([[1, 2, 3], 1, undefined]);
  });

  test('says how many entries of its log are lost, by a checkpoint of the life before', async () => {
    await recovery.take(handed(2, known, { size: 12 }), from);
    await recovery.take(handed(2, known, { size: 11 }), from);
    const lost = (await store.events(0, 1000)).flatMap(({ event }) =>
      event.type === 'ca.entriesLost' ? [event.entries] : [],
    );
    expect(lost).toEqual([10]);
    expect((await store.recovery())?.lost).toBe(10);
  });

  test('a second restore of one backup begins above the first', async () => {
    const first = (await store.recovery())?.start ?? 0;
    clock.jump(new Date(clock.now().getTime() + 60_000));
    await restore(false);
    expect((await store.recovery())?.start).toBeGreaterThan(first);
    expect(recovery.whyHeld()).toBeUndefined();
    clock.jump(NOW);
  });
});

/** The backup has a root, an intermediate under it, a root that stands by, and two JWT keys. */
describe('an authority that was tainted after the backup', () => {
  const root = makeAuthority('root');
  const made = { root, other: makeAuthority('other'), intermediate: makeAuthority('i', root) };
  const serials = { root: '40aa', other: '40bb', intermediate: '40cc', first: '40dd', second: '40ee' };
  const first = makeAuthority('first').certificate.spki;
  const second = makeAuthority('second').certificate.spki;
  const record = (name: keyof typeof made) => ({
    ...({ ...authority, state: 'prepared' } as const),
    ...{ serial: serials[name], certificate: made[name].certificate.der, notAfter: after(3600) },
  });
  const move = (name: keyof typeof serials, from: AuthorityState, to: AuthorityState) =>
    [{ serial: serials[name], from, to }] as const;
  const states = async () => {
    const { authorities, jwtKeys } = await store.allAuthorities();
    return Object.fromEntries(
      [...authorities, ...jwtKeys].map(({ serial, state, taintedAt }) => [
        Object.entries(serials).find(([, each]) => each === serial)?.[0],
        taintedAt === undefined ? state : `tainted, ${state}`,
      ]),
    );
  };
  const reopen = async () => {
    await store.close();
    await open();
    records = await store.authorities();
  };
  beforeEach(async () => {
    await store.saveAuthority({ ...record('root'), state: 'active' }, event);
    await store.saveAuthority({ ...record('other'), standby: true }, event);
    await store.moveAuthorities(move('other', 'prepared', 'published'), event);
    await store.saveAuthority({ ...record('intermediate'), kind: 'intermediate' }, event);
    await store.moveAuthorities(move('intermediate', 'prepared', 'active'), event);
    const jwt = { kind: 'jwt', algorithm: 'ecdsa-p256', key: authority.key } as const;
    await store.saveJwtKey({ ...jwt, serial: serials.first, state: 'active', spki: first }, event);
    await store.saveJwtKey({ ...jwt, serial: serials.second, state: 'prepared', spki: second }, event);
    await reopen();
  });
  const all = {
    ...{ root: 'active', other: 'published', intermediate: 'active', first: 'active', second: 'prepared' },
  };
  const nameOf = (name: keyof typeof made) => hash('sha256', made[name].certificate.spki, 'hex');

  test.each<[string, () => string, object]>([
    ['I222 an intermediate', () => nameOf('intermediate'), { ...all, intermediate: 'tainted, removed' }],
    ['I222 a root that stands by', () => nameOf('other'), { ...all, other: 'tainted, removed' }],
    [
      'I223 the JWT key that signs',
      () => hash('sha256', first, 'hex'),
      { ...all, first: 'tainted, removed' },
    ],
  ])('%s is taken away as it is handed back, and the CA settles what signs then', async (_, name, then) => {
    const { sequence: before = 0n } = (await store.authorities()).at(0) ?? {};
    await recovery.take(handed(3, [...known, stolen(3, name())]), from);
    expect(await states()).toEqual(then);
    expect([settled, recovery.whyHeld(), numbers()]).toEqual([1, undefined, [1, 2, 3]]);
    expect(said).toEqual([expect.stringMatching(/tainted after the backup: they are taken away/)]);
    const tainted = (await events()).filter((type) => type.endsWith('.tainted'));
    expect(tainted).toHaveLength(1);
    const { authorities, jwtKeys } = await store.allAuthorities();
    const newest = [...authorities, ...jwtKeys]
      .map(({ sequence }) => sequence)
      .toSorted((a, b) => Number(b - a));
    expect(newest[0]).toBeGreaterThan(before);
  });

  test('I222 nothing is recorded under an intermediate that was taken away', async () => {
    await recovery.take(handed(3, [...known, stolen(3, nameOf('intermediate'))]), from);
    await expect(issue(serials.intermediate)).rejects.toThrow(refusal('authority_unfit', /was removed/));
  });

  test('I224 under the root that signs nothing is issued until it is tainted again, also after a restart', async () => {
    await recovery.take(handed(3, [...known, stolen(3, nameOf('root'))]), from);
    expect(await states()).toEqual(all);
    for (const restart of [false, true]) {
      if (restart) await reopen();
      expect(recovery.whyHeld()).toMatch(/^root 40aa, which signs, was tainted.*chancery-ca taint 40aa/);
      await expect(issue(serials.intermediate)).rejects.toThrow(refusal('recovering', /40aa/));
      await expect(recovery.acceptLoss('a drill', 'uid 0')).rejects.toThrow(refusal('recovering', /40aa/));
    }
    await restore(false);
    records = await store.authorities();
    expect(recovery.whyHeld()).toMatch(/^root 40aa/);
    const moves = [
      ...move('root', 'active', 'removed'),
      ...move('intermediate', 'active', 'removed'),
      ...move('other', 'published', 'active'),
    ];
    const target = { kind: 'authority', value: nameOf('root') } as const;
    const draft = { target, reason: 'keyCompromise', by: 'x', until: undefined } as const;
    await store.taintAuthority({ authority: serials.root, moves, draft }, event);
    records = await store.authorities();
    expect(recovery.whyHeld()).toBeUndefined();
    await store.saveAuthority({ ...record('intermediate'), serial: '40ff', kind: 'intermediate' }, event);
    await issue('40ff');
  });

  describe('without a certificate', () => {
    const stranger = { by: '10.0.0.1', id: undefined };
    const three = (['root', 'other', 'intermediate'] as const).map((each, n) => stolen(3 + n, nameOf(each)));
    const jwt = stolen(7, hash('sha256', first, 'hex'));
    const lists = () => handed(7, [...known, ...three, revoked(6), jwt]);

    test('I229, I331 no authority or JWT key is taken away or revoked: it is named, and nothing is issued', async () => {
      await recovery.take(lists(), stranger);
      await recovery.take(lists(), stranger);
      expect([await states(), settled, numbers()]).toEqual([all, 0, [1, 2, 6]]);
      await recovery.take(handed(2, known), from);
      for (const restart of [false, true]) {
        if (restart) await reopen();
        expect(recovery.whyHeld()).toMatch(/issues nothing yet: without a.*\(40aa, 40bb, 40cc, 40dd\)/);
        await expect(issue(serials.intermediate)).rejects.toThrow(refusal('recovering', /restored/));
      }
      expect((await events()).filter((type) => type === 'ca.handedBack')).toHaveLength(1);
      expect(said.filter((each) => each.includes('40bb'))).toHaveLength(1);
      jwtKeys = [];
      expect(recovery.whyHeld()).toMatch(/\(40aa, 40bb, 40cc\)/);
    });

    test('I229 an operator who accepts the loss keeps them', async () => {
      await recovery.take(lists(), stranger);
      expect(await recovery.acceptLoss('log.key was stolen', 'uid 0')).toBe(true);
      expect([await states(), recovery.whyHeld()]).toEqual([all, undefined]);
      await issue(serials.intermediate);
      await restore();
      records = await store.authorities();
      expect(recovery.whyHeld()).toMatch(/waits for what gateways hand back/);
    });

    test('I279 the number of the revocations never goes back, also where nothing but claims is forgotten', async () => {
      await recovery.take(handed(3, [...known, stolen(3, nameOf('intermediate'))]), stranger);
      const { sequence: told } = await store.revocations();
      const ended = await recovery.acceptLoss('a thief', 'uid 0');
      expect([ended, (await store.revocations()).sequence >= told]).toEqual([true, true]);
    });

    test('I229 what one without a certificate names takes no revocation of another back', async () => {
      await recovery.take(lists(), stranger);
      await recovery.take(handed(8, [...known, stolen(3, nameOf('root')), revoked(8)]), stranger);
      expect(numbers()).toEqual([1, 2, 6, 8]);
    });

    test('I229 a peer with a certificate that brings the same is asked for it, and is believed', async () => {
      await recovery.take(lists(), stranger);
      expect(await recovery.take({ ...lists(), list: [] }, from)).toBe(true);
      await recovery.take(lists(), from);
      expect(await states()).toMatchObject({ other: 'tainted, removed', first: 'tainted, removed' });
      expect([numbers(), settled]).toEqual([[1, 2, 3, 4, 5, 6, 7], 1]);
      expect(recovery.whyHeld()).toMatch(/^root 40aa/);
    });

    test('I229 the wait ends by itself once an operator has tainted what was named', async () => {
      await recovery.take(handed(3, [...known, stolen(3, nameOf('intermediate'))]), stranger);
      await recovery.take(handed(2, known), from);
      const draft = { target: { kind: 'authority', value: nameOf('intermediate') }, reason: 'keyCompromise' };
      const moves = move('intermediate', 'active', 'removed');
      const made = { ...draft, by: 'x', until: undefined } as never;
      await store.taintAuthority({ authority: serials.intermediate, moves, draft: made }, event);
      records = await store.authorities();
      await recovery.take(handed(2, known), from);
      expect(recovery.whyHeld()).toBeUndefined();
    });
  });

  test('I224 the wait ends with the next call of a gateway once the root that signs is tainted again', async () => {
    await recovery.take(handed(3, [...known, stolen(3, nameOf('root'))]), from);
    const moves = [...move('root', 'active', 'removed'), ...move('other', 'published', 'active')];
    const target = { kind: 'authority', value: nameOf('root') } as const;
    const draft = { target, reason: 'keyCompromise', by: 'x', until: undefined } as const;
    await store.taintAuthority({ authority: serials.root, moves, draft }, event);
    records = await store.authorities();
    await recovery.take(handed(2, known), from);
    expect(recovery.whyHeld()).toBeUndefined();
  });

  test('what cannot be settled now is told, and takes nothing back', async () => {
    fails = true;
    await recovery.take(handed(3, [...known, stolen(3, nameOf('intermediate'))]), from);
    expect(await states()).toMatchObject({ intermediate: 'tainted, removed' });
    expect(said).toContain('nothing signs yet instead of an authority that was tainted');
  });
});

test('what is of this life is not asked for', async () => {
  const start = (await store.recovery())?.start ?? 0;
  expect(await recovery.take({ ...handed(start, [revoked(3)]), list: [] }, from)).toBe(false);
});
