import { LiveValue } from '@chancery/shared/ground/source.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeAuthorities } from '../../../test/kit/ca/authority.ts';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { memoryStore } from '../../../test/kit/store/memory-store.ts';
import { authority, issuance } from '../../../test/kit/store/records.ts';
import type { Issuance, Store } from '../store/store.ts';
import { type AuditDeps, auditVerbs } from './audit.ts';

const SERIAL = '40231f0be537b1f565b7feff8280814c';
const genuine: Issuance = { ...issuance, serial: SERIAL, issuer: '40bb' };
let store: Store;
let verbs: ReturnType<typeof auditVerbs>;
beforeEach(async () => {
  const clock = new ManualClock(NOW);
  store = await memoryStore(clock);
  const acting = { type: 'operator.acting', verb: 'init', about: 'root', by: 'x' } as const;
  await store.saveAuthority({ ...authority, serial: '40ff' }, acting);
  for (const [serial, to] of [
    ['40bb', 'active'],
    ['40cc', 'removed'],
  ] as const) {
    await store.saveAuthority({ ...authority, serial, kind: 'intermediate', state: 'prepared' }, acting);
    await store.moveAuthorities([{ serial, from: 'prepared', to }], acting);
  }
  const identities = [{ name: 'web', canGive: (id: string) => id === issuance.id }];
  const sets = new LiveValue<unknown>(() => new TypeError('none'), { identities });
  const authorities = { bundle: { current: () => ({ trustDomain: 'prod.example' }) } };
  verbs = auditVerbs({ store, clock, ownUid: 0, registry: { sets }, authorities } as unknown as AuditDeps);
});
afterEach(() => store.close());

const record = (made: Issuance, told: object = {}) => {
  const { id, serial, platform, node, identity } = made;
  const about = { id, serial, platform, node, identity, notAfter: made.notAfter.toISOString(), tbs: 'ab' };
  return store.record(made, { type: 'svid.issuing', ...about, ...told });
};
const problems = async () => {
  const asker = { address: 'x', local: { uid: 0, ensureStillThere: () => {} } };
  const { checked, problems: found, next } = await verbs.checkCertificates(asker)(undefined);
  // The authorities of this store have no certificates; what is said of them is tested where they have.
  const own = found.filter(({ id }) => id !== 'spiffe://prod.example');
  return [checked, next, ...own.map(({ problem }) => problem)];
};

test.each<[string, Partial<Issuance>, object, RegExp | undefined]>([
  ['nothing', {}, {}, undefined],
  ['an issuer that is not on record', { issuer: '40dd' }, {}, /issuer 40dd is not on record/],
  ['a root as its issuer', { issuer: '40ff' }, {}, /is a root/],
  ['an end after that of its issuer', { notAfter: after(7200) }, {}, /ends after its issuer/],
  ['a beginning after its end', { notBefore: after(61) }, {}, /never valid/],
  ['an Identity that is gone', { identity: 'old' }, {}, /Identity\/old is not there any more/],
  [
    'a SPIFFE ID of another Identity',
    { id: parseSpiffeId('spiffe://prod.example/x') },
    {},
    /gives other SPIFFE IDs/,
  ],
  [
    'another SPIFFE ID in the log',
    {},
    { id: 'spiffe://prod.example/x' },
    /has another id: spiffe:\/\/prod.example\/x/,
  ],
  ['another node in the log', {}, { node: 'b' }, /has another node: b/],
  ['another end in the log', {}, { notAfter: '2030-01-01T00:00:00.000Z' }, /has another notAfter: 2030/],
  ['no entry in the log', {}, { serial: '40231f0be537b1f565b7feff8280814d' }, /has 0 entries of its issuing/],
])('of a certificate with %s is said what is wrong', async (_, changes, told, says) => {
  await record({ ...genuine, ...changes }, told);
  for (const indexed of [false, true]) {
    if (indexed) await store.indexEvents(100);
    expect(await problems()).toEqual([
      1,
      undefined,
      ...(says === undefined ? [] : [expect.stringMatching(says)]),
    ]);
  }
});

test('I316 a node whose name looks like a secret is no finding, and the log has its name', async () => {
  const node = '123456789012/assumed-role/build/xoxb-build-17-of-main';
  await record({ ...genuine, node });
  expect(await problems()).toEqual([1, undefined]);
  expect((await store.events(0, 99)).at(-1)?.event).toMatchObject({ type: 'svid.issuing', node });
});

test('a certificate of the CA itself needs no Identity, and one that was not signed is named', async () => {
  await record({ ...genuine, platform: 'self', identity: 'chancery-ca' });
  expect(await problems()).toEqual([1, undefined]);
  await store.append({ type: 'svid.failed', serial: SERIAL, detail: 'x' });
  expect(await problems()).toEqual([1, undefined, 'the audit log says that it was not signed']);
});

test('of a log that was pruned a certificate from before is not called missing, and a later one is', async () => {
  await record(genuine, { serial: '40231f0be537b1f565b7feff8280814d' });
  vi.spyOn(store, 'pruning').mockResolvedValue({ ...(await store.pruning()), entries: 65_536 });
  const at = (seconds: number) => ({
    found: [{ text: JSON.stringify({ at: after(seconds).toISOString() }) }],
    ...{ place: undefined, more: false },
  });
  vi.spyOn(store, 'search').mockResolvedValueOnce(at(1) as never);
  expect(await problems()).toEqual([1, undefined]);
  vi.spyOn(store, 'search').mockResolvedValueOnce(at(-1) as never);
  expect(await problems()).toEqual([1, undefined, 'the audit log has 0 entries of its issuing']);
});

describe('of a certificate whose issuer was removed', () => {
  const acting = { type: 'operator.acting', verb: 'x', about: 'x', by: 'x' } as const;
  const removed = { serial: '40bb', from: 'active', to: 'removed' } as const;
  const key = { kind: 'authority', value: 'ab'.repeat(32) } as const;
  const draft = { target: key, reason: 'keyCompromise', by: 'x', until: undefined } as const;

  test('is said that it was', async () => {
    await record(genuine);
    await store.moveAuthorities([removed], acting);
    expect(await problems()).toEqual([1, undefined, 'its issuer 40bb was removed']);
  });

  test("is said nothing if it is the CA's own, for which no removal waits", async () => {
    await record({ ...genuine, platform: 'self', identity: 'chancery-ca' });
    await store.moveAuthorities([removed], acting);
    expect(await problems()).toEqual([1, undefined]);
  });

  test('is said nothing if that was tainted: the certificate is refused', async () => {
    await record(genuine);
    await store.taintAuthority({ authority: '40bb', moves: [removed], draft }, acting);
    expect(await problems()).toEqual([1, undefined]);
  });

  test('is said nothing if the root above was tainted', async () => {
    const { store: real, authorities } = await makeAuthorities();
    const { serial } = authorities.issuer(NOW);
    const records = (await real.authorities()).map((each) => ({
      ...each,
      ...({ state: 'removed', taintedAt: each.kind === 'root' ? NOW : undefined } as const),
    }));
    await record(genuine);
    const issued = await store.issuance(SERIAL);
    vi.spyOn(store, 'issuance').mockResolvedValue(issued && { ...issued, issuer: serial });
    vi.spyOn(store, 'authorities').mockResolvedValue(records);
    expect(await problems()).toEqual([1, undefined]);
  });
});

test('I172 what is looked for byte by byte is short', async () => {
  const asker = { address: 'x', local: { uid: 0, ensureStillThere: () => {} } };
  const query = { decision: undefined, since: 0, until: 9e15, place: undefined, backwards: false, limit: 1 };
  const ask = (words: readonly string[], text: string) => verbs.audit(asker)({ ...query, words, text });
  await ask([`spiffe://prod.example/${'a'.repeat(2000)}`, 'a'.repeat(64)], 'a'.repeat(256));
  await expect(ask(['a'.repeat(65)], '')).rejects.toThrow(refusal('message_parse', /^at most 8 words/));
  await expect(ask([], 'a'.repeat(257))).rejects.toThrow(refusal('message_parse', /^text is at most 256/));
});
