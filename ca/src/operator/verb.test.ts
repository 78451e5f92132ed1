import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
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
  deps = { audit, ownUid: 1000 };
});

const ask = () => reading(async (value: number) => 2 * value, deps);
const change = () =>
  writing<string, string>(
    {
      name: 'change',
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
      refusal('operator_role', /^operators call on the admin socket, not from 10\.0\.0\.1$/),
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
      { type: 'operator.acting', verb: 'change', about: 'x', by: 'uid 0' },
      'ran x by uid 0',
    ]);
  });

  test('keeps the act from happening where it cannot be written', async () => {
    deps = { ...deps, audit: vi.fn().mockRejectedValue(new IdentityError('store', 'disk full')) };
    await expect(change()(local(0))('x')).rejects.toThrow(refusal('store', /disk full/));
    expect(steps).toEqual([]);
  });

  test('is left out where nothing is changed', async () => {
    await change()(local(0))('dry');
    expect(steps).toEqual(['ran dry by uid 0']);
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
