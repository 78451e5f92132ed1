import { hash } from 'node:crypto';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { verifyPath } from '@chancery/shared/x509/verify/path.ts';
import { describe, expect, test, vi } from 'vitest';
import {
  INTERMEDIATE_TTL,
  makeAuthorities,
  makeRoot,
  memoryKeys,
  ROOT_TTL,
} from '../../../test/kit/ca/authority.ts';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { memoryStore } from '../../../test/kit/store/memory-store.ts';
import { Authorities } from './authorities.ts';
import { certify, certifyStandby, createRoot } from './certify.ts';

/** Counts the path checks. */
vi.mock(import('@chancery/shared/x509/verify/path.ts'), async (original) => {
  const actual = await original();
  return { ...actual, verifyPath: vi.fn(actual.verifyPath) };
});

const HALF = INTERMEDIATE_TTL / 2 - 5;

describe('the path of the issuing certificate', () => {
  test('is checked once a second', async () => {
    const { authorities } = await makeAuthorities();
    const checked = (now: Date): number => {
      vi.mocked(verifyPath).mockClear();
      authorities.issuer(now);
      return vi.mocked(verifyPath).mock.calls.length;
    };
    expect([NOW, NOW, after(0.9), after(1), after(1)].map(checked)).toEqual([1, 0, 0, 1, 0]);
  });

  test('is checked again in the same second where the bundle has lost its root', async () => {
    const { authorities, store } = await makeAuthorities();
    expect(authorities.issuer(NOW)).toBeDefined();
    const records = await store.authorities();
    const without = records.map((each) =>
      each.kind === 'root' ? { ...each, state: 'removed' as const, sequence: 99n } : each,
    );
    vi.spyOn(store, 'allAuthorities').mockResolvedValue({ authorities: without, jwtKeys: [] });
    await expect(authorities.refresh()).rejects.toThrow();
    expect(() => authorities.issuer(NOW)).toThrow(
      refusal('authority_unfit', /^the issuing authority is not valid now/),
    );
  });
});

describe('the root', () => {
  test('is made once', async () => {
    const keys = memoryKeys();
    const made = await makeAuthorities({ keys });
    await expect(createRoot(made)).rejects.toThrow(refusal('store', /has a root already/));
    expect(keys.signers.size).toBe(2);
  });

  test('that stands by is on record with the place of its key, and is told from one of a rotation', async () => {
    const made = await makeRoot();
    const { serial, key, algorithm } = await certifyStandby(made);
    await made.store.moveAuthorities([{ serial, from: 'prepared', to: 'published' }], {
      type: 'authority.moved',
      moves: [],
    });
    const inUse = (await Authorities.open(made)).inUse();
    expect(inUse).toContainEqual(expect.objectContaining({ serial, state: 'standby' }));
    expect((await made.store.events(0, 10)).map(({ event }) => event)).toContainEqual(
      expect.objectContaining({ type: 'authority.certified', serial, standby: { ...key, algorithm } }),
    );
  });

  test('is made once by two at the same time, and the other leaves no key behind', async () => {
    const made = await makeRoot();
    const [keys, store] = [memoryKeys(), await memoryStore(made.clock)];
    const deps = { ...made, keys, store };
    const settled = await Promise.allSettled([createRoot(deps), createRoot(deps)]);
    expect(settled.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const stored = (await store.authorities()).map(({ serial }) => serial);
    expect(stored).toHaveLength(1);
    expect([...keys.signers.keys()]).toEqual(stored);
    expect((await Authorities.open(deps)).issuer(NOW)).toBeDefined();
  });

  test('keeps its key where the store fails after it was stored', async () => {
    const made = await makeRoot();
    const [keys, store] = [memoryKeys(), await memoryStore(made.clock)];
    const save = store.saveAuthority.bind(store);
    vi.spyOn(store, 'saveAuthority').mockImplementation(async (...args) => {
      await save(...args);
      throw new Error('no answer');
    });
    await expect(createRoot({ ...made, keys, store })).rejects.toThrow(/no answer/);
    expect(keys.signers.size).toBe(1);
  });

  test('I109 does not get the key of an authority that there was', async () => {
    const made = await makeAuthorities();
    const [place] = (await made.store.authorities())
      .filter(({ kind }) => kind === 'root')
      .map(({ key }) => key);
    if (place === undefined) throw new Error('no root');
    const used = { place, signer: await made.keys.root.load(place) };
    const named = { ...made.keys.root, create: async () => used, remove: async () => {} };
    const keys = { ...made.keys, root: named };
    await expect(certify({ kind: 'root', state: 'prepared' }, { ...made, keys }, undefined)).rejects.toThrow(
      refusal('key_wrong', /is that of authority \w+ already: each authority has its own/),
    );
  });

  test('is missed where there is none', async () => {
    const made = await makeRoot();
    await expect(Authorities.open({ ...made, store: await memoryStore(made.clock) })).rejects.toThrow(
      refusal(
        'store',
        /^there is no root yet: finish it with chancery-ca init --resume, or, .* restore dataDir$/,
      ),
    );
  });

  test('is what the bundle has, alone', async () => {
    const { authorities, root, trustDomain } = await makeAuthorities();
    expect(authorities.bundle.current()).toEqual({
      trustDomain,
      jwtAuthorities: [],
      authorities: [root.certificate],
      retiring: [],
      crossChains: [],
      sequence: 1n,
    });
  });

  test.each([
    ['after its end', after(ROOT_TTL)],
    ['before its beginning', after(-11)],
  ])('makes no intermediate %s, and leaves no key behind', async (_, now) => {
    const made = await makeAuthorities();
    made.clock.jump(now);
    await expect(Authorities.open(made)).rejects.toThrow(
      refusal('authority_unfit', /^the root is valid from 2026-06-01.* to 2027-06-01.*; now is /),
    );
    expect((made.keys as ReturnType<typeof memoryKeys>).signers.size).toBe(2);
  });

  test('that does not sign an intermediate leaves no key of it behind', async () => {
    const made = await makeRoot();
    const keys = memoryKeys();
    const mute = {
      spki: new Uint8Array(),
      algorithm: 'ecdsa-p256',
      sign: () => Promise.reject(new Error('mute')),
    };
    const root = { ...keys.root, load: async () => mute as never };
    await expect(Authorities.open({ ...made, keys: { ...keys, root } })).rejects.toThrow(/mute/);
    expect(keys.signers.size).toBe(0);
  });
});

test('each kind’s keys are in the home of their own, and sign by their own algorithm', async () => {
  const other = memoryKeys();
  const homes = { ...other, root: memoryKeys('ecdsa-p384'), intermediate: memoryKeys() };
  const { authorities, root } = await makeAuthorities({ keys: homes });
  expect([homes.root.signers.size, homes.intermediate.signers.size]).toEqual([1, 1]);
  const { certificate, signer } = authorities.issuer(NOW);
  expect(signer.algorithm).toBe('ecdsa-p256');
  const anchors = [parseCertificate(root.certificate)];
  expect(() => verifyPath({ leaf: certificate, intermediates: [], anchors, now: NOW })).not.toThrow();
  expect(hex(certificate.signatureAlgorithm)).toBe('300a06082a8648ce3d040303');
});

describe('the intermediate', () => {
  test('is within the root’s validity, at its very beginning and at its end', async () => {
    const made = await makeRoot();
    const root = parseCertificate(made.root.certificate);
    for (const now of [after(-10), after(ROOT_TTL - 30)]) {
      made.clock.jump(now);
      const { certificate } = (await Authorities.open(made)).issuer(now);
      expect(certificate.notBefore.getTime()).toBeGreaterThanOrEqual(root.notBefore.getTime());
      expect(certificate.notAfter.getTime()).toBeLessThanOrEqual(root.notAfter.getTime());
    }
  });

  test('is intended on record before it is signed, then recorded, and only then active', async () => {
    const { store, authorities } = await makeAuthorities();
    const { certificate, serial } = authorities.issuer(NOW);
    const about = { kind: 'intermediate', serial, notAfter: after(INTERMEDIATE_TTL).toISOString() };
    expect((await store.events(0, 10)).slice(2).map(({ event }) => event)).toEqual([
      { type: 'authority.certifying', ...about, tbs: hash('sha256', certificate.tbs, 'hex') },
      { type: 'authority.certified', ...about },
      { type: 'authority.moved', moves: [{ serial, from: 'prepared', to: 'active' }] },
    ]);
  });

  test('is not signed where that cannot be recorded', async () => {
    const made = await makeAuthorities();
    const rootSigner = await made.keys.root.load(made.root.key);
    const sign = vi.spyOn(rootSigner, 'sign');
    made.clock.jump(after(HALF));
    vi.spyOn(made.store, 'append').mockRejectedValue(new Error('disk full'));
    await expect(made.authorities.refresh()).rejects.toThrow(/disk full/);
    // It signs the question whether it signs at all, and no certificate.
    const signed = sign.mock.calls.map(([bytes]) => Buffer.from(bytes).toString());
    expect(signed).toEqual([expect.stringMatching(/^chancery: the key of a root is asked/)]);
  });

  test('stays until half of its life, then has a successor with a new key, under the same bundle', async () => {
    const keys = memoryKeys();
    const { authorities, clock, root } = await makeAuthorities({ keys });
    const bundle = authorities.bundle.current();
    const first = authorities.issuer(NOW);
    clock.jump(after(HALF - 1));
    await authorities.refresh();
    expect(authorities.issuer(clock.now())).toBe(first);
    clock.jump(after(HALF));
    await authorities.refresh();
    const second = authorities.issuer(clock.now());
    expect(second.serial).not.toBe(first.serial);
    // The key may be needed again until its certificate ends: a clock may have been ahead.
    expect([...keys.signers.keys()]).toEqual([root.serial, first.serial, second.serial]);
    expect(second.certificate.notAfter).toEqual(after(HALF + INTERMEDIATE_TTL));
    expect(second.certificate.spki).not.toEqual(first.certificate.spki);
    expect(authorities.bundle.current()).toBe(bundle);
    for (const { certificate } of [first, second])
      expect(authorities.isAuthorityKey(hash('sha256', certificate.spki, 'buffer'))).toBe(true);
  });

  test('no two authorities have a subject, a serial or a key in common', async () => {
    const { authorities, clock, store } = await makeAuthorities();
    for (let day = 1; day <= 5; day += 1) {
      clock.jump(after(day * HALF));
      await authorities.refresh();
    }
    const all = (await store.authorities()).map(({ certificate }) => parseCertificate(certificate));
    for (const part of ['subject', 'serial', 'spki'] as const)
      expect(new Set(all.map((each) => hex(each[part]))).size).toBe(7);
  });

  test('that is fresh is used again by a restarted CA', async () => {
    const made = await makeAuthorities();
    const { serial } = made.authorities.issuer(NOW);
    made.clock.jump(after(HALF - 1));
    expect((await Authorities.open(made)).issuer(made.clock.now()).serial).toBe(serial);
    made.clock.jump(after(HALF));
    expect((await Authorities.open(made)).issuer(made.clock.now()).serial).not.toBe(serial);
    expect(await made.store.authorities()).toHaveLength(3);
  });

  test('is known by its metrics, the root beside it and no predecessor', async () => {
    const { authorities, clock, root } = await makeAuthorities();
    clock.jump(after(HALF));
    await authorities.refresh();
    const { serial } = authorities.issuer(clock.now());
    expect(authorities.inUse()).toEqual([
      { kind: 'intermediate', serial, state: 'active', notAfter: after(HALF + INTERMEDIATE_TTL) },
      { kind: 'root', serial: root.serial, state: 'active', notAfter: after(ROOT_TTL) },
    ]);
  });

  test('whose certificate has ended has no key any more', async () => {
    const keys = memoryKeys();
    const { authorities, clock, root } = await makeAuthorities({ keys });
    clock.jump(after(INTERMEDIATE_TTL));
    await authorities.refresh();
    const { serial } = authorities.issuer(clock.now());
    expect([...keys.signers.keys()]).toEqual([root.serial, serial]);
  });

  test('whose key is gone has a successor at once', async () => {
    const keys = memoryKeys();
    const made = await makeAuthorities({ keys });
    const first = made.authorities.issuer(NOW);
    keys.signers.delete(first.serial);
    const second = (await Authorities.open(made)).issuer(NOW);
    expect(second.serial).not.toBe(first.serial);
  });

  test.each([
    ['a day', 1.2 * HALF],
    ['a month', 15 * INTERMEDIATE_TTL],
  ])('issues at once when a clock that was %s ahead is set right, restarted or not', async (_, ahead) => {
    const made = await makeAuthorities();
    made.clock.jump(after(ahead));
    await made.authorities.refresh();
    made.clock.jump(after(60));
    const { issuer } = await Authorities.open(made).then((restarted) => ({
      issuer: restarted.issuer(made.clock.now()),
    }));
    expect(issuer.certificate.notBefore.getTime()).toBeLessThanOrEqual(after(60).getTime());
    await made.authorities.refresh();
    expect(() => made.authorities.issuer(made.clock.now())).not.toThrow();
  });

  test('is not opened for another trust domain than its root’s', async () => {
    const made = await makeAuthorities();
    const other = { ...made, trustDomain: parseTrustDomain('other.example') };
    await expect(Authorities.open(other)).rejects.toThrow(
      refusal(
        'config',
        /^the config has trustDomain other\.example, the root .* is of spiffe:\/\/prod\.example/,
      ),
    );
  });

  test('with the key of another authority is refused', async () => {
    const keys = memoryKeys();
    const made = await makeAuthorities({ keys });
    const { serial } = made.authorities.issuer(NOW);
    keys.signers.set(serial, signerOf(generateKey()));
    await expect(Authorities.open(made)).rejects.toThrow(
      refusal('key_wrong', new RegExp(`^the key of authority ${serial} is another one$`)),
    );
  });
});
