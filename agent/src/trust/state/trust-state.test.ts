import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { keyNameOf } from '@chancery/shared/x509/verify/svid.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeAuthority, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { activation, newLogKey, proofsOf, publication, vouchedFor } from '../../../../test/kit/voucher.ts';
import { watchEnds } from './ends.ts';
import type { Part } from './reading.ts';
import type { State } from './snapshot.ts';
import { type SavedTrust, TrustState } from './trust-state.ts';

const trustDomain = parseTrustDomain('prod.example');
const root = asBuffer(makeAuthority('root').certificate.der);
const next = asBuffer(makeAuthority('next').certificate.der);
const peer = { id: parseSpiffeId('spiffe://prod.example/web') };
const revoked = {
  number: 1n,
  kind: 'id',
  value: peer.id,
  serials: [],
  reason: 'keyCompromise',
  until: 0n,
};
const message = {
  sequence: 3n,
  bundle: {
    trustDomain,
    x509Authorities: [root],
    sequence: 1n,
    jwtAuthorities: [],
    readerVersion: 0,
    retiringX509: [],
    crossChains: [],
    logKey: '',
    note: '',
  },
  policy: { version: 1n, resources: [], note: '' },
  revocations: { sequence: 1n, list: [revoked], since: 0n, gone: [], note: '' },
  readerVersion: 0,
} satisfies State;

const clock = new ManualClock(NOW);
let saved: SavedTrust[];
let save: (state: SavedTrust) => Promise<void>;
let trust: TrustState;
beforeEach(() => {
  saved = [];
  save = async (state) => void saved.push(state);
  trust = new TrustState(
    (state) => save(state),
    clock,
    () => peer.id,
  );
  trust.bundle.publish({ trustDomain, authorities: [root], sequence: 1n });
});
const isRevoked = (): boolean => trust.revocations.current().revoked(peer, NOW) !== undefined;

test('a snapshot is in force, then on disk', () => {
  save = async (state) => {
    expect(trust.policy.current().version).toBe(1n);
    saved.push(state);
  };
  trust.accept(message);
  expect(trust.taken.toSorted()).toEqual(['bundle', 'policy', 'revocations']);
  expect(isRevoked()).toBe(true);
  expect(saved).toEqual([trust.state()]);
});

test('a revocation leaves the policy, and what it remembers, as it is', () => {
  const heard = vi.fn();
  trust.accept({ ...message, revocations: { ...message.revocations, sequence: 0n, list: [] } });
  const policy = trust.policy.current();
  trust.policy.onChange(heard);
  trust.accept(message);
  expect(trust.policy.current()).toBe(policy);
  expect(heard).not.toHaveBeenCalled();
  expect(isRevoked()).toBe(true);
});

test('a bundle that is in force is not read again, and is taken back where another one came between', () => {
  const retiring = vi.fn();
  trust.retiring.onChange(retiring);
  trust.accept(message);
  const { authorities } = trust.bundle.current();
  trust.accept({ ...message, sequence: 4n });
  expect(retiring).toHaveBeenCalledOnce();
  const two = { ...message.bundle, sequence: 2n, x509Authorities: [root, next] };
  trust.accept({ ...message, sequence: 5n, bundle: two });
  trust.accept({ ...message, sequence: 6n });
  expect(trust.bundle.current()).toMatchObject({ authorities, sequence: 1n });
  expect(retiring).toHaveBeenCalledTimes(3);
});

test('a bundle that is in force is refused once a key in it is revoked', () => {
  trust.accept(message);
  const value = keyNameOf(parseCertificate(root));
  const stolen = { ...revoked, number: 2n, kind: 'authority', value };
  const revocations = { ...message.revocations, sequence: 2n, list: [stolen] };
  expect(() => trust.accept({ ...message, revocations })).toThrow(refusal('bundle', /key is revoked/));
  expect(trust.taken).not.toContain('bundle');
});

test('a lifted revocation is over, also where a CA that was restored counts from before', () => {
  trust.accept(message);
  trust.accept({ ...message, revocations: { ...message.revocations, list: [] } });
  expect(isRevoked()).toBe(false);
});

test.each<[string, object, Parameters<typeof refusal>, readonly Part[]]>([
  [
    'the policy',
    { policy: { version: 1n, resources: ['{}'] } },
    ['policy', /^the policy is not taken and the one before stays in force: .*cannot be read/],
    ['revocations', 'bundle'],
  ],
  [
    'the bundle',
    { bundle: undefined },
    ['message_parse', /^the bundle is not taken and the one before stays in force: .*without its bundle$/],
    ['revocations', 'policy'],
  ],
  [
    'both the bundle and the policy',
    { bundle: undefined, policy: { version: 1n, resources: ['{}'] } },
    ['message_parse', /^the bundle is not taken .*; the policy is not taken and /],
    ['revocations'],
  ],
  [
    'a snapshot for newer agents',
    { readerVersion: 2 },
    [
      'message_parse',
      /^the bundle and policy are not taken and those before stay in force: .*upgrade the agent$/,
    ],
    ['revocations'],
  ],
  [
    'a bundle for newer agents',
    { bundle: { ...message.bundle, readerVersion: 2 } },
    ['message_parse', /^the bundle and policy are not taken .*upgrade the agent$/],
    ['revocations'],
  ],
  [
    'another revocation',
    { revocations: { ...message.revocations, list: [revoked, { ...revoked, kind: 'name' }] } },
    ['revocation', /cannot be read by this version/],
    ['bundle', 'policy'],
  ],
])('a revocation counts, and is on disk, though %s cannot be read', (_, changes, [code, says], taken) => {
  expect(() => trust.accept({ ...message, ...changes })).toThrow(refusal(code, says));
  expect(isRevoked()).toBe(true);
  expect(saved.at(-1)?.revocations.list).toHaveLength(1);
  expect(trust.taken).toEqual(taken);
});

test('a new root is in force though the policy beside it cannot be read, and the old policy stays', () => {
  trust.accept(message);
  const policy = trust.policy.current();
  const x509Authorities = [root, next];
  const bundle = { ...message.bundle, x509Authorities, sequence: 2n };
  const changed = { ...message, bundle, policy: { version: 2n, resources: ['{}'], note: '' } };
  expect(() => trust.accept(changed)).toThrow(refusal('policy', /cannot be read/));
  expect(trust.bundle.current()).toEqual({ trustDomain, authorities: x509Authorities, sequence: 2n });
  expect(trust.policy.current()).toBe(policy);
  expect(saved.at(-1)).toEqual(trust.state());
  expect(saved.at(-1)).toMatchObject({ bundle: { sequence: 2n }, policy: { version: 1n } });
});

test('a new policy is in force though the bundle beside it cannot be read, and the old bundle stays', () => {
  trust.accept(message);
  const bundle = { ...message.bundle, x509Authorities: [], sequence: 2n };
  const changed = { ...message, bundle, policy: { version: 2n, resources: [], note: '' } };
  expect(() => trust.accept(changed)).toThrow(refusal('bundle', /has no authorities/));
  expect(saved.at(-1)).toMatchObject({ bundle: { sequence: 1n }, policy: { version: 2n } });
  expect(saved.at(-1)).toEqual(trust.state());
});

test('a revoked sender brings neither bundle nor policy, whatever else cannot be read', () => {
  const unreadable = { ...revoked, kind: 'name' };
  const changed = { ...message, revocations: { ...message.revocations, list: [revoked, unreadable] } };
  const ensureSender = () => {
    throw new IdentityError('revoked_peer', 'the CA is revoked');
  };
  expect(() => trust.accept(changed, ensureSender)).toThrow(
    refusal('revoked_peer', /the CA is revoked; rev/),
  );
  expect(trust.taken).toEqual([]);
  expect(trust.policy.has()).toBe(false);
  expect(isRevoked()).toBe(true);
});

test('a full disk for which nobody waits ends no process', async () => {
  save = async () => {
    throw new IdentityError('file', 'the disk is full');
  };
  const ensureSender = () => {
    throw new IdentityError('revoked_peer', 'the CA is revoked');
  };
  expect(() => trust.accept(message, ensureSender)).toThrow(refusal('revoked_peer', /the CA is revoked/));
  // What nobody handles by now is an error of the whole run.
  await new Promise((resolve) => setImmediate(resolve));
});

test('what is new counts though the disk is full', async () => {
  save = async () => {
    throw new IdentityError('file', 'the disk is full');
  };
  trust.accept(message);
  await expect(trust.saved).rejects.toThrow('the disk is full');
  expect(isRevoked()).toBe(true);
  expect(trust.policy.current().version).toBe(1n);
});

test('a snapshot without revocations is refused, and takes none away', () => {
  trust.accept(message);
  expect(() => trust.accept({ ...message, revocations: undefined })).toThrow(
    refusal('message_parse', /without its revocations/),
  );
  expect(isRevoked()).toBe(true);
});

test('a policy that comes without revocations is not put in force', () => {
  const alone = { ...message, revocations: undefined };
  expect(() => trust.accept(alone)).toThrow(refusal('message_parse', /^the policy is not taken/));
  expect(trust.policy.has()).toBe(false);
  expect(trust.taken).toEqual(['bundle']);
});

test('what was on disk is in force again', () => {
  trust.accept(message);
  const again = new TrustState(save, clock, () => peer.id);
  again.resume(trust.state());
  expect(again.state()).toEqual(trust.state());
});

test('authorities that retire are named with the bundle, and not where that is refused', () => {
  const retiring = (keyId: Buffer[], trustDomain = message.bundle.trustDomain) => {
    const attempt = () =>
      trust.accept({ ...message, bundle: { ...message.bundle, trustDomain, retiringX509: keyId } });
    return { attempt, known: () => trust.retiring.current() };
  };
  const one = Buffer.from('aa', 'hex');
  const first = retiring([one]);
  first.attempt();
  expect(first.known()).toEqual([one]);
  const refused = retiring([], parseTrustDomain('other.example'));
  expect(refused.attempt).toThrow(refusal('bundle', /is of other.example/));
  expect(refused.known()).toEqual([one]);
  const over = retiring([]);
  over.attempt();
  expect(over.known()).toEqual([]);
  save = () => {
    throw new IdentityError('file', 'disk full');
  };
  expect(first.attempt).toThrow(refusal('file', /disk full/));
  expect(first.known()).toEqual([one]);
});

describe('a resource with an end', () => {
  const server = {
    kind: 'McpServer',
    name: 'github',
    identity: 'spiffe://prod.example/tools/github',
    address: 'github.internal:8443',
    until: addSeconds(NOW, 60).toISOString(),
  };
  const policy = { version: 2n, resources: [JSON.stringify(server)], note: '' };
  const served = (): boolean => trust.policy.current().servers.has('github');
  const log = { ...silentLog, error: vi.fn() };
  let stop: AbortController;
  let watching: Promise<void>;

  beforeEach(() => {
    stop = new AbortController();
    clock.jump(NOW);
    trust.accept({ ...message, policy });
    watching = watchEnds(trust, { clock, log }, stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await watching;
  });

  test('is off from then on, and in force again where the clock was set back', async () => {
    const heard = vi.fn();
    trust.policy.onChange(heard);
    expect(served()).toBe(true);
    await vi.waitFor(() => expect(clock.sleeping).toBeGreaterThan(0));
    clock.advanceTo(addSeconds(NOW, 59.9));
    await new Promise(setImmediate);
    expect(served()).toBe(true);
    clock.advanceTo(addSeconds(NOW, 60));
    await vi.waitFor(() => expect(served()).toBe(false));
    expect(heard).toHaveBeenCalledTimes(1);
    expect(trust.state().policy.resources).toEqual(policy.resources);
    await vi.waitFor(() => expect(clock.sleeping).toBeGreaterThan(0));
    clock.jump(NOW);
    trust.refresh();
    expect(served()).toBe(true);
  });

  test('is off although one that hears of it fails, and that is logged', async () => {
    const off = trust.policy.onChange(() => {
      throw new Error('the disk is full');
    });
    await vi.waitFor(() => expect(clock.sleeping).toBeGreaterThan(0));
    clock.advanceTo(addSeconds(NOW, 60));
    await vi.waitFor(() => expect(log.error).toHaveBeenCalledTimes(1));
    expect(served()).toBe(false);
    off();
  });

  test('that comes while nothing else has an end is watched, too', async () => {
    const later = { ...server, until: addSeconds(NOW, 30).toISOString() };
    trust.accept(message);
    await new Promise(setImmediate);
    trust.accept({ ...message, policy: { version: 3n, resources: [JSON.stringify(later)], note: '' } });
    await vi.waitFor(() => expect(clock.sleeping).toBeGreaterThan(0));
    clock.advanceTo(addSeconds(NOW, 30));
    await vi.waitFor(() => expect(served()).toBe(false));
  });

  test('or a part with an end: it is off from then on, and the policy is published again', async () => {
    const { until, ...lasting } = server;
    const rule = { kind: 'Access', name: 'r', who: ['spiffe://prod.example/a'], servers: ['github'] };
    const resources = [
      { ...lasting, observe: { until } },
      { ...rule, everything: { until } },
    ];
    const [version, texts] = [4n, resources.map((each) => JSON.stringify(each))];
    trust.accept({ ...message, policy: { version, resources: texts, note: '' } });
    const reaches = () =>
      trust.policy.current().rulesFor({ caller: parseSpiffeId('spiffe://prod.example/a') }, 'github')
        .entrance;
    expect([reaches(), trust.policy.current().servers.get('github')?.observe]).toEqual(['r', { until }]);
    await vi.waitFor(() => expect(clock.sleeping).toBeGreaterThan(0));
    clock.advanceTo(new Date(until));
    await vi.waitFor(() => expect(reaches()).toBeUndefined());
    expect(trust.policy.current().servers.get('github')?.observe).toBeUndefined();
  });

  test('that has ended before the agent starts is off', () => {
    const again = new TrustState(save, clock, () => peer.id);
    clock.jump(addSeconds(NOW, 61));
    again.resume(trust.state());
    expect(again.policy.current().servers.size).toBe(0);
  });
});

describe("with the key of the CA's log", () => {
  const [old, next] = [makeAuthority('old'), makeAuthority('next')] as const;
  const log = newLogKey(trustDomain);
  const [was, is] = [old, next].map(({ certificate }) => asBuffer(certificate.der)) as [Buffer, Buffer];
  const pushed = (authorities: readonly Buffer[], sequence: bigint, logKey = log.text): State => ({
    ...message,
    bundle: { ...message.bundle, x509Authorities: [...authorities], sequence, logKey },
  });
  const proofs = (key = log) => proofsOf([publication(vouchedFor(trustDomain, old, next))], key);
  const roots = () => trust.bundle.current().authorities.length;
  beforeEach(() => {
    trust.bundle.publish({ trustDomain, authorities: [was], sequence: 1n });
    trust.accept(pushed([was], 1n));
  });

  test('the key is kept and saved, and an authority is trusted once it is vouched for', async () => {
    expect(saved.at(-1)).toMatchObject({ logKey: log.text });
    expect(() => trust.accept(pushed([was, is], 2n))).toThrow(refusal('bundle', /are not vouched for/));
    expect([trust.isUnvouched, roots()]).toEqual([true, 1]);
    expect(trust.taken.toSorted()).toEqual(['policy', 'revocations']);
    expect(trust.vouching.take(await proofs(newLogKey(trustDomain)), trust.bundle.current(), true)).toEqual(
      [],
    );
    expect(() => trust.accept(pushed([was, is], 2n))).toThrow(refusal('bundle', /are not vouched for/));
    expect(trust.vouching.take(await proofs(), trust.bundle.current(), true)).toHaveLength(1);
    trust.accept(pushed([was, is], 2n));
    expect([trust.isUnvouched, roots()]).toEqual([false, 2]);
    trust.accept(pushed([is], 3n));
    expect(roots()).toBe(1);
  });

  test('another key, and one that is none, is refused', () => {
    const other = newLogKey(trustDomain).text;
    expect(() => trust.accept(pushed([was], 2n, other))).toThrow(refusal('bundle', /with another key/));
    trust.accept(pushed([was], 2n, ''));
    const fresh = new TrustState(
      (state) => save(state),
      clock,
      () => peer.id,
    );
    fresh.bundle.publish({ trustDomain, authorities: [was], sequence: 1n });
    expect(() => fresh.accept(pushed([was], 1n, 'nonsense'))).toThrow(refusal('tlog', /verifier key/));
    expect(fresh.vouching.logKey).toBeUndefined();
  });

  test('a bundle that adds and removes is taken where all that is new is vouched for', async () => {
    expect(() => trust.accept(pushed([is], 2n))).toThrow(refusal('bundle', /are not vouched for/));
    trust.vouching.take(await proofs(), trust.bundle.current(), true);
    trust.accept(pushed([is], 2n));
    expect(trust.bundle.current().authorities).toEqual([is]);
  });

  test('I180 what left the bundle comes back by a verified CA alone, after a restart too', async () => {
    trust.vouching.take(await proofs(), trust.bundle.current(), true);
    trust.accept(pushed([was, is], 2n));
    trust.accept(pushed([was], 3n));
    expect(trust.vouching.left).toHaveLength(1);
    expect(saved.at(-1)).toMatchObject({ left: trust.vouching.left });
    const resumed = new TrustState(
      (state) => save(state),
      clock,
      () => peer.id,
    );
    resumed.resume(saved.at(-1) ?? trust.state());
    const active = await proofsOf([activation(vouchedFor(trustDomain, old, next), next)], log);
    for (const each of [trust, resumed]) {
      expect(each.vouching.take(active, each.bundle.current(), false)).toEqual([]);
      expect(each.vouching.take(active, each.bundle.current(), true)).toHaveLength(1);
    }
  });

  test('I180 without a verified CA only a root that became active is found', async () => {
    const known = trust.bundle.current();
    expect(trust.vouching.take(await proofs(), known, false)).toEqual([]);
    const voucher = vouchedFor(trustDomain, old, next);
    const [other, active] = [old, next].map((each) => activation(voucher, each));
    expect(trust.vouching.take(await proofsOf([other ?? ''], log), known, false)).toEqual([]);
    expect(trust.vouching.take(await proofsOf([active ?? ''], log), known, false)).toHaveLength(1);
  });

  test('one that was saved counts from the start', () => {
    const resumed = new TrustState(
      (state) => save(state),
      clock,
      () => peer.id,
    );
    resumed.resume(trust.state());
    expect(() => resumed.accept(pushed([was, is], 2n))).toThrow(refusal('bundle', /are not vouched for/));
  });

  test('a tainted authority is not taken, and vouches for none (I103)', async () => {
    const taintedBy = ({ certificate }: typeof old): State['revocations'] => {
      const tainted = { ...revoked, kind: 'authority', value: keyNameOf(certificate) };
      return { ...message.revocations, list: [tainted] };
    };
    expect(trust.vouching.take(await proofs(), trust.bundle.current(), true)).toHaveLength(1);
    const both = { ...pushed([was, is], 2n), revocations: taintedBy(next) };
    expect(() => trust.accept(both)).toThrow(refusal('bundle', /has an authority whose key is revoked/));
    expect([roots(), trust.taken.toSorted()]).toEqual([1, ['policy', 'revocations']]);
    expect(trust.vouching.take(await proofs(), trust.bundle.current(), true)).toEqual([]);
    expect(() => trust.accept({ ...both, revocations: taintedBy(old) })).toThrow(/whose key is revoked/);
    expect(trust.vouching.take(await proofs(), trust.bundle.current(), true)).toEqual([]);
  });
});
