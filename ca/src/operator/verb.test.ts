import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import type { Person, VerbName } from './roles.ts';
import { type Asker, reading, type VerbDeps, writing } from './verb.ts';

const local = (uid: number): Asker => ({
  address: `pid 1 uid ${uid}`,
  local: { uid, ensureStillThere: () => {} },
});
const gone: Asker = {
  address: 'pid 1 uid 0',
  local: {
    uid: 0,
    ensureStillThere: () => {
      throw new IdentityError('peer_gone', 'process 1 has exited');
    },
  },
};

const clock = new ManualClock(new Date('2026-01-01T12:00:00Z'));
/** Who signed in so many seconds ago. */
const signedIn = (role: Person['role'], secondsAgo = 0): Asker => ({
  address: '10.0.0.2',
  person: async () => ({
    id: parseSpiffeId('spiffe://prod.example/chancery/operator/ada'),
    peer: { id: parseSpiffeId('spiffe://prod.example/chancery/operator/ada') },
    by: 'ada',
    role,
    servers: ['payments'],
    authTime: addSeconds(clock.now(), -secondsAgo),
  }),
});

/** What shares are like is shown with the rooms of a CA. */
const unshared: VerbDeps['shares'] = { run: (_work, _person, run) => run() };
/** What happened, in order. */
let steps: unknown[];
let deps: VerbDeps;
beforeEach(() => {
  const order: unknown[] = [];
  steps = order;
  const audit = async (event: AuditEvent): Promise<void> => {
    await Promise.resolve();
    order.push(event);
  };
  deps = { audit, ownUid: 1000, clock, second: undefined, shares: unshared };
});

const ask = () => reading('agents', async (value: number) => 2 * value, deps);
const change = (name: VerbName = 'revoke') =>
  writing<string, string>(
    {
      name,
      about: (value) => (value === 'dry' ? undefined : value),
      run: async (value, by) => {
        steps.push(`ran ${value} by ${by}`);
        return `${value} done`;
      },
    },
    deps,
  );

describe.each([
  ['a reading verb', () => ask()(local(0))(21), 42],
  ['a writing verb', () => change()(local(1000))('x'), 'x done'],
])('%s', (_, run, answer) => {
  test('answers root and the user of the CA', async () => {
    expect(await run()).toBe(answer);
  });
});

describe.each([
  ['a reading verb', (asker: Asker) => ask()(asker)],
  ['a writing verb', (asker: Asker) => change()(asker)],
])('%s is refused before its value is read', (_, open) => {
  test.each<readonly [string, Asker, ReturnType<typeof refusal>]>([
    ['for another user', local(1001), refusal('operator_role', /^uid 1001 is no operator$/)],
    [
      'from elsewhere',
      { address: '10.0.0.1' },
      refusal('operator_role', /^operators call on the admin socket, or with .*; 10\.0\.0\.1 does neither$/),
    ],
    ['for a process that is gone', gone, refusal('peer_gone', /has exited/)],
  ])('%s', (__, asker, refused) => {
    expect(() => open(asker)).toThrow(refused);
    expect(steps).toEqual([]);
  });
});

describe('the event of a writing verb', () => {
  test('is durable before the act, and names the operator and what is changed', async () => {
    await change()(local(0))('x');
    expect(steps).toEqual([
      { type: 'operator.acting', verb: 'revoke', about: 'x', by: 'uid 0 by the admin socket' },
      'ran x by uid 0 by the admin socket',
    ]);
  });

  test('keeps the act from happening where it cannot be written', async () => {
    deps = { ...deps, audit: vi.fn().mockRejectedValue(new IdentityError('store', 'disk full')) };
    await expect(change()(local(0))('x')).rejects.toThrow(refusal('store', /disk full/));
    expect(steps).toEqual([]);
  });

  test('is left out where nothing is changed', async () => {
    await change()(local(0))('dry');
    expect(steps).toEqual(['ran dry by uid 0 by the admin socket']);
  });

  test('has 2000 characters of what is changed', async () => {
    await change()(local(0))('x'.repeat(3000));
    expect(steps[0]).toMatchObject({ about: 'x'.repeat(2000) });
  });
});

test('a reading verb leaves no event', async () => {
  await ask()(local(0))(1);
  expect(steps).toEqual([]);
});

describe('an operator who has signed in', () => {
  test('acts under the name of the sign-in', async () => {
    await change()(signedIn('operator', 3000))('x');
    expect(steps).toEqual([
      { type: 'operator.acting', verb: 'revoke', about: 'x', by: 'ada' },
      'ran x by ada',
    ]);
  });

  test.each<readonly [string, Person['role'], RegExp]>([
    ['a reader', 'reader', /^ada has the role reader, and revoke needs operator$/],
    ['an owner', 'owner', /^ada has the role owner, and revoke needs operator$/],
  ])(
    'I150 who is %s changes nothing, and is refused before a large request is read',
    async (_, role, message) => {
      await expect(change()(signedIn(role))('x')).rejects.toThrow(refusal('operator_role', message));
      const read = async () => void steps.push('read') as never;
      await expect(change()(signedIn(role)).of(read)).rejects.toThrow(refusal('operator_role', message));
      expect(steps).toEqual([]);
    },
  );

  test('asks as a reader, and not as an owner where the verb is not for owners', async () => {
    expect(await ask()(signedIn('reader'))(21)).toBe(42);
    await expect(ask()(signedIn('owner'))(21)).rejects.toThrow(
      refusal('operator_role', /^ada has the role owner, and agents needs reader$/),
    );
  });

  test('gives a verb for owners the servers to keep to, and to nobody else', async () => {
    const servers = reading('resources', async (_: undefined, acting) => acting.servers, deps);
    expect(await servers(signedIn('owner'))(undefined)).toEqual(['payments']);
    expect(await servers(signedIn('reader'))(undefined)).toBeUndefined();
    expect(await servers(local(0))(undefined)).toBeUndefined();
  });

  test.each<[VerbName, RegExp]>([
    [
      'copyDatabase',
      /^backup works on the machine of the CA alone, by the admin socket; 10\.0\.0\.2 is elsew/,
    ],
    ['rewrapKeys', /^keys rewrap works on the machine of the CA alone/],
  ])(
    "I315 has no use of %s, which leaves files on the CA: it is the admin socket's alone",
    async (verb, says) => {
      expect(() => change(verb)(signedIn('operator'))).toThrow(refusal('operator_role', says));
      expect(steps).toEqual([]);
      await change(verb)(local(0))('x');
      expect(steps).toHaveLength(2);
    },
  );

  test('I151 needs a sign-in of the last 5 minutes for what is destructive, and none for a dry run', async () => {
    const message =
      /^ada signed in at 2026-01-01T11:54:59.000Z; unrevoke needs .*: chancery-ca login --again$/;
    await expect(change('lift')(signedIn('operator', 301))('x')).rejects.toThrow(
      refusal('operator_fresh', message),
    );
    expect(steps).toEqual([]);
    await change('lift')(signedIn('operator', 301))('dry');
    await change('lift')(signedIn('operator', 300))('x');
    expect(steps).toContain('ran x by ada');
  });

  test('I208 is refused what needs a fresh sign-in, where the clock was set back to before it', async () => {
    await change('lift')(signedIn('operator', -30))('x');
    await expect(change('lift')(signedIn('operator', -31))('x')).rejects.toThrow(
      refusal(
        'operator_fresh',
        /^ada signed in at 2026-01-01T12:00:31.000Z; unrevoke needs a sign-in of the last/,
      ),
    );
  });

  test('is refused where the sign-in is no longer good', async () => {
    const revoked = async () => Promise.reject(new IdentityError('revoked_peer', 'it is revoked'));
    await expect(change()({ address: 'a', person: revoked })('x')).rejects.toThrow(
      refusal('revoked_peer', /it is revoked/),
    );
    expect(steps).toEqual([]);
  });
});
