import { LiveValue } from '@chancery/shared/ground/source.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { describe, expect, test } from 'vitest';
import { newLogKey } from '../../../../test/kit/voucher.ts';
import { StateNotes } from '../../log/state-notes.ts';
import { snapshot } from './snapshot.ts';

const WEB = parseSpiffeId('spiffe://example.org/web');
const API = parseSpiffeId('spiffe://example.org/api');
const none = (): Error => new Error('none yet');

function world() {
  const bundle = new LiveValue<never>(none);
  const sets = new LiveValue<never>(none);
  const revoked = new LiveValue<never>(none);
  const trustDomain = parseTrustDomain('example.org');
  const publishBundle = (sequence: bigint) =>
    bundle.publish({ trustDomain, sequence, ...NO_AUTHORITIES } as never);
  const publishPolicy = (version: number) =>
    sets.publish({ version, sequence: BigInt(version), resources: [] } as never);
  const publishRevocations = (sequence: bigint) => revoked.publish(revocationSet([], sequence) as never);
  publishBundle(1n);
  publishPolicy(2);
  publishRevocations(3n);
  const deps = {
    authorities: { bundle },
    registry: { sets },
    revocations: { sets: revoked },
    vouchers: { logKey: 'log' },
    checkpoint: () => '',
    notes: new StateNotes(newLogKey('example.org')),
  } as never;
  return { deps, publishBundle, publishPolicy, publishRevocations };
}

const NO_AUTHORITIES = { authorities: [], jwtAuthorities: [], retiring: [], crossChains: [] };

describe('agents that have the same state', () => {
  test.each([
    ['a revocation', (it: ReturnType<typeof world>) => it.publishRevocations(9n)],
    ['a bundle', (it: ReturnType<typeof world>) => it.publishBundle(9n)],
  ])('get one message of %s, so that it is encoded once', (_, change) => {
    const it = world();
    const [web] = snapshot(WEB, undefined, it.deps);
    const [api] = snapshot(API, undefined, it.deps);
    change(it);
    const [, first] = snapshot(WEB, web, it.deps);
    const [, second] = snapshot(API, api, it.deps);
    expect(second).toBe(first);
    expect(first).toMatchObject({ sequence: 9n, policy: undefined });
  });

  test('get another message after the next change', () => {
    const it = world();
    const [sent] = snapshot(WEB, undefined, it.deps);
    it.publishRevocations(9n);
    const [next, first] = snapshot(WEB, sent, it.deps);
    it.publishRevocations(10n);
    const [, second] = snapshot(WEB, next, it.deps);
    expect([first, second].map(({ revocations }) => revocations?.since)).toEqual([3n, 9n]);
  });

  test('get a policy each, which is their own', () => {
    const it = world();
    const [, web] = snapshot(WEB, undefined, it.deps);
    const [, api] = snapshot(API, undefined, it.deps);
    expect(web).not.toBe(api);
    expect([web, api].map(({ policy }) => policy?.version)).toEqual([2n, 2n]);
  });
});
