/** Authorities whose key is stolen while a root is offline: what there must be before, and what is said if it is not. */
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { makeOfflineCa, type OfflineCa } from '../../../test/kit/ca/offline-ca.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));

let ca: OfflineCa;
beforeEach(async () => {
  ca = await makeOfflineCa(folder);
  await ca.become(ca.first);
});

const taint = (authority: string, dryRun = false) =>
  ca.rotation.taint({ authority, reason: 'stolen', dryRun }, ca.by);
const issuer = () => ca.rpc.authorities.issuer(ca.rpc.clock.now());
const all = async () =>
  JSON.stringify((await ca.rpc.store.authorities()).map(({ serial, state }) => [serial, state]));
/** Refused with this sentence, also by a dry run, and nothing is changed. */
async function refused(authority: string, says: RegExp): Promise<void> {
  const before = await all();
  for (const dryRun of [true, false])
    await expect(taint(authority, dryRun)).rejects.toThrow(refusal('rotation', says));
  expect(await all()).toBe(before);
}

describe('I187 an intermediate under an offline root', () => {
  test('is not tainted before there is another one, and then at once', async () => {
    const stolen = issuer().serial;
    await refused(
      stolen,
      /has signed no intermediate but the one that goes.*authorities request, ceremony sign/,
    );
    await ca.requests.ask(ca.by);
    await ca.take(await ca.signed(ca.first));
    const signs = issuer().serial;
    expect(signs).not.toBe(stolen);
    expect(await taint(stolen, true)).toMatchObject({ revocation: undefined });
    const report = await taint(stolen);
    expect(report.revocation?.target).toMatchObject({ kind: 'authority' });
    expect(issuer().serial).toBe(signs);
    const { chain } = await ca.certificate();
    expect(verifySvid(chain, ca.rpc.authorities.bundle.current(), ca.rpc.clock.now()).serial).not.toBe('');
  });

  test('the one that signs goes where one of before is valid, which signs again', async () => {
    const before = issuer().serial;
    await ca.requests.ask(ca.by);
    await ca.take(await ca.signed(ca.first));
    await taint(issuer().serial);
    expect(issuer().serial).toBe(before);
  });
});

describe('I187 an offline root', () => {
  test('without another root: it says what to bring, and goes once that is there', async () => {
    const stolen = ca.first.root.serial;
    await refused(
      stolen,
      /no other root is in the bundle.*cannot vouch.*carry the voucher request.*lost, make a new CA/,
    );
    const { other } = await ca.rotation.start(ca.by, false);
    await refused(stolen, /no other root is in the bundle/);
    await ca.takeVoucher(await ca.vouched(ca.first));
    expect((await taint(stolen)).root?.serial).toBe(other?.serial);
    expect(await ca.states()).toMatchObject({ [stolen]: 'removed', [other?.serial ?? '']: 'active' });
    await ca.certificate();
  });

  test('with a standby root at hand goes in one step, and its key vouches for nobody any more', async () => {
    await ca.rotation.standBy(ca.by, false);
    await ca.takeVoucher(await ca.vouched(ca.first));
    const spare = (await ca.rotation.status()).standby;
    const stolen = ca.first.root.serial;
    expect((await taint(stolen, true)).root?.serial).toBe(spare?.serial);
    await taint(stolen);
    expect(await ca.active()).toBe(spare?.serial);
    expect(ca.rpc.authorities.bundle.current().authorities).toHaveLength(1);
    // What it had been asked for meanwhile is dropped.
    await ca.requests.keepUp();
    expect(ca.requests.known()).toEqual([]);
  });

  test('with a standby root whose key is away: it says which folder to bring', async () => {
    await ca.rotation.standBy(ca.by, false);
    await ca.takeVoucher(await ca.vouched(ca.first));
    const spare = (await ca.rotation.status()).standby;
    (ca.rpc.keys as unknown as { signers: Map<string, unknown> }).signers.delete(spare?.key.reference ?? '');
    await refused(ca.first.root.serial, /bring the folder of the standby key back into dataDir/);
  });

  test('to which a rotation goes: the published one takes its place only with an intermediate', async () => {
    await ca.to(ca.second);
    await ca.takeVoucher(await ca.vouched(ca.first));
    await refused(ca.first.root.serial, /root [0-9a-f]+ is offline, and has signed no intermediate/);
    await ca.take(await ca.signed(ca.second));
    await taint(ca.first.root.serial);
    expect(await ca.active()).toBe(ca.second.root.serial);
    await ca.certificate();
  });

  test('its word that was given before counts no more once it is tainted', async () => {
    const { other } = await ca.rotation.start(ca.by, false);
    const answer = await ca.vouched(ca.first);
    await ca.rotation.standBy(ca.by, false);
    const wanted = (await ca.rpc.store.authorities()).find(({ standby }) => standby === true);
    expect(wanted?.state).toBe('prepared');
    await ca.takeVoucher(answer);
    await ca.next();
    await taint(ca.first.root.serial);
    expect(await ca.active()).toBe(other?.serial);
    await expect(ca.takeVoucher(answer)).rejects.toThrow(refusal('authority_answer', /not of root/));
  });
});
