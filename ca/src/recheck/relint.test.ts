/** I333: records and certificates of authorities, each genuine and spoiled in one way. */
import { hash } from 'node:crypto';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { bent } from '../../../test/kit/ca/above.ts';
import { makeAuthorities, proven } from '../../../test/kit/ca/authority.ts';
import { after, makeAuthority, NOW } from '../../../test/kit/certificates.ts';
import { issue } from '../authority/issue.ts';
import type { RecordedIssuance, StoredAuthority } from '../store/store.ts';
import { recheck } from './certificates.ts';
import { authorityProblems, recordLints } from './relint.ts';

const trustDomain = parseTrustDomain('prod.example');
const id = parseSpiffeId('spiffe://prod.example/web');
let made: Awaited<ReturnType<typeof makeAuthorities>>;
let records: readonly StoredAuthority[];
let record: RecordedIssuance;
beforeEach(async () => {
  made = await makeAuthorities({ crlBase: 'http://crl.prod.example' });
  const node = { platform: 'fake', node: 'n1', identity: 'web' };
  const { serial } = await issue({ id, ...node, ttlSeconds: 3600, dnsNames: [], key: await proven() }, made);
  records = await made.store.authorities();
  record = (await made.store.issuance(serial)) as RecordedIssuance;
});
const authorityOf = (kind: StoredAuthority['kind']) =>
  records.find((each) => each.kind === kind) as StoredAuthority;

describe('of a certificate on record', () => {
  test('that the CA has issued, nothing is wrong', () => {
    expect(recordLints(records, trustDomain)(record)).toEqual([]);
  });

  test.each<[string, () => Partial<RecordedIssuance>, RegExp]>([
    [
      'a serial number that is negative',
      () => ({ serial: `80${'ab'.repeat(15)}` }),
      /serial number is negative/,
    ],
    ['one of 21 octets', () => ({ serial: '40'.repeat(21) }), /not of 64 to 160 bits/],
    ['one of 62 bits', () => ({ serial: `3f${'ab'.repeat(7)}` }), /not of 64 to 160 bits/],
    [
      'another trust domain',
      () => ({ id: parseSpiffeId('spiffe://test.example/web') }),
      /not of trust domain prod/,
    ],
    ['a reserved name', () => ({ id: parseSpiffeId('spiffe://prod.example/chancery/ca') }), /is reserved/],
    ['a life of more than a day', () => ({ notAfter: after(86_403) }), /valid for 864\d\d s, at most 86411/],
    [
      'a beginning before its issuer',
      () => ({
        notBefore: new Date(
          parseCertificate(authorityOf('intermediate').certificate).notBefore.getTime() - 1000,
        ),
      }),
      /begins before its issuer/,
    ],
    [
      'the key of the root',
      () => ({ keySha256: hash('sha256', parseCertificate(authorityOf('root').certificate).spki, 'buffer') }),
      /its key is that of root [0-9a-f]+$/,
    ],
  ])('I333 with %s, that is said', (_, changes, says) => {
    expect(recordLints(records, trustDomain)({ ...record, ...changes() })).toEqual([
      expect.stringMatching(says),
    ]);
  });
});

describe('of the authorities', () => {
  const spoiled = (kind: StoredAuthority['kind'], changes: Partial<StoredAuthority>) =>
    records.map((each) => (each.kind === kind ? { ...each, ...changes } : each));

  test('nothing is wrong where the CA has made them', () => {
    expect(authorityProblems(records, trustDomain)).toEqual([]);
  });

  test.each<[string, () => readonly StoredAuthority[], RegExp]>([
    [
      'a signature that does not verify',
      () =>
        spoiled('intermediate', {
          certificate: bent(parseCertificate(authorityOf('intermediate').certificate)).der,
        }),
      /^its certificate \(intermediate\): the signature of its issuer does not verify$/,
    ],
    [
      'another path length',
      () => spoiled('intermediate', { certificate: makeAuthority('other').certificate.der }),
      /^its certificate \(intermediate\): no root on record has issued it$/,
    ],
    [
      'the certificate of its root',
      () => spoiled('intermediate', { certificate: authorityOf('root').certificate }),
      /^its certificate \(intermediate\): /,
    ],
    [
      'another end on record',
      () => spoiled('root', { notAfter: after(60) }),
      /\(root\): it has another end than/,
    ],
    [
      'another serial on record',
      () => spoiled('root', { serial: '40aa' }),
      /\(root\): it has another serial/,
    ],
    [
      'bytes that are no certificate',
      () => spoiled('root', { certificate: Buffer.from('der') }),
      /\(root\): /,
    ],
  ])('I333 %s is said, with the first page', async (_, made, says) => {
    expect(authorityProblems(made(), trustDomain).map(({ problem }) => problem)).toContainEqual(
      expect.stringMatching(says),
    );
  });

  test('I333 one that was removed or tainted is not looked at', () => {
    const certificate = Buffer.from('der');
    for (const changes of [{ state: 'removed' as const }, { taintedAt: NOW }])
      expect(authorityProblems(spoiled('intermediate', { certificate, ...changes }), trustDomain)).toEqual(
        [],
      );
  });

  test('they are looked at with the first page alone', async () => {
    vi.spyOn(made.store, 'authorities').mockResolvedValue(spoiled('root', { notAfter: after(60) }));
    const registry = { sets: { current: () => ({ identities: [{ name: 'web', canGive: () => true }] }) } };
    const deps = { ...made, registry } as never;
    const told = async (from: Parameters<typeof recheck>[0]) =>
      (await recheck(from, deps)).problems.map(({ id: whose, problem }) => `${whose} ${problem}`);
    const says = /^spiffe:\/\/prod\.example its certificate \(root\): it has another end than its record$/;
    expect(await told(undefined)).toContainEqual(expect.stringMatching(says));
    expect(await told({ notAfter: 0, n: 0 })).not.toContainEqual(expect.stringMatching(says));
  });
});
