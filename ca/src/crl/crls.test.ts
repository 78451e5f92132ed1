import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseTarget, type Target } from '@chancery/shared/revocation/revocation.ts';
import { parseSpiffeId, type SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { crlEntries, parseCrl } from '@chancery/shared/x509/crl.ts';
import { verifyCrl } from '@chancery/shared/x509/verify/crl.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { INTERMEDIATE_TTL, makeAuthorities } from '../../../test/kit/ca/authority.ts';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { openRevocations, type Revocations } from '../revocation/revocations.ts';
import type { Issuance } from '../store/store.ts';
import { type Crls, startCrls } from './crls.ts';
import type { MadeCrl } from './sign.ts';

const WEB = parseSpiffeId('spiffe://prod.example/agents/web');
const fence = { type: 'agent.acknowledged', id: WEB, sequence: 1 } as const;
const TTL = 3600;

let deps: Awaited<ReturnType<typeof makeAuthorities>>;
let revocations: Revocations;
let crls: Crls;
let published = 0;

beforeEach(async () => {
  deps = await makeAuthorities();
  revocations = await openRevocations(deps);
  open();
});
afterEach(() => crls.close());

function open(): void {
  published = 0;
  crls = startCrls({ ...deps, revocations, ttl: TTL, log: silentLog });
  crls.lists.onChange(() => {
    published += 1;
  });
}

let keys = 0;
async function record(serial: string, changes: Partial<Issuance> = {}): Promise<void> {
  keys += 1;
  const issuer = deps.authorities.issuer(deps.clock.now()).serial;
  const about = { id: WEB, platform: 'fake', node: 'n1', identity: 'web', issuer };
  const validity = { notBefore: NOW, notAfter: after(7200) };
  const keySha256 = Buffer.alloc(32, keys);
  await deps.store.record({ serial, ...about, keySha256, ...validity, ...changes }, fence);
}
const revoke = (target: Target, seconds = 0) =>
  revocations.revoke({ target, reason: 'keyCompromise', seconds, by: 'uid 0' });

/** Lets the lists that are due be made. */
const made = (count = 1) => eventually(() => expect(published).toBeGreaterThanOrEqual(count));
const eventually = (check: () => void) =>
  vi.waitFor(
    () => {
      deps.clock.advanceTo(new Date(deps.clock.now().getTime() + 300));
      check();
    },
    { timeout: 30_000, interval: 10 },
  );
const listed = (...expected: readonly string[]) => eventually(() => expect(serials()).toEqual(expected));
function listOf(kind: MadeCrl['kind']): MadeCrl {
  const list = crls.lists.current().find((each) => each.kind === kind);
  if (list === undefined) throw new Error(`no list of an ${kind}`);
  return list;
}
const serials = (kind: MadeCrl['kind'] = 'intermediate') =>
  [...crlEntries(parseCrl(listOf(kind).der))].map(({ serial }) => serial).toSorted();

describe('the lists', () => {
  test('are there for the root and the intermediate, signed by each, and empty before a revocation', async () => {
    await made();
    expect(
      crls.lists
        .current()
        .map(({ kind }) => kind)
        .toSorted(),
    ).toEqual(['intermediate', 'root']);
    for (const { der, certificate: issuer, kind } of crls.lists.current()) {
      const crl = verifyCrl({ der, issuer, now: deps.clock.now() });
      expect([...crlEntries(crl)]).toEqual([]);
      const life = (crl.nextUpdate.getTime() - crl.thisUpdate.getTime()) / 1000;
      expect(life).toBe((kind === 'root' ? 7 * 86_400 : TTL) + 10);
    }
  });

  test.each<[string, string, readonly string[]]>([
    ['serial', '40aa', ['40aa', '40ab']],
    ['id', WEB, ['40aa', '40ab']],
    ['node', 'fake/n1', ['40aa', '40ab']],
    ['node', 'fake/n2', ['40ac']],
    ['pattern', 'spiffe://prod.example/*/other', ['40ac']],
    ['pattern', 'spiffe://prod.example/**', ['40aa', '40ab', '40ac']],
  ])('have what is revoked by %s %s, with its reason and date', async (kind, value, expected) => {
    await record('40aa');
    await record('40ab', { origin: '40aa' });
    await record('40ac', { id: 'spiffe://prod.example/agents/other' as SpiffeId, node: 'n2' });
    await record('40ad', { notAfter: after(-TTL), id: WEB });
    await record('40ae', { issuer: '40ff' });
    await made();
    const { at } = await revoke(parseTarget(kind, value));
    await made(2);
    expect(serials()).toEqual(expected);
    const crl = parseCrl(listOf('intermediate').der);
    const [entry] = crlEntries(crl);
    // Set back as the list is, so that no list tells of the time after it.
    const second = new Date(Math.floor(at.getTime() / 1000 - 10) * 1000);
    expect(entry).toMatchObject({ reason: 1, revokedAt: second });
    expect(second <= crl.thisUpdate).toBe(true);
    expect(serials('root')).toEqual([]);
  });

  test('I280 have a serial that is not on record, as after a restore', async () => {
    await record('40aa');
    await record('40ab', { notAfter: after(-TTL) });
    await made();
    const { number } = await revoke(parseTarget('serial', '40bb'));
    await listed('40bb');
    await revoke(parseTarget('serial', '40aa'));
    // The first three can be the serial of no certificate; the fourth is as long as one may be.
    for (const serial of ['00', '00aa', `80${'00'.repeat(19)}`, `7f${'00'.repeat(19)}`])
      await revoke(parseTarget('serial', serial));
    await listed('40aa', '40bb', `7f${'00'.repeat(19)}`);
    expect(serials('root')).toEqual([]);
    // A whole reading finds it, too.
    await crls.close();
    open();
    await made();
    expect(serials()).toContain('40bb');
    await revocations.lift(number, 'uid 0');
    await listed('40aa', `7f${'00'.repeat(19)}`);
  });

  test('lose what is lifted', async () => {
    await record('40aa');
    const { number } = await revoke(parseTarget('id', WEB));
    await listed('40aa');
    await revocations.lift(number, 'uid 0');
    await listed();
  });

  test('lose what ends, a revocation or a certificate', async () => {
    await record('40aa');
    await record('40ab', { id: 'spiffe://prod.example/agents/other' as SpiffeId, notAfter: after(1200) });
    await revoke(parseTarget('id', WEB), 600);
    await revoke(parseTarget('pattern', 'spiffe://prod.example/*/other'));
    await listed('40aa', '40ab');
    deps.clock.advanceTo(after(601));
    await listed('40ab');
    // RFC 5280 section 5: it is on a list that was made after the certificate ended.
    deps.clock.advanceTo(after(1700));
    const { number } = listOf('intermediate');
    await eventually(() => expect(listOf('intermediate').number).toBeGreaterThan(number));
    expect(serials()).toEqual(['40ab']);
    deps.clock.advanceTo(after(1200 + TTL / 2 + 60));
    await listed();
  });

  test('of changes that come together are made once', async () => {
    await made();
    for (const n of [1, 2, 3, 4]) await revoke(parseTarget('id', `${WEB}${n}`));
    await made(2);
    await new Promise((resolve) => void setImmediate(resolve));
    expect(published).toBe(2);
    expect(listOf('intermediate').number >> 40n).toBe(revocations.sets.current().sequence);
  });

  test('are made anew before half of their life, that of the root seldom', async () => {
    await made();
    const [root, before] = [listOf('root'), listOf('intermediate')];
    deps.clock.advanceTo(after(TTL / 2));
    await made(2);
    expect(listOf('intermediate').thisUpdate > before.thisUpdate).toBe(true);
    expect(listOf('root').der).toBe(root.der);
    deps.clock.advanceTo(after(3 * 86_400));
    await made(3);
    expect(listOf('root').thisUpdate > root.thisUpdate).toBe(true);
  });

  test('have a number that grows, across a restart too', async () => {
    await made();
    const numbers = [listOf('intermediate').number];
    await revoke(parseTarget('id', WEB));
    await made(2);
    numbers.push(listOf('intermediate').number);
    await crls.close();
    deps.clock.advanceTo(new Date(deps.clock.now().getTime() + 1000));
    open();
    await made();
    numbers.push(listOf('intermediate').number);
    expect(numbers).toEqual(numbers.toSorted((a, b) => (a < b ? -1 : 1)));
    expect(new Set(numbers).size).toBe(3);
  });

  test('of a clock that was ahead are replaced when it is set back, and their numbers grow', async () => {
    await made();
    deps.clock.advanceTo(after(86_400));
    await made(2);
    const { number } = listOf('intermediate');
    deps.clock.advanceTo(after(86_415));
    deps.clock.jump(after(60));
    await vi.waitFor(() => {
      // The look at the wall clock is due by the clock that was ahead.
      deps.clock.advanceTo(after(86_500));
      deps.clock.jump(after(60));
      expect(listOf('intermediate').thisUpdate <= deps.clock.now()).toBe(true);
    });
    expect(listOf('root').thisUpdate <= deps.clock.now()).toBe(true);
    expect(listOf('intermediate').number).toBeGreaterThan(number);
  });
});

describe('an intermediate', () => {
  test('that is new has a list at once, and the one before keeps its own', async () => {
    await record('40aa', { notAfter: after(INTERMEDIATE_TTL - 60) });
    await revoke(parseTarget('id', WEB));
    await made();
    const old = listOf('intermediate').serial;
    deps.clock.advanceTo(after(INTERMEDIATE_TTL / 2 + 1));
    const before = published;
    await deps.authorities.refresh();
    await made(before + 1);
    await eventually(() =>
      expect(crls.lists.current().filter(({ kind }) => kind === 'intermediate')).toHaveLength(2),
    );
    const list = crls.lists.current().find(({ serial }) => serial === old);
    expect([...crlEntries(parseCrl(list?.der ?? new Uint8Array()))].map(({ serial }) => serial)).toEqual([
      '40aa',
    ]);
  });

  test('that a clock ahead has removed as ended is on no list when the clock is right again', async () => {
    await made();
    deps.clock.jump(after(2 * INTERMEDIATE_TTL));
    await deps.authorities.refresh();
    deps.clock.jump(NOW);
    await deps.authorities.refresh();
    await crls.close();
    open();
    await made();
    expect(serials('root')).toEqual([]);
  });

  test('that is removed before its end is on the list of its root', async () => {
    await made();
    const { serial } = listOf('intermediate');
    const moves = [{ serial, from: 'active', to: 'removed' }] as const;
    await deps.store.moveAuthorities(moves, { type: 'authority.moved', moves });
    await deps.authorities.refresh();
    await made(2);
    expect(serials('root')).toEqual([serial]);
    expect(crls.lists.current().some((each) => each.serial === serial)).toBe(false);
  });
});

describe('a list that cannot be made', () => {
  test('is replaced by nothing where there was none, and the others are there', async () => {
    await crls.close();
    const [root] = await deps.store.authorities();
    const load = deps.keys.root.load;
    vi.spyOn(deps.keys.root, 'load').mockImplementation(async (place) => {
      if (place.reference === deps.root.key.reference) throw new Error('the key is offline');
      return load(place);
    });
    const error = vi.spyOn(silentLog, 'error');
    open();
    await made();
    expect(root).toBeDefined();
    expect(crls.lists.current().map(({ kind }) => kind)).toEqual(['intermediate']);
    expect(error).toHaveBeenCalledWith(
      expect.anything(),
      expect.stringMatching(/could not be made; trying again$/),
    );
    error.mockRestore();
  });

  test('since the home of its key does not answer, keeps no other from being made', async () => {
    await crls.close();
    const { has } = deps.keys.root;
    vi.spyOn(deps.keys.root, 'has').mockImplementation(async (place) => {
      if (place.reference === deps.root.key.reference) throw new Error('no token');
      return has(place);
    });
    open();
    await made();
    expect(crls.lists.current().map(({ kind }) => kind)).toEqual(['intermediate']);
  });

  test('is tried again within 15 seconds where the one before is still in force', async () => {
    await made();
    const load = vi.spyOn(deps.keys.intermediate, 'load').mockRejectedValue(new Error('too many open files'));
    await record('40aa');
    await revoke(parseTarget('id', WEB));
    await eventually(() => expect(load).toHaveBeenCalled());
    await new Promise(setImmediate);
    expect(serials()).toEqual([]);
    load.mockRestore();
    const failed = deps.clock.now().getTime();
    await listed('40aa');
    expect(deps.clock.now().getTime() - failed).toBeLessThan(60_000);
  });

  test('leaves the one before in force until its end, and is made when it can be', async () => {
    await made();
    const before = crls.lists.current();
    const certified = vi.spyOn(deps.store, 'certified').mockRejectedValue(new Error('the disk is slow'));
    await record('40aa');
    await revoke(parseTarget('id', WEB));
    await eventually(() => expect(certified).toHaveBeenCalled());
    expect(crls.lists.current()).toBe(before);
    certified.mockRestore();
    await made(2);
    expect(serials()).toEqual(['40aa']);
  });
});
