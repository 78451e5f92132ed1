/** What follows from the states in the store alone: the bundle, its number, and who signs. */
import { hash } from 'node:crypto';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { KeyPlace } from '@chancery/shared/keys/home.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { keyIdentifierOf } from '@chancery/shared/x509/extensions.ts';
import { describe, expect, test, vi } from 'vitest';
import { INTERMEDIATE_TTL, makeAuthorities, memoryKeys } from '../../../test/kit/ca/authority.ts';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import type { AuthorityMove, AuthorityRecord, AuthorityState } from '../store/store.ts';
import { Authorities } from './authorities.ts';
import { certify } from './certify.ts';
import { forgetKeys } from './settle.ts';

const HALF = INTERMEDIATE_TTL / 2 - 5;

type Made = Awaited<ReturnType<typeof makeAuthorities>>;

/** The way to each state, one move after another. */
const WAYS: Readonly<Record<AuthorityState, readonly AuthorityState[]>> = {
  prepared: [],
  published: ['published'],
  active: ['published', 'active'],
  retiring: ['published', 'active', 'retiring'],
  removed: ['published', 'removed'],
};

const move = async ({ store }: Made, ...moves: readonly AuthorityMove[]): Promise<void> => {
  expect(await store.moveAuthorities(moves, { type: 'authority.moved', moves })).toBeDefined();
};

async function rootThat(made: Made, state: AuthorityState): Promise<AuthorityRecord> {
  const root = await certify({ kind: 'root', state: 'prepared' }, made, undefined);
  let from: AuthorityState = 'prepared';
  for (const to of WAYS[state]) {
    const active = (await made.store.authorities()).find(
      (each) => each.kind === 'root' && each.state === 'active',
    );
    const aside =
      to === 'active' && active ? [{ serial: active.serial, from: to, to: 'retiring' } as const] : [];
    const back = to === 'retiring' ? [{ serial: made.root.serial, from: to, to: 'active' } as const] : [];
    await move(made, ...aside, { serial: root.serial, from, to }, ...back);
    from = to;
  }
  return root;
}

const serialsOf = (made: Made): readonly string[] =>
  made.authorities.bundle
    .current()
    .authorities.map((der) => Buffer.from(parseCertificate(der).serial).toString('hex'));

describe('the bundle', () => {
  test('has the roots that are published, active or retiring, in one order', async () => {
    const made = await makeAuthorities();
    const roots = new Map<AuthorityState, AuthorityRecord>();
    for (const [n, state] of (['prepared', 'removed', 'retiring', 'published'] as const).entries()) {
      made.clock.jump(after(n + 1));
      roots.set(state, await rootThat(made, state));
    }
    await made.authorities.refresh();
    const expected = [made.root.serial, roots.get('retiring')?.serial, roots.get('published')?.serial];
    expect(serialsOf(made)).toEqual(expected);
    const again = await Authorities.open(made);
    expect(again.bundle.current()).toEqual(made.authorities.bundle.current());
  });

  test('is published with a greater number whenever it changes, and only then', async () => {
    const made = await makeAuthorities();
    const published: bigint[] = [];
    made.authorities.bundle.onChange(({ sequence }) => void published.push(sequence));
    const next = await rootThat(made, 'prepared');
    const [old, serial] = [made.root.serial, next.serial];
    const steps: readonly (readonly AuthorityMove[])[] = [
      [],
      [{ serial, from: 'prepared', to: 'published' }],
      [
        { serial: old, from: 'active', to: 'retiring' },
        { serial, from: 'published', to: 'active' },
      ],
      [{ serial: old, from: 'retiring', to: 'removed' }],
    ];
    const sizes: number[] = [];
    const retiring: (readonly Uint8Array[])[] = [];
    for (const moves of steps) {
      if (moves.length > 0) await move(made, ...moves);
      await made.authorities.refresh();
      sizes.push(made.authorities.bundle.current().authorities.length);
      retiring.push(made.authorities.bundle.current().retiring);
    }
    expect(sizes).toEqual([1, 2, 2, 1]);
    const keyId = keyIdentifierOf(parseCertificate(made.root.certificate).spki, 'certificate_parse');
    expect(retiring).toEqual([[], [], [keyId], []]);
    expect(published).toEqual([2n, 3n, 4n]);
  });

  test('has no smaller number after what was newest in it was taken back', async () => {
    const made = await makeAuthorities();
    const { serial } = await rootThat(made, 'published');
    await made.authorities.refresh();
    expect(made.authorities.bundle.current().sequence).toBe(2n);
    await move(made, { serial, from: 'published', to: 'prepared' });
    await made.authorities.refresh();
    expect(made.authorities.bundle.current()).toMatchObject({
      sequence: 3n,
      authorities: [made.root.certificate],
    });
    expect((await Authorities.open(made)).bundle.current().sequence).toBe(3n);
  });
});

describe('who signs', () => {
  const isUnder = (made: Made, root: AuthorityRecord): boolean => {
    const { certificate } = made.authorities.issuer(made.clock.now());
    return Buffer.from(certificate.issuer).equals(parseCertificate(root.certificate).subject);
  };

  test('is under the active root, through a rotation and back', async () => {
    const made = await makeAuthorities();
    const next = await rootThat(made, 'published');
    await made.authorities.refresh();
    const first = made.authorities.issuer(NOW);
    expect(isUnder(made, made.root)).toBe(true);
    await move(
      made,
      { serial: made.root.serial, from: 'active', to: 'retiring' },
      { serial: next.serial, from: 'published', to: 'active' },
    );
    expect(made.authorities.issuer(NOW)).toBe(first);
    await made.authorities.refresh();
    expect(isUnder(made, next)).toBe(true);
    await move(
      made,
      { serial: next.serial, from: 'active', to: 'retiring' },
      { serial: made.root.serial, from: 'retiring', to: 'active' },
    );
    await made.authorities.refresh();
    expect(made.authorities.issuer(NOW).serial).toBe(first.serial);
  });

  test('is not fit where its root left the bundle, until there is one under another root', async () => {
    const made = await makeAuthorities();
    const next = await rootThat(made, 'published');
    await move(
      made,
      { serial: made.root.serial, from: 'active', to: 'removed' },
      { serial: next.serial, from: 'published', to: 'active' },
    );
    const load = vi.spyOn(made.keys.root, 'load').mockRejectedValue(new Error('token gone'));
    await expect(made.authorities.refresh()).rejects.toThrow(/token gone/);
    expect(serialsOf(made)).toEqual([next.serial]);
    expect(() => made.authorities.issuer(NOW)).toThrow(
      refusal(
        'authority_unfit',
        /^the issuing authority is not valid now: .* does not end at a trusted root/,
      ),
    );
    load.mockRestore();
    await made.authorities.refresh();
    expect(isUnder(made, next)).toBe(true);
  });

  test('keeps the keys of all but removed authorities, and knows all of them as authorities’ keys', async () => {
    const keys = memoryKeys();
    const made = await makeAuthorities({ keys });
    const spare = await rootThat(made, 'prepared');
    const gone = await rootThat(made, 'removed');
    await made.authorities.refresh();
    const issuer = made.authorities.issuer(NOW);
    expect([...keys.signers.keys()].toSorted()).toEqual(
      [made.root.serial, spare.serial, issuer.serial].toSorted(),
    );
    for (const { certificate } of [made.root, spare, gone]) {
      const { spki } = parseCertificate(certificate);
      expect(made.authorities.isAuthorityKey(hash('sha256', spki, 'buffer'))).toBe(true);
    }
  });
});

describe('two processes on one store', () => {
  test('that renew at once agree on who signs, after one more look', async () => {
    const keys = memoryKeys();
    const made = await makeAuthorities({ keys });
    const other = await Authorities.open(made);
    made.clock.jump(after(HALF));
    await Promise.all([made.authorities.refresh(), other.refresh()]);
    const now = made.clock.now();
    await made.authorities.refresh();
    await other.refresh();
    expect(made.authorities.issuer(now).serial).toBe(other.issuer(now).serial);
    const intermediates = (await made.store.authorities()).filter(({ kind }) => kind === 'intermediate');
    expect(intermediates.filter(({ state }) => state === 'active')).toHaveLength(1);
    // Each has a record, and so an end: no key is left behind.
    expect([...keys.signers.keys()].toSorted()).toEqual(
      [made.root, ...intermediates].map(({ serial }) => serial).toSorted(),
    );
  });

  test('see what the other did', async () => {
    const made = await makeAuthorities();
    const other = await Authorities.open(made);
    made.clock.jump(after(HALF));
    await made.authorities.refresh();
    await other.refresh();
    const now = made.clock.now();
    expect(other.issuer(now).serial).toBe(made.authorities.issuer(now).serial);
    await rootThat(made, 'published');
    await other.refresh();
    expect(other.bundle.current()).toMatchObject({ sequence: 2n, authorities: { length: 2 } });
  });

  test('of which one moves the authorities whenever the other looks do not try for ever', async () => {
    const made = await makeAuthorities();
    made.clock.jump(after(HALF));
    vi.spyOn(made.store, 'moveAuthorities').mockResolvedValue(undefined);
    await expect(made.authorities.refresh()).rejects.toThrow(
      refusal('store', /^other processes changed the authorities at the same time; try again$/),
    );
    expect(await made.store.authorities()).toHaveLength(3);
  });
});

test('a home that does not answer for a key that nobody needs is asked once a look, and told of', async () => {
  const { keys, authorities, store } = await makeAuthorities();
  const [root, intermediate] = [await store.authorities()].flatMap((all) => [
    all.find(({ kind }) => kind === 'root'),
    all.find(({ kind }) => kind === 'intermediate'),
  ]);
  if (root === undefined || intermediate === undefined) throw new Error('no authorities');
  expect(authorities.inUse()).toHaveLength(2);
  const removed = (serial: string, home: string) => ({
    ...intermediate,
    serial,
    state: 'removed' as const,
    key: { home, reference: serial },
  });
  const has = vi.fn(async ({ home }: { home: string }) => {
    if (home === 'away') throw new Error('no token');
    return false;
  });
  const intermediates = { ...keys.intermediate, has };
  const forgotten = new Set<string>();
  const records = [root, removed('aa', 'away'), removed('ab', 'away'), removed('ac', 'memory')];
  const homes = { ...keys, intermediate: intermediates };
  expect(String(await forgetKeys(records, homes, forgotten))).toBe('Error: no token');
  expect([[...forgotten], has.mock.calls.length]).toEqual([['ac'], 2]);
  has.mockImplementation(async () => false);
  expect(await forgetKeys(records, homes, forgotten)).toBeUndefined();
  expect([...forgotten].toSorted()).toEqual(['aa', 'ab', 'ac']);
});

test('a CA that is ended between two transitions goes on from there', async () => {
  const keys = memoryKeys();
  const made = await makeAuthorities({ keys });
  made.clock.jump(after(HALF));
  const moving = vi.spyOn(made.store, 'moveAuthorities').mockRejectedValueOnce(new Error('killed'));
  await expect(made.authorities.refresh()).rejects.toThrow(/killed/);
  moving.mockRestore();
  const now = made.clock.now();
  const [prepared] = (await made.store.authorities()).filter(({ state }) => state === 'prepared');
  expect((await Authorities.open(made)).issuer(now).serial).toBe(prepared?.serial);
  expect(keys.signers.size).toBe(3);
});

test('a record whose algorithm is not that of the key is refused', async () => {
  const made = await makeAuthorities();
  const stored = await made.store.authorities();
  const authorities = stored.map((each) => ({ ...each, algorithm: 'ecdsa-p384' as const }));
  vi.spyOn(made.store, 'allAuthorities').mockResolvedValue({ authorities, jwtKeys: [] });
  await expect(Authorities.open(made)).rejects.toThrow(
    refusal('key_wrong', /^the key of authority \w+ is another one$/),
  );
});

test('I322 a root whose home lets nobody sign with it costs no new key at each look, and what signed goes on', async () => {
  const home = memoryKeys();
  let isDenied = false;
  const load = async (place: KeyPlace): Promise<Signer> => {
    const signer = await home.load(place);
    const sign = () => Promise.reject(new IdentityError('key_refused', 'AWS KMS does not allow kms:Sign'));
    return isDenied ? { ...signer, sign } : signer;
  };
  const create = vi.fn(home.create);
  const keys = { ...home, root: { ...home.root, load }, intermediate: { ...home.intermediate, create } };
  const made = await makeAuthorities({ keys });
  create.mockClear();
  const { serial } = made.authorities.issuer(made.clock.now());
  isDenied = true;
  made.clock.jump(after(HALF + 60));
  for (let look = 0; look < 5; look += 1)
    await expect(made.authorities.refresh()).rejects.toThrow(refusal('key_refused', /kms:Sign/));
  expect(create).not.toHaveBeenCalled();
  expect(made.authorities.issuer(made.clock.now()).serial).toBe(serial);
  isDenied = false;
  await made.authorities.refresh();
  expect(create).toHaveBeenCalledOnce();
});
