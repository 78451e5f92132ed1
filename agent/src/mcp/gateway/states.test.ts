import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import {
  id,
  live,
  revoked,
  TOOLS,
  TRIAGE,
  TrustDomainInMemory,
} from '../../../../test/kit/mcp/world/world.ts';
import { ANSWER_WITHIN_MS } from './questions.ts';
import { type AskedFor, type Bound, type Opened, States } from './states.ts';

let td: TrustDomainInMemory;
beforeAll(() => {
  td = new TrustDomainInMemory();
});
let clock: ManualClock;
beforeEach(() => {
  clock = new ManualClock(new Date());
});

const BOUND: Bound = {
  caller: TRIAGE,
  server: 'everything',
  method: 'tools/call',
  name: 'echo',
  argumentsSha256: 'of the arguments',
};
const ASKED: readonly AskedFor[] = [{ key: 'name', asks: 'elicitation', recordId: 'record 1' }];
const OPENED: Opened = { count: 2, asked: ASKED, state: 'of.the server' };

interface Gateway {
  readonly as?: typeof TOOLS;
  readonly of?: TrustDomainInMemory;
  readonly revocations?: RevocationSet;
}
const gateway = ({ as = TOOLS, of = td, revocations = revocationSet([], 0n) }: Gateway = {}): States =>
  new States({ svid: live(of.svid(as)), bundle: of.bundle, revocations: live(revocations), clock });
const pass = (ms: number): void => clock.jump(new Date(clock.now().getTime() + ms));
const refused = (message: RegExp) =>
  expect.objectContaining({ code: 'mcp_state', message: expect.stringMatching(message) });

test.each(['of.the server', '', 'caf\u00e9 \u{1f600}\n~.', undefined])('the state %j comes back', (state) => {
  const sealed = gateway().seal(BOUND, { ...OPENED, state });
  expect(gateway().open(sealed, BOUND)).toEqual({ ...OPENED, state });
});

test.each<[string, Partial<Bound>]>([
  ['caller', { caller: id('agents/other') }],
  ['server', { server: 'other' }],
  ['method', { method: 'prompts/get' }],
  ['name', { name: 'echo2' }],
  ['argumentsSha256', { argumentsSha256: 'of others' }],
])('a state is no good for another %s', (_, change) => {
  const sealed = gateway().seal(BOUND, OPENED);
  expect(() => gateway().open(sealed, { ...BOUND, ...change })).toThrow(
    refused(/of another request, or of another caller/),
  );
});

test('a state is good for an hour', () => {
  const sealed = gateway().seal(BOUND, OPENED);
  pass(ANSWER_WITHIN_MS);
  expect(gateway().open(sealed, BOUND)).toEqual(OPENED);
  pass(1);
  expect(() => gateway().open(sealed, BOUND)).toThrow(refused(/older than an hour/));
});

test('a state of a gateway whose clock is ahead is good within a minute', () => {
  const before = clock.now();
  pass(60_000);
  const sealed = gateway().seal(BOUND, OPENED);
  pass(1);
  const later = gateway().seal(BOUND, OPENED);
  clock = new ManualClock(before);
  expect(gateway().open(sealed, BOUND)).toEqual(OPENED);
  expect(() => gateway().open(later, BOUND)).toThrow(refused(/older than an hour/));
});

/** Spoils one of the four parts of a genuine state. */
function spoilt(
  part: 'claims' | 'signature' | 'certificates' | 'state',
  by: (text: string) => string,
): string {
  const [version = '', claims = '', signature = '', certificates = '', ...state] = gateway()
    .seal(BOUND, OPENED)
    .split('.');
  const parts = { claims, signature, certificates, state: state.join('.') };
  const spoiled = { ...parts, [part]: by(parts[part]) };
  return [version, spoiled.claims, spoiled.signature, spoiled.certificates, spoiled.state].join('.');
}
const claimsWith = (change: object) => (text: string) =>
  Buffer.from(
    JSON.stringify({ ...JSON.parse(Buffer.from(text, 'base64url').toString()), ...change }),
  ).toString('base64url');
const flipped = (text: string) => (text.startsWith('A') ? 'B' : 'A') + text.slice(1);

test.each<[string, () => string, RegExp]>([
  ['another count', () => spoilt('claims', claimsWith({ count: 0 })), /signature .* does not verify/],
  [
    'another time',
    () => spoilt('claims', claimsWith({ at: Date.now() - 5 })),
    /signature .* does not verify/,
  ],
  ['questions that were not asked', () => spoilt('claims', claimsWith({ questions: [] })), /signature/],
  ['claims that are none', () => spoilt('claims', () => 'e30'), /other claims/],
  ['claims that are no JSON', () => spoilt('claims', () => 'e3'), /does not verify|is not base64url/],
  ['another signature', () => spoilt('signature', flipped), /does not verify/],
  ['no signature', () => spoilt('signature', () => ''), /signature .* does not verify/],
  ['padding', () => spoilt('signature', (text) => `${text}=`), /not one of this gateway/],
  ['no certificates', () => spoilt('certificates', () => ''), /does not verify/],
  ['a changed state', () => spoilt('state', (text) => `${text}x`), /was changed/],
  ['no state', () => spoilt('state', () => ''), /was changed/],
  ['long claims', () => spoilt('claims', (text) => text.padEnd(70_000, 'A')), /too long/],
  ['long certificates', () => spoilt('certificates', (text) => text.padEnd(40_000, 'A')), /too long/],
  ['nothing of ours', () => 'x', /not one of this gateway/],
  ['another version', () => spoilt('state', (text) => text).replace('chancery-1', 'chancery-2'), /not one/],
])('a state with %s is refused', (_, sealed, message) => {
  expect(() => gateway().open(sealed(), BOUND)).toThrow(refused(message));
});

test('a server without a state gets none', () => {
  const sealed = gateway().seal(BOUND, { ...OPENED, state: undefined });
  expect(() => gateway().open(`${sealed}x`, BOUND)).toThrow(refused(/was changed/));
});

test('a state that another workload signed is refused, its caller among them', () => {
  const says = refused(/signed by another than a gateway of this server/);
  for (const as of [TRIAGE, id('tools/other')])
    expect(() => gateway().open(gateway({ as }).seal(BOUND, OPENED), BOUND)).toThrow(says);
});

test('a state of a gateway of another trust domain, or of a revoked one, is refused', () => {
  const other = gateway({ of: new TrustDomainInMemory() }).seal(BOUND, OPENED);
  expect(() => gateway().open(other, BOUND)).toThrow(refused(/does not verify/));
  const sealed = gateway().seal(BOUND, OPENED);
  const revocations = revoked('id', TOOLS);
  expect(() => gateway({ revocations }).open(sealed, BOUND)).toThrow(refused(/is revoked/));
});
