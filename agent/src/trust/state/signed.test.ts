/** I199, I200, I257: what a thief of a root's key can make an agent take that keeps the key of the CA's audit log. */
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { signCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { makeAuthority, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { signedState } from '../../../../test/kit/state-notes.ts';
import { newLogKey } from '../../../../test/kit/voucher.ts';
import { Signed } from './signed.ts';
import { type SavedTrust, TrustState } from './trust-state.ts';

const trustDomain = parseTrustDomain('prod.example');
const root = asBuffer(makeAuthority('root').certificate.der);
const [id, other] = ['web', 'other'].map((name) => parseSpiffeId(`spiffe://prod.example/${name}`)) as [
  ReturnType<typeof parseSpiffeId>,
  ReturnType<typeof parseSpiffeId>,
];
const log = newLogKey(trustDomain);
const thief = newLogKey(trustDomain);
const revoked = (number: bigint) => ({
  number,
  kind: 'id',
  value: `spiffe://prod.example/gone${number}`,
  serials: ['40aa'],
  reason: 'keyCompromise',
  until: 0n,
});
const stateOf = (number: bigint, changes: object = {}) => ({
  sequence: number,
  bundle: {
    trustDomain: 'prod.example',
    x509Authorities: [root],
    sequence: number,
    jwtAuthorities: [],
    readerVersion: 0,
    retiringX509: [],
    crossChains: [],
    logKey: log.text,
    note: '',
  },
  policy: { version: number, resources: [], note: '' },
  revocations: { sequence: number, list: [revoked(1n), revoked(2n)], since: 0n, gone: [], note: '' },
  readerVersion: 0,
  ...changes,
});
const plain = (number: bigint) => stateOf(number);
const genuine = (number: bigint, by = log, subject = id) => signedState(plain(number), by, subject);

let saved: SavedTrust[];
let trust: TrustState;
const fresh = (): TrustState => {
  const made = new TrustState(
    async (state) => void saved.push(state),
    new ManualClock(NOW),
    () => id,
  );
  made.bundle.publish({ trustDomain, authorities: [root], sequence: 0n });
  return made;
};
const numbers = (of = trust) => [
  of.bundle.current().sequence,
  of.policy.current().version,
  of.revocations.current().sequence,
];

beforeEach(() => {
  saved = [];
  trust = fresh();
});

describe('an agent that has had signatures', () => {
  beforeEach(() => trust.accept(genuine(5n)));

  test('takes what is signed, and keeps how far it came', () => {
    expect(numbers()).toEqual([5n, 5n, 5n]);
    trust.accept(genuine(6n));
    expect(numbers()).toEqual([6n, 6n, 6n]);
    expect(saved.at(-1)?.signed).toEqual({ bundle: 6n, policy: 6n, revocations: 6n });
  });

  test('and whose certificate has ended meanwhile takes nothing unsigned when it joins anew', () => {
    const last = saved.at(-1);
    trust = fresh();
    if (last !== undefined) trust.remember(last);
    if (last !== undefined) trust.bundle.publish(last.bundle);
    expect(() => trust.accept(plain(6n))).toThrow(/are not signed/);
    expect(trust.revocations.current().sequence).toBe(0n);
  });

  test.each(['bundle', 'policy', 'revocations'] as const)(
    'takes no %s with signatures without end',
    (part) => {
      const six = genuine(6n);
      const note = `${six[part]?.note ?? ''}\u2014 nobody ${'A'.repeat(20_000)}\n`;
      expect(() => trust.accept({ ...six, [part]: { ...six[part], note } })).toThrow(/at most 4096/);
    },
  );

  test('keeps no checkpoint with signatures without end: its own file must stay readable', () => {
    const checkpoint = signCheckpoint({ size: 7, root: Buffer.alloc(32) }, log.verifier, log.privateKey);
    trust.accept({ ...genuine(6n), checkpoint });
    expect(saved.at(-1)?.kept?.checkpoint).toBe(checkpoint);
    const next = signCheckpoint({ size: 8, root: Buffer.alloc(32) }, log.verifier, log.privateKey);
    trust.accept({ ...genuine(7n), checkpoint: `${next}\u2014 nobody ${'A'.repeat(20_000)}\n` });
    expect(saved.at(-1)?.kept?.checkpoint).toBe(checkpoint);
  });

  const six = genuine(6n);
  const { bundle, policy, revocations } = six;
  const list = [revoked(1n)];
  const one = { ...revoked(1n) };
  test.each<[string, object, RegExp]>([
    ['no signature', plain(6n), /bundle is not signed by .*; the revocations are not signed/],
    ['no signature of the bundle', { ...six, bundle: { ...bundle, note: '' } }, /bundle is not signed by/],
    ['no signature of the policy', { ...six, policy: { ...policy, note: '' } }, /policy is not signed by/],
    ['no signature of revocations', { ...six, revocations: { ...revocations, note: '' } }, /are not signed/],
    ['the signature of another key', genuine(6n, thief), /not signed by prod\.example.*this key/],
    ['an older bundle', { ...six, bundle: genuine(4n).bundle }, /bundle is number 4, and 5 was taken/],
    ['an older policy', { ...six, policy: genuine(4n).policy }, /policy is number 4, and 5 was taken/],
    ['older revocations', { ...six, revocations: genuine(4n).revocations }, /are number 4, and 5 was taken/],
    ['the policy of another', { ...six, policy: genuine(6n, log, other).policy }, /for spiffe:.*other/],
    ['a note of another part', { ...six, bundle: { ...bundle, note: policy.note } }, /note is of policy 6/],
    ['a note of another number', { ...six, bundle: { ...bundle, sequence: 7n } }, /is of bundle 6/],
    ['a root more', { ...six, bundle: { ...bundle, x509Authorities: [root, root] } }, /is another one/],
    ['a root that is to retire', { ...six, bundle: { ...bundle, retiringX509: [root] } }, /another one/],
    ['a key of tokens', { ...six, bundle: { ...bundle, jwtAuthorities: [jwt()] } }, /another one/],
    ['a resource more', { ...six, policy: { ...policy, resources: ['{}'] } }, /policy 6 .*is another one/],
    ['a revocation less', { ...six, revocations: { ...revocations, list } }, /revocations 6 .*another one/],
    ...(
      [
        ['number', 3n],
        ['kind', 'pattern'],
        ['value', 'spiffe://prod.example/else'],
        ['serials', []],
        ['reason', 'superseded'],
        ['until', 1n],
      ] as const
    ).map(([name, value]): [string, object, RegExp] => [
      `another ${name} of a revocation`,
      { ...six, revocations: { ...revocations, list: [{ ...one, [name]: value }, revoked(2n)] } },
      /revocations 6 .*is another one/,
    ]),
  ])('I199 I200 takes nothing with %s', (_, spoiled, says) => {
    expect(() => trust.accept({ ...six, ...spoiled })).toThrow(refusal('tlog', says));
    const parts = { bundle: 0, policy: 1, revocations: 2 };
    // What was spoiled stays as it was; the other parts may have been taken.
    for (const [part, at] of Object.entries(parts))
      expect(numbers()[at]).toBe(trust.taken.some((each) => each === part) ? 6n : 5n);
    expect(trust.taken.length).toBeLessThan(3);
    expect(trust.revocations.current().list).toHaveLength(2);
  });

  test.each(['bundle', 'policy', 'revocations'] as const)(
    'I257 does not take a %s again that it had verified before another stream brought a newer one',
    (part) => {
      const six = genuine(6n);
      trust.accept(six);
      trust.accept(genuine(7n));
      const again = { ...genuine(8n), [part]: six[part] };
      expect(() => trust.accept(again)).toThrow(refusal('tlog', /number 6, and 7 was taken before/));
      expect(trust.taken).not.toContain(part);
      expect(numbers()).toEqual(['bundle', 'policy', 'revocations'].map((each) => (each === part ? 7n : 8n)));
    },
  );

  test('I199 takes nothing unsigned after a restart either', () => {
    const resumed = fresh();
    resumed.resume(saved.at(-1) ?? trust.state());
    expect(() => resumed.accept(plain(6n))).toThrow(refusal('tlog', /not signed/));
    expect(() => resumed.accept(genuine(4n))).toThrow(refusal('tlog', /number 4, and 5 was taken/));
    resumed.accept(genuine(6n));
    expect(numbers(resumed)).toEqual([6n, 6n, 6n]);
  });

  test('a change of revocations counts once its result is signed', () => {
    const next = { ...genuine(6n).revocations, list: [revoked(2n), revoked(3n)] };
    const state = signedState({ ...plain(6n), revocations: next }, log, id);
    trust.accept(state);
    expect(trust.revocations.current().list.map(({ number }) => number)).toEqual([2, 3]);
  });
});

test('a CA that signs no states is followed until one does', () => {
  trust.accept(plain(3n));
  trust.accept(plain(4n));
  expect(saved.at(-1)?.signed).toEqual({});
  trust.accept(genuine(5n));
  expect(() => trust.accept(plain(6n))).toThrow(refusal('tlog', /not signed/));
});

test('a first snapshot with the signatures of another key than it names is not taken', () => {
  expect(() => trust.accept(genuine(3n, thief))).toThrow(refusal('tlog', /bundle is not taken/));
  expect(trust.vouching.logKey).toBeUndefined();
  trust.accept(genuine(3n));
});

test('the order of revocations makes no difference to their signature', () => {
  const state = genuine(3n);
  trust.accept({
    ...state,
    revocations: { ...state.revocations, list: state.revocations.list.toReversed() },
  });
  expect(trust.taken).toHaveLength(3);
});

function jwt() {
  return { keyId: 'a', publicKey: root, expiresAt: 0n };
}

test('a checkpoint is kept by no agent that has no key to verify it with', () => {
  const signed = new Signed(() => id);
  const checkpoint = signCheckpoint({ size: 7, root: Buffer.alloc(32) }, log.verifier, log.privateKey);
  signed.see(checkpoint, undefined);
  expect(signed.checkpoint).toBe('');
});
