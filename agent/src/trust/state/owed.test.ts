/** I227: what the CA is owed is not lost to what takes its place. */
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, expect, test } from 'vitest';
import { makeAuthority, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { signedState } from '../../../../test/kit/state-notes.ts';
import { newLogKey } from '../../../../test/kit/voucher.ts';
import { type SavedTrust, TrustState } from './trust-state.ts';

const trustDomain = parseTrustDomain('prod.example');
const root = asBuffer(makeAuthority('root').certificate.der);
const id = parseSpiffeId('spiffe://prod.example/web');
const log = newLogKey(trustDomain);
const revoked = (number: number) => ({
  ...{ number: BigInt(number), kind: 'id', value: `spiffe://prod.example/gone${number}` },
  ...{ serials: ['40aa'], reason: 'keyCompromise', until: 0n },
});

let saved: SavedTrust[];
let trust: TrustState;
beforeEach(() => {
  saved = [];
  trust = fresh();
});

function fresh(): TrustState {
  const made = new TrustState(
    async (state) => void saved.push(state),
    new ManualClock(NOW),
    () => id,
  );
  made.bundle.publish({ trustDomain, authorities: [root], sequence: 0n });
  return made;
}

/** The CA says this. */
function hear(number: bigint, list: readonly ReturnType<typeof revoked>[]): void {
  const bundle = { trustDomain, x509Authorities: [root], sequence: number, logKey: log.text, note: '' };
  const more = { jwtAuthorities: [], readerVersion: 0, retiringX509: [], crossChains: [] };
  const plain = {
    ...{ sequence: number, bundle: { ...bundle, ...more } },
    policy: { version: number, resources: [], note: '' },
    revocations: { sequence: number, list: [...list], since: 0n, gone: [], note: '' },
    readerVersion: 0,
  };
  trust.accept(signedState(plain, log, id));
}
const offered = () =>
  trust.toHandBack().map(({ sequence, list }) => [sequence, list.map(({ number }) => number)]);
/** What the CA answers to each. */
const answer = (outcome: 'taken' | 'unwanted' | 'refused' | 'failed') => {
  for (const each of trust.toHandBack()) trust.handedBack(each, outcome);
};
const before = [5n, [1n, 2n]];
const after = [1_000_006n, [1n]];

test('nothing is owed before the CA has signed something', () => {
  expect(trust.toHandBack()).toEqual([]);
});

test('I227 what a restored CA has refused is offered again, also after a restart, until one has it', () => {
  hear(5n, [revoked(1), revoked(2)]);
  answer('refused');
  expect(offered()).toEqual([before]);
  hear(1_000_006n, [revoked(1)]);
  expect(offered()).toEqual([before, after]);
  trust = fresh();
  trust.resume(saved.at(-1) ?? expect.fail('nothing was saved'));
  expect(offered()).toEqual([before, after]);
  answer('taken');
  expect(offered()).toEqual([after]);
  hear(1_000_007n, [revoked(1)]);
  expect(saved.at(-1)?.owed).toEqual([]);
});

test('what the CA has, or does not want, is not kept', () => {
  hear(5n, [revoked(1), revoked(2)]);
  answer('unwanted');
  hear(1_000_006n, [revoked(1)]);
  expect(offered()).toEqual([after]);
});

const isRevoked = (number: number) =>
  trust.revocations.current().revoked({ id: parseSpiffeId(`spiffe://prod.example/gone${number}`) }, NOW) !==
  undefined;

test('I239 what the CA could not take yet stays in force beside what it says, until it has it', () => {
  hear(5n, [revoked(1), revoked(2)]);
  answer('failed');
  hear(1_000_006n, [revoked(1), revoked(3)]);
  expect([1, 2, 3].map(isRevoked)).toEqual([true, true, true]);
  trust = fresh();
  trust.resume(saved.at(-1) ?? expect.fail('nothing was saved'));
  expect(offered()).toEqual([before, [1_000_006n, [1n, 3n]]]);
  expect([1, 2, 3].map(isRevoked)).toEqual([true, true, true]);
  answer('failed');
  hear(1_000_007n, [revoked(1)]);
  expect([1, 2, 3].map(isRevoked)).toEqual([true, true, true]);
  answer('taken');
  expect([1, 2, 3].map(isRevoked)).toEqual([true, false, false]);
});

test('I239 what the CA has refused is kept, and counts no longer', () => {
  hear(5n, [revoked(1), revoked(2)]);
  answer('failed');
  hear(1_000_006n, [revoked(1)]);
  expect([1, 2].map(isRevoked)).toEqual([true, true]);
  answer('refused');
  expect([1, 2].map(isRevoked)).toEqual([true, false]);
  expect(offered()).toEqual([before, after]);
});

test('I275 what the CA has refused counts no longer after a restart, and what it has is owed no longer', () => {
  const restart = (): void => {
    trust = fresh();
    trust.resume(saved.at(-1) ?? expect.fail('nothing was saved'));
  };
  hear(5n, [revoked(1), revoked(2)]);
  answer('failed');
  hear(1_000_006n, [revoked(1)]);
  answer('refused');
  // The CA says nothing more.
  restart();
  expect([offered(), [1, 2].map(isRevoked)]).toEqual([
    [before, after],
    [true, false],
  ]);
  answer('failed');
  expect([1, 2].map(isRevoked)).toEqual([true, false]);
  answer('taken');
  restart();
  expect(offered()).toEqual([after]);
  const writes = saved.length;
  for (const outcome of ['taken', 'unwanted'] as const) answer(outcome);
  expect(saved).toHaveLength(writes);
});

test('of many only the newest two are kept', () => {
  for (const number of [5n, 6n, 7n]) {
    hear(number, [revoked(1)]);
    answer('refused');
    answer('refused');
  }
  hear(8n, [revoked(1)]);
  expect(offered().map(([number]) => number)).toEqual([6n, 7n, 8n]);
});
