import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { stranger } from '../../../test/kit/ca/rpc.ts';
import { NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import type { Caller } from './caller.ts';
import { type RefusalDeps, refuserOf } from './refuse.ts';

let deps: RefusalDeps;
let audited: AuditEvent[];
const logged = { warn: vi.fn(), error: vi.fn(), debug: vi.fn() };
beforeEach(() => {
  const events: AuditEvent[] = [];
  audited = events;
  for (const each of Object.values(logged)) each.mockReset();
  deps = {
    audit: async (event) => void events.push(event),
    log: { ...silentLog, ...logged },
    clock: new ManualClock(NOW),
  };
});

const operator = { via: 'admin', address: 'pid 1 uid 0', peer: { uid: 0 } } as Caller;

/** What the peer is told. */
const refuse = (refusal: IdentityError, caller: Caller | undefined = stranger): string =>
  refuserOf(deps)(refusal, 'ListAgents', caller);

describe('a refusal', () => {
  test('tells the peer the table’s sentence, and the audit log the reason', () => {
    const says = refuse(new IdentityError('csr_pop', 'not signed by the key'));
    expect(says).toBe('the certificate request is not acceptable');
    expect(audited).toEqual([
      {
        type: 'request.refused',
        rpc: 'ListAgents',
        code: 'csr_pop',
        detail: 'not signed by the key',
        peer: '10.0.0.1',
      },
    ]);
  });

  test('gives the reason to the operator, who has to fix it', () => {
    expect(refuse(new IdentityError('resource', 'a.yaml:3: unknown key'), operator)).toBe(
      'a.yaml:3: unknown key',
    );
  });

  test.each<readonly [string, Caller, boolean, string]>([
    ['a stranger', stranger, true, '10.0.0.1'],
    ['an operator', operator, false, 'uid 0'],
  ])('of %s is folded where somebody folds, and has its reference', (_, caller, isStranger, source) => {
    const fold = vi.fn(() => 'abc');
    deps = { ...deps, fold };
    const says = refuserOf(deps)(new IdentityError('svid', 'no'), 'Watch', caller);
    expect(fold).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ rpc: 'Watch', code: 'svid' }), {
      source,
      isStranger,
    });
    expect(says).toMatch(isStranger ? / \(reference abc\)$/ : /^no$/);
    expect(audited).toEqual([]);
  });

  test('for a rate is counted and not recorded', () => {
    const tell = vi.fn();
    deps = { ...deps, turnedAway: { tell, close: () => {} } };
    refuse(new IdentityError('rate', 'too fast'));
    expect(audited).toEqual([]);
    expect(logged.warn).not.toHaveBeenCalled();
    expect(tell.mock.calls).toEqual([[{ what: 'calls', whose: 'strangers' }, 'ListAgents: too fast']]);
  });

  test('is recorded with 2000 characters of its reason', () => {
    refuse(new IdentityError('svid', 'x'.repeat(3000)));
    expect(audited).toMatchObject([{ detail: 'x'.repeat(2000) }]);
  });

  test('that cannot be recorded is told all the same, and that is logged', async () => {
    deps = { ...deps, audit: () => Promise.reject(new IdentityError('store', 'disk full')) };
    expect(refuse(new IdentityError('svid', 'no'))).toMatch(/./);
    await vi.waitFor(() => expect(logged.error).toHaveBeenCalledOnce());
  });

  test('of a connection that is gone is a stranger’s', () => {
    const fold = vi.fn(() => 'abc');
    deps = { ...deps, fold };
    refuserOf(deps)(new IdentityError('no_peer', 'gone'), 'Watch', undefined);
    const source = 'a connection that is gone';
    expect(fold).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ peer: source }), {
      source,
      isStranger: true,
    });
  });
});
