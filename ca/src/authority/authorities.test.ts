import { hash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { verifyPath } from '@chancery/shared/x509/verify/path.ts';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { INTERMEDIATE_TTL, makeAuthorities, memoryKeys, ROOT_TTL } from '../../../test/kit/ca/authority.ts';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { Authorities, createRoot } from './authorities.ts';
import { keyFiles } from './key-files.ts';
import { drawSerial } from './serial.ts';

const HALF = INTERMEDIATE_TTL / 2 - 5;

describe('the root', () => {
  test('is made once', async () => {
    const made = await makeAuthorities();
    await expect(createRoot(made)).rejects.toThrow(refusal('store', /has a root already/));
  });

  test('is missed where there is none', async () => {
    const made = await makeAuthorities();
    vi.spyOn(made.store, 'authorities').mockResolvedValue([]);
    await expect(Authorities.open(made)).rejects.toThrow(
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
      authorities: [root.certificate],
      sequence: 1n,
    });
  });

  test.each([
    ['after its end', after(ROOT_TTL)],
    ['before its beginning', after(-11)],
  ])('makes no intermediate %s, and leaves no key behind', async (_, now) => {
    const made = await makeAuthorities();
    made.clock.jump(now);
    vi.spyOn(made.store, 'authorities').mockResolvedValue([{ ...made.root, sequence: 1n }]);
    await expect(Authorities.open(made)).rejects.toThrow(
      refusal('authority_unfit', /^the root is valid from 2026-06-01.* to 2027-06-01.*; now is /),
    );
    expect((made.keys as ReturnType<typeof memoryKeys>).signers.size).toBe(2);
  });
});

test('each kind’s keys are in the home of their own, and sign by their own algorithm', async () => {
  const homes = { root: memoryKeys('ecdsa-p384'), intermediate: memoryKeys() };
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
    const made = await makeAuthorities();
    const root = parseCertificate(made.root.certificate);
    vi.spyOn(made.store, 'authorities').mockResolvedValue([{ ...made.root, sequence: 1n }]);
    for (const now of [after(-10), after(ROOT_TTL - 30)]) {
      made.clock.jump(now);
      const { certificate } = (await Authorities.open(made)).issuer(now);
      expect(certificate.notBefore.getTime()).toBeGreaterThanOrEqual(root.notBefore.getTime());
      expect(certificate.notAfter.getTime()).toBeLessThanOrEqual(root.notAfter.getTime());
    }
  });

  test('is intended on record before it is signed, and then recorded', async () => {
    const { store, authorities } = await makeAuthorities();
    const { certificate, serial } = authorities.issuer(NOW);
    const about = { kind: 'intermediate', serial, notAfter: after(INTERMEDIATE_TTL).toISOString() };
    expect((await store.events(0, 10)).slice(2).map(({ event }) => event)).toEqual([
      { type: 'authority.certifying', ...about, tbs: hash('sha256', certificate.tbs, 'hex') },
      { type: 'authority.certified', ...about },
    ]);
  });

  test('is not signed where that cannot be recorded', async () => {
    const made = await makeAuthorities();
    const rootSigner = await made.keys.root.load(made.root.serial);
    const sign = vi.spyOn(rootSigner, 'sign');
    made.clock.jump(after(HALF));
    vi.spyOn(made.store, 'append').mockRejectedValue(new Error('disk full'));
    await expect(made.authorities.renewIfDue()).rejects.toThrow(/disk full/);
    expect(sign).not.toHaveBeenCalled();
  });

  test('stays until half of its life, then has a successor with a new key, under the same bundle', async () => {
    const keys = memoryKeys();
    const { authorities, clock, root } = await makeAuthorities({ keys });
    const bundle = authorities.bundle.current();
    const first = authorities.issuer(NOW);
    clock.jump(after(HALF - 1));
    await authorities.renewIfDue();
    expect(authorities.issuer(clock.now())).toBe(first);
    clock.jump(after(HALF));
    await authorities.renewIfDue();
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
      await authorities.renewIfDue();
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
    await authorities.renewIfDue();
    const { serial } = authorities.issuer(clock.now());
    expect(authorities.states()).toEqual([
      { kind: 'root', serial: root.serial, notAfter: after(ROOT_TTL) },
      { kind: 'intermediate', serial, notAfter: after(HALF + INTERMEDIATE_TTL) },
    ]);
  });

  test('whose certificate has ended has no key any more', async () => {
    const keys = memoryKeys();
    const { authorities, clock, root } = await makeAuthorities({ keys });
    clock.jump(after(INTERMEDIATE_TTL));
    await authorities.renewIfDue();
    const { serial } = authorities.issuer(clock.now());
    expect([...keys.signers.keys()]).toEqual([root.serial, serial]);
  });

  test.each([
    ['a day', 1.2 * HALF],
    ['a month', 15 * INTERMEDIATE_TTL],
  ])('issues at once when a clock that was %s ahead is set right, restarted or not', async (_, ahead) => {
    const made = await makeAuthorities();
    made.clock.jump(after(ahead));
    await made.authorities.renewIfDue();
    made.clock.jump(after(60));
    const { issuer } = await Authorities.open(made).then((restarted) => ({
      issuer: restarted.issuer(made.clock.now()),
    }));
    expect(issuer.certificate.notBefore.getTime()).toBeLessThanOrEqual(after(60).getTime());
    await made.authorities.renewIfDue();
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
      refusal('file', new RegExp(`^the key of authority ${serial} is another one$`)),
    );
  });
});

describe('serial numbers', () => {
  const bits = (byte: number) => (size: number) => Buffer.alloc(size, byte);

  test('are 20 positive bytes of which 16 are random', () => {
    for (const byte of [0, 0xff]) {
      const serial = drawSerial(NOW, bits(byte));
      expect(serial).toHaveLength(20);
      expect(serial[0]).toBe(0x40);
      expect(Buffer.from(serial.subarray(4))).toEqual(Buffer.alloc(16, byte));
    }
  });

  test('go up with time', () => {
    const earlier = hex(drawSerial(NOW, bits(0xff)));
    expect(hex(drawSerial(after(0.1), bits(0))) > earlier).toBe(true);
  });

  test('are refused from a source that gives too little', () => {
    expect(() => drawSerial(NOW, () => Buffer.alloc(15))).toThrow(refusal('internal', /gave too little/));
  });
});

describe('keys in files', () => {
  const folder = makeFolder();
  afterAll(() => removeFolder(folder));
  const kek = Buffer.alloc(32, 7);

  test('are the owner’s alone, in a folder of the owner’s alone, and are no PEM that others read', async () => {
    const keys = keyFiles(join(folder, 'keys'), kek);
    const { spki } = await keys.create('40aa');
    expect(fs.statSync(join(folder, 'keys')).mode & 0o777).toBe(0o700);
    const file = join(folder, 'keys', '40aa.key');
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    expect(fs.readFileSync(file, 'utf8')).toMatch(/^-----BEGIN CHANCERY ENCRYPTED KEY-----/);
    expect((await keys.load('40aa')).spki).toEqual(spki);
  });

  test('are gone when they are removed, and may be removed again', async () => {
    const keys = keyFiles(join(folder, 'removed'), kek);
    await keys.create('40aa');
    await keys.create('40ab');
    await keys.remove('40aa');
    await keys.remove('40aa');
    expect(fs.readdirSync(join(folder, 'removed'))).toEqual(['40ab.key']);
    fs.mkdirSync(join(folder, 'removed', '40ac.key'));
    await expect(keys.remove('40ac')).rejects.toThrow(refusal('file', /could not be removed/));
  });

  test.each([
    ['that is not there', '40bb', kek, /40bb\.key could not be opened/],
    ['under another key-encryption key', '40aa', Buffer.alloc(32, 8), /does not open/],
  ])('%s are refused', async (_, serial, other, message) => {
    const keys = keyFiles(join(folder, 'keys'), other);
    await expect(keys.load(serial)).rejects.toThrow(refusal('file', message));
  });
});
