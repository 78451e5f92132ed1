import { generateKeyPairSync } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { base64 } from '@chancery/shared/ground/bytes.ts';
import { generateKey } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { after, makeAuthority, makeLeaf } from '../../../../test/kit/certificates.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { type KnownGood, loadKnownGood, saveKnownGood, setAside } from './last-known-good.ts';
import { loadRevocations } from './revocations.ts';

const id = parseSpiffeId('spiffe://prod.example/web');
const root = makeAuthority('Root');
const { key, certificate } = makeLeaf(id, root);
const revocation = {
  number: 3,
  kind: 'id',
  value: id,
  serials: ['40aa'],
  reason: 'keyCompromise',
  until: '2026-06-01T00:00:00.000Z',
};
const good: KnownGood = {
  svid: {
    id,
    chain: [Buffer.from(certificate.der)],
    key,
    notBefore: after(-10),
    notAfter: after(3600),
    renewAfter: after(1800),
  },
  bundle: {
    trustDomain: parseTrustDomain('prod.example'),
    authorities: [Buffer.from(root.certificate.der)],
    sequence: 2n ** 60n + 1n,
  },
  policy: { version: 2n ** 61n + 1n, resources: ['{"kind":"McpServer"}'] },
  revocations: loadRevocations({ sequence: '7', list: [revocation] }),
  crossChains: [[Buffer.from(root.certificate.der)]],
};

const dir = mkdtempSync(join(tmpdir(), 'state-'));
afterAll(() => rmSync(dir, { recursive: true }));
const path = join(dir, 'state.json');
beforeEach(() => saveKnownGood(path, good));

function loaded(): KnownGood {
  const known = loadKnownGood(path);
  return known === undefined || 'unusable' in known ? expect.fail('it was not loaded') : known;
}

test('keys of tokens are saved with the bundle, and a file from before has none', async () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  expect(loaded().bundle.jwtAuthorities).toBeUndefined();
  const jwtAuthorities = [{ keyId: '40aa', spki }];
  await saveKnownGood(path, { ...good, bundle: { ...good.bundle, jwtAuthorities } });
  expect(loaded().bundle.jwtAuthorities).toEqual(jwtAuthorities);
});

test('what was saved is loaded, the big numbers whole', () => {
  const { svid, bundle, policy, revocations } = loaded();
  expect(bundle).toEqual(good.bundle);
  expect(policy).toEqual(good.policy);
  expect(revocations).toMatchObject({ sequence: 7n, list: good.revocations.list });
  expect({ ...svid, key: undefined }).toEqual({ ...good.svid, key: undefined });
  expect(svid.key.equals(key)).toBe(true);
});

test('I227 what a CA has not taken back is saved beside what is in force', async () => {
  expect(loaded().owed).toEqual([]);
  const owed = { note: 'a note', checkpoint: '', revocations: good.revocations };
  await saveKnownGood(path, { ...good, owed: [owed, { ...owed, refused: true }] });
  const { list, sequence } = good.revocations;
  const revocations = expect.objectContaining({ list, sequence });
  expect(loaded().owed).toEqual([{}, { refused: true }].map((more) => ({ ...owed, ...more, revocations })));
});

test('it is 0600, and the only file', () => {
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir)).toEqual(['state.json']);
});

test('none is none', () => {
  expect(existsSync(join(dir, 'none'))).toBe(false);
  expect(loadKnownGood(join(dir, 'none'))).toBeUndefined();
});

test('open to others it is never used', () => {
  chmodSync(path, 0o640);
  expect(() => loadKnownGood(path)).toThrow(expect.objectContaining({ code: 'file_mode' }));
  chmodSync(path, 0o600);
});

test('another key than the certificate’s is never used', () => {
  const other = generateKey().export({ type: 'pkcs8', format: 'der' });
  change((stored) => ({ ...stored, key: base64(other) }));
  unusableFor("the key is not the certificate's");
});

test('another version is told by its number', () => {
  change((stored) => ({ ...stored, version: 2 }));
  unusableFor('version 1 is expected, found 2');
});

test('keys that a newer agent added are ignored, in the bundle and the policy too', () => {
  const added = { kind: 'jwt' };
  change((stored) => {
    const { bundle, policy } = stored as { readonly bundle: object; readonly policy: object };
    return { ...stored, svids: [added], bundle: { ...bundle, added }, policy: { ...policy, added } };
  });
  const { svid, bundle, policy } = loaded();
  expect([svid.id, bundle, policy]).toEqual([id, good.bundle, good.policy]);
});

test.each<readonly [string, (stored: object) => object]>([
  ['no chain', (stored) => ({ ...stored, chain: [] })],
  ['a chain that is none', (stored) => ({ ...stored, chain: ['AAAA'] })],
  ['bytes that are not base64', (stored) => ({ ...stored, chain: ['?'] })],
  ['a key that is none', (stored) => ({ ...stored, key: 'AAAA' })],
  ['a broken ID', (stored) => ({ ...stored, id: 'spiffe://prod.example/..' })],
  ['a time that is none', (stored) => ({ ...stored, renewAfter: 'soon' })],
  ['no authority', (stored) => ({ ...stored, bundle: { ...good.bundle, sequence: '1', authorities: [] } })],
  [
    'a broken trust domain',
    (stored) => ({ ...stored, bundle: { trustDomain: '?', sequence: '1', authorities: ['AAAA'] } }),
  ],
  ['no revocations', (stored) => ({ ...stored, revocations: undefined })],
  [
    'a revocation that cannot be read',
    (stored) => ({ ...stored, revocations: { sequence: '1', list: [{ ...revocation, value: 'name' }] } }),
  ],
  [
    'a revocation with a key that is not known',
    (stored) => ({ ...stored, revocations: { sequence: '1', list: [{ ...revocation, but: 'web' }] } }),
  ],
  ['a version that is not a number', (stored) => ({ ...stored, policy: { version: '-1', resources: [] } })],
])('damaged: %s', (_, spoil) => {
  change(spoil);
  unusableFor(/^damaged/);
});

test('damaged: cut off', () => {
  writeFileSync(path, readFileSync(path).subarray(0, 100));
  unusableFor('damaged');
});

function change(spoil: (stored: object) => object): void {
  writeFileSync(path, JSON.stringify(spoil(JSON.parse(readFileSync(path, 'utf8')))));
}

function unusableFor(says: string | RegExp): void {
  const known = loadKnownGood(path);
  const unusable = known !== undefined && 'unusable' in known ? known.unusable : 'it was loaded';
  if (typeof says === 'string') expect(unusable).toBe(says);
  else expect(unusable).toMatch(says);
}

test('what is set aside keeps its content and its mode', () => {
  writeFileSync(path, '{');
  expect(setAside(path)).toBe(`${path}.unusable`);
  expect(readdirSync(dir)).toEqual(['state.json.unusable']);
  expect(statSync(`${path}.unusable`).mode & 0o777).toBe(0o600);
  rmSync(`${path}.unusable`);
});

test('what is set aside later keeps the first, and five are kept', () => {
  const names = [1, 2, 3, 4, 5, 6].map((count) => {
    writeFileSync(path, `{${count}`);
    return setAside(path).slice(path.length);
  });
  expect(names).toEqual(['', '.2', '.3', '.4', '.5', '.5'].map((end) => `.unusable${end}`));
  expect(readFileSync(`${path}.unusable`, 'utf8')).toBe('{1');
  for (const name of new Set(names)) rmSync(path + name);
});

test('a file that cannot be set aside is named, with where to', () => {
  const path = join(dir, 'no', 'folder', 'state.json');
  expect(() => setAside(path)).toThrow(refusal('file', /state\.json could not be renamed to .*\.unusable: /));
});
