/** Rotations away from an offline root and to one: what is carried is signed by real roots in folders of their own. */
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { vouchedRoots } from '@chancery/shared/voucher/voucher.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { offlineRoot } from '../../../test/kit/ca/ceremony.ts';
import { makeOfflineCa, type Offline, type OfflineCa } from '../../../test/kit/ca/offline-ca.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { newLogKey, proofsOf } from '../../../test/kit/voucher.ts';
import { openRotation } from './rotation.ts';

const DAY = 86_400;
const folder = makeFolder();
afterAll(() => removeFolder(folder));

let ca: OfflineCa;
let [first, second] = [] as unknown as [Offline, Offline];
beforeEach(async () => {
  ca = await makeOfflineCa(folder);
  ({ first, second } = ca);
});

/** What an agent that trusts `known` alone learns from the audit log. */
async function learnt(known: Uint8Array): Promise<readonly Uint8Array[]> {
  const events = (await ca.rpc.store.events(0, 1000)).map(({ event }) => JSON.stringify(event));
  const log = newLogKey(ca.rpc.trustDomain);
  const about = { trustDomain: ca.rpc.trustDomain, key: log.verifier, activeOnly: true };
  return vouchedRoots([known], await proofsOf(events, log), about);
}

describe('to an offline root', () => {
  test('waits for its intermediate, and goes on when that is imported', async () => {
    const old = ca.rpc.root.serial;
    expect((await ca.to(first)).waits).toEqual([
      expect.stringMatching(`root ${first.root.serial} is offline, and has to sign an intermediate`),
    ]);
    await expect(ca.next()).rejects.toThrow(
      refusal('rotation', /has to sign an intermediate: carry the request/),
    );
    const everybody = { everybody: true, reason: 'at once' };
    await expect(ca.next(everybody)).rejects.toThrow(refusal('rotation', /is offline/));
    const imported = await ca.take(await ca.signed(first));
    expect(imported).toMatchObject({ kind: 'intermediate', signs: false });
    // The old root, and what is under it, signs until the step.
    const record = (await ca.rpc.store.authorities()).find(({ serial }) => serial === imported.serial);
    expect(record?.state).toBe('prepared');
    expect((await ca.active()) === old).toBe(true);
    await ca.next();
    expect(await ca.states()).toEqual({ [old]: 'retiring', [first.root.serial]: 'active' });
    const { chain } = await ca.certificate();
    const bundle = ca.rpc.authorities.bundle.current();
    expect(verifySvid(chain, bundle, ca.rpc.clock.now()).id).toBe('spiffe://prod.example/web');
    expect(ca.rpc.authorities.issuer(ca.rpc.clock.now()).serial).toBe(imported.serial);
    expect(await learnt(ca.rpc.root.certificate)).toEqual([first.root.certificate.der]);
    await ca.next();
    expect(await ca.states()).toEqual({ [old]: 'removed', [first.root.serial]: 'active' });
  });

  test('is refused for the root of another CA, a root of before, and beside another rotation', async () => {
    const other = await offlineRoot(folder, 'test.example' as typeof ca.rpc.trustDomain);
    await expect(ca.to(other)).rejects.toThrow(refusal('config', /test\.example/));
    await ca.to(first);
    await expect(ca.to(second)).rejects.toThrow(refusal('rotation', /under way/));
    await ca.back();
    await expect(ca.to(first, true)).rejects.toThrow(refusal('rotation', /a new root has a new key/));
    expect(await ca.stage()).toBe('idle');
  });

  test('is taken back: published or retiring, and its request is dropped', async () => {
    await ca.to(first);
    await ca.signed(first);
    await ca.back();
    await ca.requests.keepUp();
    expect([await ca.stage(), ca.requests.known()]).toEqual(['idle', []]);
    expect(await ca.rpc.store.authorityRequests()).toEqual([]);
    await ca.to(second);
    await ca.take(await ca.signed(second));
    await ca.next();
    expect((await ca.back()).stage).toBe('retiring');
    expect(await ca.active()).toBe(ca.rpc.root.serial);
    expect((await ca.next()).stage).toBe('idle');
    expect(await ca.active()).toBe(ca.rpc.root.serial);
  });
});

describe('away from an offline root', () => {
  beforeEach(async () => {
    await ca.become(first);
    expect(await ca.states()).toMatchObject({ [first.root.serial]: 'active' });
  });

  test('to one that the CA makes: waits for its word, which is in the log of both steps', async () => {
    expect(await ca.rotation.start(ca.by, true)).toMatchObject({ stage: 'idle' });
    const begun = await ca.rotation.start(ca.by, false);
    expect(begun).toMatchObject({
      stage: 'prepared',
      waits: [expect.stringMatching(/has to vouch for root/)],
    });
    await expect(ca.to(second)).rejects.toThrow(refusal('rotation', /under way \(prepared\)/));
    // Typed again it is the same rotation.
    expect((await ca.rotation.start(ca.by, false)).other?.serial).toBe(begun.other?.serial);
    await expect(ca.next()).rejects.toThrow(refusal('rotation', /has to vouch/));
    const answer = await ca.vouched(first);
    expect((await ca.takeVoucher(answer, true)).serial).toBe(begun.other?.serial);
    expect(await ca.stage()).toBe('prepared');
    await ca.takeVoucher(answer);
    expect(await ca.stage()).toBe('published');
    await ca.next();
    expect(await learnt(first.root.certificate.der)).toEqual([begun.other?.certificate]);
    ca.passes(3600);
    expect((await ca.next()).stage).toBe('idle');
    expect(await ca.active()).toBe(begun.other?.serial);
  });

  test('to another offline one, and on to a third by its word', async () => {
    await ca.to(second);
    await ca.requests.keepUp();
    expect(ca.requests.known().map(({ kind }) => kind)).toEqual(['intermediate', 'voucher', 'crl']);
    // Both are carried on one way.
    await ca.take(await ca.signed(second));
    await ca.takeVoucher(await ca.vouched(first));
    await ca.next();
    expect(await ca.active()).toBe(second.root.serial);
    ca.passes(3600);
    await ca.next();
    const { other } = await ca.rotation.start(ca.by, false);
    await ca.takeVoucher(await ca.vouched(second));
    await ca.next();
    ca.passes(3600);
    await ca.next();
    expect(await ca.active()).toBe(other?.serial);
    expect(await learnt(first.root.certificate.der)).toEqual([
      second.root.certificate.der,
      other?.certificate,
    ]);
  });

  test('is taken back from each state; while retiring it signs by its last intermediate', async () => {
    await ca.rotation.start(ca.by, false);
    expect((await ca.back()).stage).toBe('idle');
    await ca.rotation.start(ca.by, false);
    await ca.takeVoucher(await ca.vouched(first));
    expect((await ca.back()).stage).toBe('idle');
    await ca.rotation.start(ca.by, false);
    await ca.takeVoucher(await ca.vouched(first));
    await ca.next();
    await ca.back();
    expect(await ca.active()).toBe(first.root.serial);
    expect((await ca.certificate()).chain).toHaveLength(2);
  });

  test('cannot be taken back once no intermediate of it is valid, and says so', async () => {
    await ca.rotation.start(ca.by, false);
    await ca.takeVoucher(await ca.vouched(first));
    await ca.next();
    ca.passes(100 * DAY);
    await expect(ca.back()).rejects.toThrow(
      refusal('rotation', /offline, and no intermediate of it is valid/),
    );
  });

  test('a process that ends behind any step: the next one goes on from the records', async () => {
    await ca.rotation.start(ca.by, false);
    const answer = await ca.vouched(first);
    const move = ca.rpc.store.moveAuthorities.bind(ca.rpc.store);
    ca.rpc.store.moveAuthorities = () => Promise.reject(new Error('killed'));
    await expect(ca.takeVoucher(answer)).rejects.toThrow('killed');
    ca.rpc.store.moveAuthorities = move;
    const again = openRotation(ca.deps);
    expect((await again.status()).stage).toBe('prepared');
    await again.takeVoucher(utf8(answer), ca.by, false);
    expect((await openRotation(ca.deps).status()).stage).toBe('published');
  });

  test('of two processes that take a voucher at once one moves', async () => {
    await ca.rotation.start(ca.by, false);
    const answer = await ca.vouched(first);
    const other = openRotation(ca.deps);
    const ends = await Promise.allSettled([
      ca.takeVoucher(answer),
      other.takeVoucher(utf8(answer), ca.by, false),
    ]);
    expect(ends.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  test('a standby root needs its word as well', async () => {
    await ca.rotation.standBy(ca.by, false);
    expect((await ca.rotation.status()).standby).toBeUndefined();
    await ca.takeVoucher(await ca.vouched(first));
    const { standby, stage: at } = await ca.rotation.status();
    expect([standby?.state, at]).toEqual(['published', 'idle']);
  });
});
