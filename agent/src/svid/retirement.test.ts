import { addSeconds } from '@chancery/shared/ground/clock.ts';
import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import { type RevocationSet, revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { readSubjectKeyIdentifier } from '@chancery/shared/x509/extensions.ts';
import { keyNameOf } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { type Made, makeAuthority, makeLeaf } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { live, TRIAGE } from '../../../test/kit/mcp/world/world.ts';
import { Retirement } from './retirement.ts';

const START = new Date('2026-06-01T00:00:00Z');
const at = (seconds: number): Date => addSeconds(START, seconds);

const root = makeAuthority('root');
const intermediate = makeAuthority('intermediate', root);
const chain = [makeLeaf(TRIAGE, intermediate).certificate.der, intermediate.certificate.der];
let clock: ManualClock;
let retiring: ReturnType<typeof live<readonly Uint8Array[]>>;
let bundle: ReturnType<typeof live<Bundle>>;
let revocations: ReturnType<typeof live<RevocationSet>>;
let refused: ReturnType<typeof live<Uint8Array>>;
let retirement: Retirement;
let due: boolean;

const idOf = ({ certificate }: Made): Uint8Array =>
  readSubjectKeyIdentifier(parseCertificate(certificate.der), 'svid') ?? new Uint8Array();

const bundleOf = (...roots: readonly Made[]): Bundle => ({
  trustDomain: parseTrustDomain('prod.example'),
  authorities: roots.map(({ certificate }) => certificate.der),
  sequence: 1n,
});

beforeEach(() => {
  clock = new ManualClock(START);
  retiring = live<readonly Uint8Array[]>([]);
  bundle = live(bundleOf(root));
  revocations = live<RevocationSet>(revocationSet<Revocation>([], 0n));
  refused = live<Uint8Array>(new Uint8Array());
  retirement = new Retirement({ retiring, bundle, revocations, refused, clock, random: () => 0.5 });
});

/** Waits as the life of an SVID does, and notes the end. */
function begin(signal = new AbortController().signal): Promise<void> {
  due = false;
  return retirement.due(chain, signal).then(() => {
    due = true;
  });
}

/** All that is due to run has run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test.each([
  ['the root', root],
  ['the intermediate', intermediate],
])('an SVID under %s that retires is due, spread over ten seconds', async (_, authority) => {
  const waiting = begin();
  retiring.publish([idOf(makeAuthority('another')), idOf(authority)]);
  await settled();
  clock.advanceTo(at(4.9));
  await settled();
  expect(due).toBe(false);
  clock.advanceTo(at(5));
  await waiting;
});

test('one that retired before the wait counts, too', async () => {
  retiring.publish([idOf(root)]);
  const waiting = begin();
  await vi.waitFor(() => expect(clock.sleeping).toBe(1));
  clock.advanceTo(at(5));
  await waiting;
});

test('one whose root has left the bundle is due within two seconds', async () => {
  const waiting = begin();
  bundle.publish(bundleOf(root, makeAuthority('another')));
  await settled();
  expect(clock.sleeping).toBe(0);
  bundle.publish(bundleOf(makeAuthority('another')));
  await vi.waitFor(() => expect(clock.sleeping).toBe(1));
  clock.advanceTo(at(0.9));
  await settled();
  expect(due).toBe(false);
  clock.advanceTo(at(1));
  await waiting;
});

test('another authority does not matter', async () => {
  void begin();
  retiring.publish([idOf(makeAuthority('another'))]);
  await settled();
  expect(clock.sleeping).toBe(0);
  expect(due).toBe(false);
});

test('nothing is due where it was taken back meanwhile, and is when it comes again', async () => {
  const waiting = begin();
  retiring.publish([idOf(root)]);
  await settled();
  retiring.publish([]);
  clock.advanceTo(at(5));
  await settled();
  expect(due).toBe(false);
  retiring.publish([idOf(root)]);
  await vi.waitFor(() => expect(clock.sleeping).toBe(1));
  clock.advanceTo(at(10));
  await waiting;
});

test('a CA that still issues under it is asked again after a minute', async () => {
  retiring.publish([idOf(root)]);
  const first = begin();
  await vi.waitFor(() => expect(clock.sleeping).toBe(1));
  clock.advanceTo(at(5));
  await first;
  const second = begin();
  await vi.waitFor(() => expect(clock.sleeping).toBe(1));
  clock.advanceTo(at(64));
  await settled();
  expect(due).toBe(false);
  clock.advanceTo(at(65));
  await second;
});

test('a wait that is aborted leaves nothing behind', async () => {
  const over = new AbortController();
  const waiting = begin(over.signal);
  over.abort(new Error('over'));
  await expect(waiting).rejects.toThrow('over');
  const other = begin(over.signal);
  await expect(other).rejects.toThrow('over');
  retiring.publish([idOf(root)]);
  await settled();
  expect(clock.sleeping).toBe(0);
});

test('one under an authority whose key is revoked is due within two seconds (I100)', async () => {
  const waiting = begin();
  const value = keyNameOf(intermediate.certificate);
  const revoked = { number: 1, target: { kind: 'authority', value }, serials: [], until: undefined } as const;
  revocations.publish(revocationSet([{ ...revoked, reason: 'keyCompromise' }], 2n));
  await settled();
  clock.advanceTo(at(0.9));
  await settled();
  expect(due).toBe(false);
  clock.advanceTo(at(1));
  await waiting;
});

test('an SVID that the CA refuses is due, spread over ten seconds, and not again within a minute', async () => {
  const waiting = begin();
  refused.publish(chain[1] ?? new Uint8Array());
  await settled();
  clock.advanceTo(at(20));
  await settled();
  expect(due).toBe(false);
  refused.publish(chain[0] ?? new Uint8Array());
  await settled();
  clock.advanceTo(at(24));
  await settled();
  expect(due).toBe(false);
  clock.advanceTo(at(25));
  await waiting;
  const again = begin();
  await settled();
  clock.advanceTo(at(84));
  await settled();
  expect(due).toBe(false);
  clock.advanceTo(at(85));
  await again;
});
