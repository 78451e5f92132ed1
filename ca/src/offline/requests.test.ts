/** A CA whose root is offline: when it asks, what it does meanwhile, and what it takes. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { type MemoryKeys, memoryKeys } from '../../../test/kit/ca/authority.ts';
import { offlineRoot } from '../../../test/kit/ca/ceremony.ts';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { memoryStore } from '../../../test/kit/store/memory-store.ts';
import { Authorities } from '../authority/authorities.ts';
import { oneHome } from '../keys/homes.ts';
import { offlineKeys } from '../keys/offline.ts';
import { adoptRoot } from './adopt.ts';
import { openRequests, type Requests } from './requests.ts';

const DAY = 86_400;
const trustDomain = parseTrustDomain('prod.example');
const folder = makeFolder();
afterAll(() => removeFolder(folder));

type Ceremony = Awaited<ReturnType<typeof offlineRoot>>;
let ceremony: Ceremony;
let keys: MemoryKeys;
let made: Awaited<ReturnType<typeof makeCa>>;

async function makeCa() {
  const clock = new ManualClock(NOW);
  const store = await memoryStore(clock);
  await adoptRoot(ceremony.root, { trustDomain, store, clock });
  const { random } = ceremony.order;
  const deps = { trustDomain, rootTtl: 1, intermediateTtl: 1, store, clock, random, log: silentLog };
  const file = join(folder, 'requests', `intermediate-${ceremony.root.serial}.pem`);
  rmSync(file, { force: true });
  const at = { file, folder: join(folder, 'requests') };
  const all = { ...deps, ...at, onList: () => {}, keys: { ...oneHome(offlineKeys), intermediate: keys } };
  const authorities = await Authorities.open(all);
  return { ...all, authorities, requests: openRequests({ ...all, authorities }) };
}
beforeEach(async () => {
  ceremony = await offlineRoot(folder, trustDomain);
  keys = memoryKeys();
  made = await makeCa();
});

/** Lists have a test of their own. */
const intermediates = () => made.requests.known().filter(({ kind }) => kind !== 'crl');
const carried = () => readFileSync(made.file, 'utf8');
const sign = (changes: object = {}) => ceremony.sign(carried(), { now: made.clock.now(), ...changes });
const take = (answer: string, requests: Requests = made.requests) =>
  requests.take(utf8(answer), 'ada', false);
/** With an intermediate of 90 days. */
async function begin(): Promise<void> {
  await made.requests.keepUp();
  await take(await sign());
}
const at = async (days: number): Promise<void> => {
  made.clock.jump(after(days * DAY));
  await made.authorities.refresh();
  await made.requests.keepUp();
};
const types = async () => (await made.store.events(0, 100)).map(({ event }) => event.type);

describe('I169 before the first answer', () => {
  test('nothing is signed, and the root is asked once', async () => {
    expect(made.authorities.canSign).toBe(false);
    const waits = refusal('authority_unfit', /is offline and has signed no intermediate/);
    expect(() => made.authorities.issuer(NOW)).toThrow(waits);
    await made.requests.keepUp();
    await made.requests.keepUp();
    expect((await types()).filter((type) => type === 'authority.requested')).toHaveLength(1);
    expect(intermediates()).toMatchObject([{ madeAt: NOW, until: undefined, pem: carried() }]);
  });

  test('the key of the root is nowhere here', async () => {
    const [root] = await made.store.authorities();
    const place = root?.key ?? { home: '', reference: '' };
    expect(place).toEqual({ home: 'offline', reference: ceremony.root.serial });
    await expect(made.keys.root.load(place)).rejects.toThrow(refusal('key_missing', /ceremony sign/));
  });

  test('a root of another trust domain is not adopted', async () => {
    const { store, clock } = made;
    const other = { trustDomain: 'test.example', store, clock };
    await expect(adoptRoot(ceremony.root, other)).rejects.toThrow(refusal('config', /prod\.example/));
  });
});

describe('an answer', () => {
  test('signs at once; the file is gone, and the log says who imported it', async () => {
    await begin();
    expect(made.authorities.issuer(NOW).certificate.issuer).toEqual(ceremony.root.certificate.subject);
    expect([existsSync(made.file), intermediates()]).toEqual([false, []]);
    expect(await types()).toEqual([
      'authority.adopted',
      'authority.requested',
      'authority.imported',
      'authority.moved',
    ]);
    const events = (await made.store.events(0, 100)).map(({ event }) => event);
    expect(events.at(2)).toMatchObject({ by: 'ada', serial: made.authorities.issuer(NOW).serial });
  });

  test('of a dry run changes nothing', async () => {
    await made.requests.keepUp();
    const answer = await sign();
    await made.requests.take(utf8(answer), 'ada', true);
    expect([made.authorities.canSign, existsSync(made.file)]).toEqual([false, true]);
    await take(answer);
  });

  test('I164 is taken once, also after another request', async () => {
    await made.requests.keepUp();
    const answer = await sign();
    await take(answer);
    await expect(take(answer)).rejects.toThrow(refusal('authority_answer', /imported before/));
    await made.requests.ask('ada');
    await expect(take(answer)).rejects.toThrow(refusal('authority_answer', /imported before/));
  });

  test('I165 to a request that is not open any more is refused', async () => {
    await made.requests.keepUp();
    const [answer, [request]] = [await sign(), await made.store.authorityRequests()];
    const event = { type: 'authority.requestDropped', label: '', root: '' } as const;
    await made.store.dropAuthorityRequest(request?.label ?? '', event);
    await expect(take(answer)).rejects.toThrow(refusal('authority_answer', /no request is open/));
    await made.requests.keepUp();
    await expect(take(answer)).rejects.toThrow(refusal('authority_answer', /another request/));
  });

  test('I165 is refused where the key of the request is not there, or is another one', async () => {
    await made.requests.keepUp();
    const answer = await sign();
    const [label = ''] = keys.signers.keys();
    keys.signers.set(label, ceremony.signer);
    await expect(take(answer)).rejects.toThrow(refusal('key_wrong', /another one/));
    keys.signers.clear();
    await expect(take(answer)).rejects.toThrow(/missing key/);
    expect(made.authorities.canSign).toBe(false);
  });

  test('I165 of two processes that import two answers at once one is refused', async () => {
    await made.requests.keepUp();
    const answer = await sign();
    const ends = await Promise.allSettled([take(answer), take(answer, openRequests(made))]);
    expect(ends.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect((await made.store.authorities()).filter(({ kind }) => kind === 'intermediate')).toHaveLength(1);
  });
});

describe('the next intermediate', () => {
  test('is asked for at half of the life of the one that signs, which goes on to its end', async () => {
    await begin();
    const { serial } = made.authorities.issuer(NOW);
    await at(44);
    expect(intermediates()).toEqual([]);
    await at(46);
    expect(intermediates()).toMatchObject([{ madeAt: after(46 * DAY), until: after(90 * DAY) }]);
    expect(existsSync(made.file)).toBe(true);
    await at(89);
    expect(made.authorities.issuer(made.clock.now()).serial).toBe(serial);
    await at(91);
    expect(() => made.authorities.issuer(made.clock.now())).toThrow(refusal('authority_unfit', /offline/));
    expect(intermediates()).toMatchObject([{ madeAt: after(46 * DAY), until: undefined }]);
    await take(await sign());
    expect(made.authorities.issuer(made.clock.now()).serial).not.toBe(serial);
  });

  test('may be asked for before, and signs as soon as it is there', async () => {
    await begin();
    const { serial } = made.authorities.issuer(NOW);
    const asked = await made.requests.ask('ada');
    expect(await made.requests.ask('ada')).toEqual(asked);
    await take(await sign());
    expect(made.authorities.issuer(NOW).serial).not.toBe(serial);
    const states = (await made.store.authorities()).map(({ kind, state }) => `${kind} ${state}`);
    expect(states.toSorted()).toEqual(['intermediate active', 'intermediate retiring', 'root active']);
  });

  test('the file is written again if it was removed or changed', async () => {
    await made.requests.keepUp();
    const pem = carried();
    rmSync(made.file);
    await made.requests.keepUp();
    expect(carried()).toBe(pem);
    writeFileSync(made.file, 'spoiled');
    await made.requests.keepUp();
    expect(carried()).toBe(pem);
  });

  test('of two processes that ask at once one request is kept, and one key', async () => {
    await Promise.all([made.requests.keepUp(), openRequests(made).keepUp()]);
    expect((await types()).filter((type) => type === 'authority.requested')).toHaveLength(1);
    expect(keys.signers.size).toBe(1);
  });

  test('a process that ends behind the record of an answer: the next one takes it up', async () => {
    await made.requests.keepUp();
    const { store } = made;
    const move = store.moveAuthorities.bind(store);
    store.moveAuthorities = () => Promise.reject(new Error('killed'));
    await expect(take(await sign())).rejects.toThrow('killed');
    store.moveAuthorities = move;
    const again = await Authorities.open(made);
    expect(again.issuer(NOW).certificate.issuer).toEqual(ceremony.root.certificate.subject);
  });
});
