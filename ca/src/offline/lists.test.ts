/** The revocation list of an offline root: asked for, signed by a ceremony, taken, and in force among the others. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPem, writePem } from '@chancery/shared/der/pem.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { writeCrlTbs } from '@chancery/shared/x509/compose/crl.ts';
import { assembleCertificate } from '@chancery/shared/x509/compose/tbs.ts';
import { type Crl, crlEntries, parseCrl } from '@chancery/shared/x509/crl.ts';
import { keyIdentifierOf } from '@chancery/shared/x509/extensions.ts';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeOfflineCa, type OfflineCa } from '../../../test/kit/ca/offline-ca.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { CRL_LABEL, planListing, signList } from '../ceremony/list.ts';
import { startCrls } from '../crl/crls.ts';
import { importedList } from '../crl/imported.ts';

const DAY = 86_400;
const folder = makeFolder();
afterAll(() => removeFolder(folder));

let ca: OfflineCa;
beforeEach(async () => {
  ca = await makeOfflineCa(folder);
  await ca.become(ca.first);
});

const now = () => ca.rpc.clock.now();
const asked = async () => {
  await ca.requests.keepUp();
  return ca.requests.known().find(({ kind }) => kind === 'crl');
};
async function signed(request?: string): Promise<string> {
  const { dir, root, signer } = ca.first;
  const bytes = utf8(request ?? (await asked())?.pem ?? '');
  return signList(planListing({ dir, root, request: bytes, now: now() }), signer);
}
const take = (pem: string, dryRun = false) => ca.requests.take(utf8(pem), ca.by, dryRun);
const read = (pem: string): Crl => parseCrl(readPem(pem, CRL_LABEL, 'internal')[0] ?? new Uint8Array());
const serials = (pem: string) => [...crlEntries(read(pem))].map(({ serial }) => serial);
/** Another intermediate signs, and the one before is tainted. */
async function replaced(): Promise<string> {
  const old = ca.rpc.authorities.issuer(now()).serial;
  await ca.requests.ask(ca.by);
  await ca.take(await ca.signed(ca.first));
  await ca.rotation.taint({ authority: old, reason: 'stolen', dryRun: false }, ca.by);
  return old;
}
/** As the key of the root can sign, and the ceremony does not. */
async function listOf(changes: Partial<Parameters<typeof writeCrlTbs>[0]>, by = ca.first): Promise<string> {
  const { root, signer } = by;
  const { subject: issuer, spki } = root.certificate;
  const [thisUpdate, nextUpdate] = [now(), new Date(now().getTime() + DAY * 1000)];
  const keyId = keyIdentifierOf(spki, 'internal');
  const fields = { issuer, keyId, number: 2n ** 64n, thisUpdate, nextUpdate, entries: new Uint8Array() };
  const tbs = writeCrlTbs({ ...fields, ...changes }, root.algorithm);
  return writePem(CRL_LABEL, assembleCertificate(tbs, root.algorithm, await signer.sign(tbs)));
}

describe('a list', () => {
  test('is asked for at once, the same until it is answered, and not after that before half of its life', async () => {
    const first = await asked();
    expect(first).toMatchObject({ holds: 'list', until: undefined, root: ca.first.root.serial });
    ca.passes(DAY);
    expect((await asked())?.pem).toBe(first?.pem);
    const answer = await signed();
    expect(await take(answer, true)).toMatchObject({ kind: 'crl', serial: ca.first.root.serial });
    expect(await asked()).toBeDefined();
    await take(answer);
    expect(await asked()).toBeUndefined();
    ca.passes(80 * DAY);
    expect(await asked()).toBeUndefined();
    ca.passes(10 * DAY);
    const next = await asked();
    expect(next?.until).toEqual(read(answer).nextUpdate);
    const second = await signed();
    expect(read(second).number).toBeGreaterThan(read(answer).number);
    await take(second);
  });

  test('that nobody fetched for a year is asked for as one that is valid', async () => {
    ca.passes(400 * DAY);
    const answer = await signed();
    expect(read(answer).nextUpdate.getTime()).toBeGreaterThan(now().getTime() + 80 * DAY * 1000);
    await take(answer);
  });

  test('names an intermediate that was tainted, and grows in number also within one second', async () => {
    const before = await signed();
    await take(before);
    const gone = await replaced();
    const answer = await signed();
    expect(serials(answer)).toEqual([gone]);
    await take(answer);
    expect(read(answer).number).toBeGreaterThan(read(before).number);
    expect(await asked()).toBeUndefined();
  });

  test('is served among the others as soon as it is taken, and not after its end; openssl verifies it', async () => {
    const { rpc } = ca;
    const crls = startCrls({ ...rpc, clock: rpc.clock, ttl: 3600, log: silentLog });
    const own = () => crls.lists.current().find(({ kind }) => kind === 'root');
    await vi.waitFor(() => expect(crls.lists.has()).toBe(true));
    expect(own()).toBeUndefined();
    const answer = await signed();
    await take(answer);
    crls.wake();
    await vi.waitFor(() => {
      ca.rpc.clock.advanceTo(new Date(now().getTime() + 300));
      expect(own()?.der).toEqual(read(answer).der);
    });
    await crls.close();
    const [held, issuer] = [await rpc.store.rootCrls(), own()];
    if (issuer === undefined) throw new Error('no list');
    expect(importedList(issuer, held, now())).toBeDefined();
    expect(importedList(issuer, held, issuer.nextUpdate)).toBeUndefined();
    expect(importedList(issuer, held, new Date(issuer.thisUpdate.getTime() - 1))).toBeUndefined();
    const [list, root] = [join(folder, 'list.pem'), join(ca.first.dir, 'root.pem')];
    writeFileSync(list, answer);
    const says = execFileSync('openssl', ['crl', '-in', list, '-CAfile', root, '-verify', '-noout'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    expect(says).toBe('');
  });
});

describe('I189 what comes back in place of the list', () => {
  test.each<[string, (pem: string) => string | Promise<string>, RegExp]>([
    ['with trailing bytes', (pem) => `${pem}x`, /more than PEM blocks/],
    ['twice', (pem) => pem + pem, /2 PEM blocks/],
  ])('%s is refused', async (_, spoil, says) => {
    const answer = await signed();
    await expect(take(await spoil(answer))).rejects.toThrow(refusal('authority_answer', says));
    await take(answer);
  });

  test('a list with a bent signature, of another root, that has ended or is yet to come is refused', async () => {
    const bent = Buffer.from(read(await signed()).der);
    bent[bent.length - 1] = (bent.at(-1) ?? 0) ^ 1;
    await expect(take(writePem(CRL_LABEL, bent))).rejects.toThrow(refusal('crl', /signature/));
    const foreign = refusal('authority_answer', /no offline root in the bundle/);
    await expect(take(await listOf({}, ca.second))).rejects.toThrow(foreign);
    await ca.to(ca.second);
    await ca.back();
    await expect(take(await listOf({}, ca.second))).rejects.toThrow(foreign);
    const early = { thisUpdate: new Date(now().getTime() + 60_000) };
    await expect(take(await listOf(early))).rejects.toThrow(refusal('crl', /yet to come/));
    const late = { thisUpdate: new Date(0), nextUpdate: now() };
    await expect(take(await listOf(late))).rejects.toThrow(refusal('crl', /ended/));
    await take(await listOf({}));
  });

  test('one that was imported before, or an older one, is refused', async () => {
    const older = await signed();
    await take(older);
    await expect(take(older)).rejects.toThrow(refusal('authority_answer', /imported before/));
    await take(await listOf({}));
    await expect(take(older)).rejects.toThrow(refusal('crl', /older/));
  });

  test('one that revokes the intermediate that signs is refused', async () => {
    const gone = await replaced();
    const answer = await signed();
    expect(serials(answer)).toEqual([gone]);
    const entries = Buffer.from(read(answer).entries);
    const signs = ca.rpc.authorities.issuer(now()).serial;
    const at = entries.indexOf(Buffer.from(gone, 'hex'));
    Buffer.from(signs, 'hex').copy(entries, at);
    await expect(take(await listOf({ entries }))).rejects.toThrow(
      refusal('authority_answer', /revokes intermediate [0-9a-f]+, which is active here/),
    );
  });

  test('of two processes that import two lists at once the store keeps the newer', async () => {
    const [a, b] = [await listOf({ number: 2n ** 65n }), await listOf({ number: 2n ** 66n })];
    await Promise.allSettled([take(a), take(b)]);
    expect((await ca.rpc.store.rootCrls())[0]?.number).toBe(2n ** 66n);
    const event = { type: 'authority.requestDropped', label: '', root: '' } as const;
    const root = ca.first.root.serial;
    expect(await ca.rpc.store.saveRootCrl({ root, number: 5n, der: Buffer.of(1) }, event)).toBe(false);
  });
});
