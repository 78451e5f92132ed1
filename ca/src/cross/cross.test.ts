/** A CA above: what it is asked for, and one genuine chain that is spoiled one way a row. */
import { generateKeyPairSync, hash } from 'node:crypto';
import { readPemOnly, writePem } from '@chancery/shared/der/pem.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { generateKey, spkiOf } from '@chancery/shared/keys/key.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { commonName } from '@chancery/shared/x509/compose/tbs.ts';
import { verifyRequest } from '@chancery/shared/x509/csr.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { endOfChain } from '@chancery/shared/x509/verify/cross.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import {
  bent,
  chainFile,
  corporate,
  corporateRoot,
  crossOf,
  directoryConstraint,
  nameConstraint,
} from '../../../test/kit/ca/above.ts';
import { makeAuthorities, publishRoot } from '../../../test/kit/ca/authority.ts';
import {
  after,
  extension,
  type Made,
  makeAuthority,
  makeLeaf,
  NOW,
  type Recipe,
} from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { certify } from '../authority/certify.ts';
import { type Cross, openCross } from './cross.ts';

const DAY = 86_400;
const NONE = new Uint8Array();

let made: Awaited<ReturnType<typeof makeAuthorities>>;
let root: Certificate;
let dnsNames: readonly string[];
let cross: Cross;
beforeEach(async () => {
  made = await makeAuthorities();
  root = parseCertificate(made.root.certificate);
  dnsNames = [];
  cross = openCross({ ...made, dnsNames: () => dnsNames });
});

const order = (answer: Uint8Array, changes = {}) => ({ answer, rootAbove: NONE, dryRun: false, ...changes });
const take = (answer: Uint8Array, changes = {}) => cross.take(order(answer, changes), 'ada');
const genuine = () => chainFile(crossOf(root), corporate.certificate, corporateRoot.certificate);
const stored = async (serial = made.root.serial) =>
  (await made.store.authorities()).find((each) => each.serial === serial)?.cross;
const refused = (says: RegExp) => refusal('authority_answer', says);

describe('the request', () => {
  test('has the key and the name of the root, and asks for what peers need', async () => {
    const { pem, root: serial, keySha256 } = await cross.ask({ root: '', dryRun: false }, 'ada');
    const [der = NONE] = readPemOnly(pem, 'CERTIFICATE REQUEST', 'der');
    const asked = verifyRequest(der);
    expect([serial, keySha256]).toEqual([made.root.serial, hash('sha256', root.spki, 'hex')]);
    expect(Buffer.from(asked.subject)).toEqual(Buffer.from(root.subject));
    expect(Buffer.from(asked.key.spki)).toEqual(Buffer.from(root.spki));
    expect(x509.readBasicConstraints(asked, 'der')).toEqual({ ca: true, pathLength: 1 });
    expect(x509.readKeyUsage(asked, 'der')).toEqual(new Set([5, 6]));
    expect(x509.readSubjectKeyIdentifier({ ...root, extensions: asked.extensions }, 'der')).toEqual(
      x509.readSubjectKeyIdentifier(root, 'der'),
    );
    const events = (await made.store.events(0, 100)).map(({ event }) => event);
    expect(events.at(-1)).toEqual({ type: 'authority.crossRequested', root: serial, keySha256, by: 'ada' });
  });

  test('is not made by a dry run, for an authority that is no root, or for more than one', async () => {
    expect(await cross.ask({ root: '', dryRun: true }, 'ada')).toMatchObject({ pem: '' });
    const ask = (name: string) => cross.ask({ root: name, dryRun: false }, 'ada');
    await expect(ask('ffff')).rejects.toThrow(refusal('rotation', /^no root begins with "ffff"/));
    await expect(ask(made.root.serial.slice(0, 3))).rejects.toThrow(refusal('rotation', /at least 4 digits/));
    await publishRoot(made);
    expect(await ask(made.root.serial)).toMatchObject({ root: made.root.serial });
  });
});

test('an offline root is asked where its key is', async () => {
  const record = (await made.store.authorities()).find(({ kind }) => kind === 'root');
  if (record === undefined) throw new Error('there is no root');
  const offline = { ...record, key: { home: 'offline', reference: record.serial } };
  vi.spyOn(made.store, 'authorities').mockResolvedValue([offline]);
  const ask = cross.ask({ root: '', dryRun: false }, 'ada');
  await expect(ask).rejects.toThrow(refusal('rotation', /is offline: chancery-ca ceremony request/));
});

describe('a chain is taken', () => {
  test('without the root above, and is in the bundle that agents get', async () => {
    const before = made.authorities.bundle.current();
    const imported = await take(genuine());
    expect(imported).toMatchObject({ kind: 'cross', serial: made.root.serial, signs: false, warnings: [] });
    expect(imported.chain).toHaveLength(2);
    const bundle = made.authorities.bundle.current();
    expect(bundle.crossChains).toEqual(
      [imported.chain.map(({ der }) => Buffer.from(der))].map((c) => c.map((d) => new Uint8Array(d))),
    );
    expect(bundle.authorities).toEqual(before.authorities);
    expect(bundle.sequence).toBeGreaterThan(before.sequence);
    const [event] = (await made.store.events(0, 100)).map((each) => each.event).slice(-1);
    expect(event).toMatchObject({ type: 'authority.crossCertified', root: made.root.serial, by: 'ada' });
    const found = await stored();
    expect(found && endOfChain(found.chain)).toEqual(imported.notAfter);
  });

  test('by a dry run not, also a second time', async () => {
    await take(genuine(), { dryRun: true });
    expect(await stored()).toBeUndefined();
    const chain = genuine();
    await take(chain);
    expect(await take(chain, { dryRun: true })).toMatchObject({ kind: 'cross' });
  });

  test('under a corporate root alone, and where the way to it is not in the file', async () => {
    await take(chainFile(crossOf(root, corporateRoot), corporateRoot.certificate), { dryRun: true });
    const { warnings } = await take(chainFile(crossOf(root), corporate.certificate), { dryRun: true });
    expect(warnings).toEqual([
      expect.stringMatching(/^the last certificate is issued by CN=Corporate root, and nothing/),
    ]);
    const whole = await take(chainFile(crossOf(root), corporate.certificate), {
      rootAbove: chainFile(corporateRoot.certificate),
      dryRun: true,
    });
    expect(whole.warnings).toEqual([]);
  });

  test('with a word about an end before that of what is signed, and about cRLSign', async () => {
    const soon = { fields: { notAfter: after(DAY) } };
    const usage = { extensions: { usage: x509.keyUsage(x509.KEY_USAGE.keyCertSign) } };
    const said = async (recipe: Recipe) =>
      (
        await take(chainFile(crossOf(root, corporateRoot, recipe), corporateRoot.certificate), {
          dryRun: true,
        })
      ).warnings;
    expect(await said(soon)).toEqual([
      expect.stringMatching(/^the chain ends at 2026-06-02T12:00:00\.000Z, and what/),
    ]);
    expect(await said(usage)).toEqual([expect.stringMatching(/has no cRLSign/)]);
  });

  test('that permits all names of ours by its constraints', async () => {
    dnsNames = ['a.prod.example'];
    const kinds = [
      nameConstraint('uri', 'prod.example'),
      nameConstraint('dns', 'prod.example'),
      nameConstraint('dns', 'other.example', true),
    ];
    for (const names of kinds) {
      const limited = makeAuthority('Limited', corporateRoot, { extensions: { names } });
      await take(chainFile(crossOf(root, limited), limited.certificate), { dryRun: true });
    }
  });

  test('for a root that is to come, and the next one replaces it', async () => {
    const next = await certify({ kind: 'root', state: 'prepared' }, made, undefined);
    const nextRoot = parseCertificate(next.certificate);
    await take(chainFile(crossOf(nextRoot), corporate.certificate));
    expect(made.authorities.bundle.current().crossChains).toEqual([]);
    const moves = [{ serial: next.serial, from: 'prepared', to: 'published' }] as const;
    await made.store.moveAuthorities(moves, { type: 'authority.moved', moves });
    await made.authorities.refresh();
    expect(made.authorities.bundle.current().crossChains).toHaveLength(1);
    await take(chainFile(crossOf(nextRoot), corporate.certificate));
    expect(made.authorities.bundle.current().crossChains).toHaveLength(1);
  });

  test('and stays on record when its root leaves the bundle', async () => {
    const next = await certify({ kind: 'root', state: 'prepared' }, made, undefined);
    await take(chainFile(crossOf(parseCertificate(next.certificate)), corporate.certificate));
    const before = made.authorities.bundle.current().sequence;
    const moves = [{ serial: next.serial, from: 'prepared', to: 'removed' }] as const;
    await made.store.moveAuthorities(moves, { type: 'authority.moved', moves });
    expect((await stored(next.serial))?.chain).toHaveLength(2);
    await made.authorities.refresh();
    expect(made.authorities.bundle.current().crossChains).toEqual([]);
    expect(made.authorities.bundle.current().sequence).toBeGreaterThanOrEqual(before);
  });
});

/** The chain with another cross-certificate, or another intermediate above it. */
const crossed = (recipe: Recipe) => chainFile(crossOf(root, corporate, recipe), corporate.certificate);
const under = (recipe: Recipe) => {
  const limited = makeAuthority('Limited', corporateRoot, recipe);
  return chainFile(crossOf(root, limited), limited.certificate);
};
const withKey = (other: Made) => chainFile(crossOf(root, other), other.certificate);

describe('I230 a file that is no chain for a root of ours', () => {
  test.each<[string, () => Uint8Array, RegExp]>([
    ['nothing', () => NONE, /^no PEM block CERTIFICATE found$/],
    ['the root itself', () => chainFile(root), /is that of the root itself: no other CA has issued it$/],
    [
      'text around',
      () => Buffer.concat([utf8('CN=x\n'), genuine()]),
      /^there is more than PEM blocks .*openssl x509 -in FILE`$/,
    ],
    ['another label', () => utf8(writePem('TRUSTED CERTIFICATE', root.der)), /a PEM block is "TRUSTED/],
    ['more than 64 KB', () => Buffer.alloc(65_537, 0x0a), /has 65537 bytes, at most 65536/],
    [
      'eight certificates',
      () => chainFile(crossOf(root), ...Array.from({ length: 7 }, () => corporate.certificate)),
      /^the file has 8 PEM blocks, at most 7/,
    ],
    [
      'seven of a chain',
      () => chainFile(crossOf(root), ...Array.from({ length: 6 }, () => corporate.certificate)),
      /^the chain has 7 certificates, at most 6/,
    ],
    [
      'a large certificate',
      () => crossed({ extensions: { more: extension('1.2.3.4', false, Buffer.alloc(8192)) } }),
      /^certificate 1 has \d+ bytes, at most 8192$/,
    ],
    [
      'a damaged one',
      () => utf8(writePem('CERTIFICATE', root.der.subarray(0, 90))),
      /certificate 1 of the file/,
    ],
    ['another order', () => chainFile(corporate.certificate, crossOf(root)), /is of no root of this CA/],
    ['another key', () => crossed({ fields: { spki: spkiOf(generateKey()) } }), /is of no root of this CA/],
    [
      'another subject',
      () => crossed({ fields: { subject: commonName('Ours') } }),
      /another subject than the root/,
    ],
    [
      'another key identifier',
      () => crossed({ extensions: { keyId: x509.subjectKeyIdentifier(Buffer.alloc(20)) } }),
      /not the subject key identifier of the root/,
    ],
    [
      'no key identifier',
      () => crossed({ extensions: { keyId: undefined } }),
      /not the subject key identifier of the root/,
    ],
    [
      'a stranger in between',
      () =>
        chainFile(crossOf(root), makeAuthority('Other', corporateRoot).certificate, corporate.certificate),
      /^certificate 1 of the chain is not issued by the next one: the names differ$/,
    ],
    [
      'a root in between',
      () => chainFile(crossOf(root, corporateRoot), corporateRoot.certificate, corporate.certificate),
      /^certificate 2 of the chain: it is a root, which belongs to the end of the file$/,
    ],
    [
      'one twice',
      () => chainFile(crossOf(root), corporate.certificate, corporate.certificate),
      /^certificate 2 of the chain is not issued by the next one: the names differ$/,
    ],
  ])('%s', async (_, file, says) => {
    await expect(take(file())).rejects.toThrow(refused(says));
    expect(await stored()).toBeUndefined();
  });
});

const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({
  type: 'spki',
  format: 'der',
});

describe('I231 a chain that peers would refuse', () => {
  const usage = (...bits: number[]) => ({ extensions: { usage: x509.keyUsage(...bits) } });
  const purposes = (...list: string[]) => ({ extensions: { purposes: x509.extKeyUsage(...list) } });
  const length = (pathLength: number) => ({
    extensions: { constraints: x509.basicConstraints({ pathLength }) },
  });
  test.each<[string, () => Uint8Array, RegExp]>([
    [
      'one that is over',
      () => crossed({ fields: { notAfter: after(-1) } }),
      /^certificate 1 .* it is valid from/,
    ],
    ['one to come', () => under({ fields: { notBefore: after(1) } }), /^certificate 2 .* it is valid from/],
    [
      'one of no CA',
      () => crossed({ extensions: { constraints: x509.basicConstraints() } }),
      /^certificate 1 of the chain: an issuer is not an authority$/,
    ],
    [
      'one that may sign no certificates',
      () => crossed(usage(6)),
      /^certificate 1 .* may not sign certificates$/,
    ],
    ['one above that may not', () => under(usage(6)), /^certificate 2 .* may not sign certificates$/],
    [
      'one for servers only',
      () => crossed(purposes(x509.EKU.serverAuth)),
      /^certificate 1 .* is not for 1\.3\.6/,
    ],
    [
      'one above for clients only',
      () => under(purposes(x509.EKU.clientAuth)),
      /^certificate 2 .* not for 1\.3\.6/,
    ],
    [
      'no room below',
      () => crossed(length(0)),
      /^certificate 1 .*: its path length is 0, and 1 intermediates .* at least 1/,
    ],
    [
      'no room above',
      () => under(length(1)),
      /^certificate 2 .*: its path length is 1, and 2 intermediates .* at least 2/,
    ],
    [
      'a critical extension that nobody knows',
      () => under({ extensions: { odd: extension('1.2.3.4', true, Buffer.alloc(1)) } }),
      /^certificate 2 .*: critical extension 1\.2\.3\.4 is not processed$/,
    ],
    ['a weak key above', () => under({ fields: { spki: weak } }), /^certificate 2 .*: RSA key has 1024 bits/],
    [
      'a bent signature',
      () => chainFile(bent(crossOf(root)), corporate.certificate),
      /^certificate 1 of the chain is not issued by the next one: the signature does not verify/,
    ],
    [
      'one of the same name with another key',
      () => chainFile(crossOf(root), makeAuthority('Corporate intermediate', corporateRoot).certificate),
      /^certificate 1 of the chain is not issued by the next one: the key identifiers differ$/,
    ],
    [
      'a bent signature of the root above',
      () => chainFile(crossOf(root), bent(corporate.certificate), corporateRoot.certificate),
      /^certificate 2 of the chain is not issued by the next one: the signature does not verify/,
    ],
  ])('%s', async (_, file, says) => {
    await expect(take(file())).rejects.toThrow(refused(says));
    expect(await stored()).toBeUndefined();
  });
});

describe('I232 name constraints that do not permit what certificates of ours have', () => {
  const limits = (names: Uint8Array) => under({ extensions: { names } });
  test.each<[string, Uint8Array, RegExp]>([
    ['another host of URIs', nameConstraint('uri', 'other.example'), /the SPIFFE ID of prod\.example itself/],
    [
      'hosts below ours only',
      nameConstraint('uri', '.prod.example'),
      /the SPIFFE ID of prod\.example itself/,
    ],
    ['our host excluded', nameConstraint('uri', 'prod.example', true), /excluded for its authority$/],
    [
      'another DNS domain',
      nameConstraint('dns', 'other.example'),
      /the DNS name x\.prod\.example, which an Identity/,
    ],
    ['a DNS domain excluded', nameConstraint('dns', 'prod.example', true), /the DNS name x\.prod\.example/],
    [
      'other subjects',
      directoryConstraint(commonName('Corporate')),
      /the subjects of intermediates \(CN=Chancery/,
    ],
  ])('%s', async (_, names, says) => {
    dnsNames = ['x.prod.example'];
    const file = limits(names);
    await expect(take(file)).rejects.toThrow(
      refused(/^certificate 2 of the chain: its name constraints do not permit/),
    );
    await expect(take(file)).rejects.toThrow(refused(says));
  });

  test('the root above has them, too', async () => {
    const top = makeAuthority('Limited root', undefined, {
      extensions: { names: nameConstraint('uri', 'other.example') },
    });
    const file = chainFile(crossOf(root, top), top.certificate);
    await expect(take(file)).rejects.toThrow(refused(/^the root above: its name constraints do not permit/));
  });
});

describe('I233 a root above that does not fit', () => {
  const short = () => chainFile(crossOf(root), corporate.certificate);
  const other = makeAuthority('Corporate root');
  test.each<[string, () => Uint8Array, Certificate, RegExp]>([
    ['another one of its name', short, other.certificate, /^certificate 2 .*: the key identifiers differ$/],
    [
      'not that of the file',
      genuine,
      other.certificate,
      /^the root at the end of the file is not that of --root$/,
    ],
    ['an intermediate', short, corporate.certificate, /^the certificate of --root is not that of a root/],
    [
      'over',
      () => withKey(makeAuthority('Below', old)),
      old.certificate,
      /^the root above: it is valid from/,
    ],
    [
      'no room below',
      () => withKey(makeAuthority('Below', tight)),
      tight.certificate,
      /^the root above: its path length is 1, and 3 intermediates/,
    ],
  ])('%s', async (_, file, given, says) => {
    await expect(take(file(), { rootAbove: chainFile(given) })).rejects.toThrow(refused(says));
  });

  test('nor can be read: then what to do is said', async () => {
    const odd = utf8(writePem('CERTIFICATE', Buffer.from('3000', 'hex')));
    const end = /^certificate 3 of the file: .*; if it is a root: leave it out of the file, and --root: /;
    await expect(take(Buffer.concat([short(), odd]))).rejects.toThrow(refused(end));
    const given = /^the certificate of --root: .*; leave it out of the file, and --root: /;
    await expect(take(short(), { rootAbove: odd })).rejects.toThrow(refused(given));
  });
});
const old = makeAuthority('Old root', undefined, { fields: { notAfter: after(-1) } });
const tight = makeAuthority('Tight root', undefined, {
  extensions: { constraints: x509.basicConstraints({ pathLength: 1 }) },
});

test('I235 what the CA above issues for SPIFFE IDs of ours has no path to what the CA and agents trust', async () => {
  await take(genuine());
  const forged = makeLeaf('spiffe://prod.example/w', corporate).certificate;
  const [own, above] = [crossOf(root), [forged.der, corporate.certificate.der]];
  for (const more of [
    [],
    [own.der],
    [corporateRoot.certificate.der],
    [own.der, corporateRoot.certificate.der],
  ])
    for (const bundle of [made.authorities.bundle.current(), made.authorities.callers.current()])
      expect(() => verifySvid([...above, ...more], bundle, NOW)).toThrow(refusal('chain', /./));
});

describe('I234 a chain for a root that will not sign', () => {
  const activate = async () => {
    const next = await publishRoot(made);
    const moves = [
      { serial: made.root.serial, from: 'active', to: 'retiring' },
      { serial: next.serial, from: 'published', to: 'active' },
    ] as const;
    await made.store.moveAuthorities(moves, { type: 'authority.moved', moves });
  };

  test('it retires, or was removed', async () => {
    await activate();
    await expect(take(genuine())).rejects.toThrow(
      refused(/which is retiring: nothing is signed under it any more$/),
    );
    const ask = cross.ask({ root: made.root.serial, dryRun: false }, 'ada');
    await expect(ask).rejects.toThrow(refusal('rotation', /is retiring: nothing is signed/));
    const draft = { root: made.root.serial, chain: [root.der], after: 0n };
    const event = { type: 'authority.crossRequested', root: '', keySha256: '', by: '' } as const;
    expect(await made.store.saveCross(draft, event)).toBeUndefined();
    const moves = [{ serial: made.root.serial, from: 'retiring', to: 'removed' }] as const;
    await made.store.moveAuthorities(moves, { type: 'authority.moved', moves });
    await expect(take(genuine())).rejects.toThrow(refused(/which is removed/));
  });

  test('the same one a second time, and two at once', async () => {
    const chain = genuine();
    const both = await Promise.allSettled([take(chain), take(genuine())]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const kept = await stored();
    const again = chainFile(...(kept?.chain ?? []).map((der) => parseCertificate(der)));
    await expect(take(again)).rejects.toThrow(refused(/was imported before$/));
    await expect(
      made.store.saveCross({ root: made.root.serial, chain: [], after: 0n }, { type: 'log.pruned' } as never),
    ).resolves.toBeUndefined();
  });
});
