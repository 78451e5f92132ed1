import { hash, verify } from 'node:crypto';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate, publicKeyOf } from '@chancery/shared/x509/certificate.ts';
import { readCrlDistributionPoints } from '@chancery/shared/x509/extensions.ts';
import { text } from '@chancery/shared/x509/names.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import {
  INTERMEDIATE_TTL,
  makeAuthorities,
  memoryKeys,
  proven,
  ROOT_TTL,
} from '../../../test/kit/ca/authority.ts';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { issue, type Order } from './issue.ts';
import type { Issuer } from './issuer.ts';
import { leafTemplate } from './profile.ts';

const id = parseSpiffeId('spiffe://prod.example/web');
let order: Order;
let made: Awaited<ReturnType<typeof makeAuthorities>>;
beforeEach(async () => {
  made = await makeAuthorities();
  order = {
    id,
    platform: 'tpm',
    node: 'a',
    identity: 'web',
    dnsNames: [],
    ttlSeconds: 3600,
    key: await proven(),
  };
});

/** Issues with an issuer of which one part is replaced. */
function issueWith(changes: Partial<Issuer>) {
  vi.spyOn(made.authorities, 'issuer').mockReturnValue({ ...made.authorities.issuer(NOW), ...changes });
  return issue(order, made);
}
const signing = () => vi.fn(made.authorities.issuer(NOW).signer.sign);

test('what is issued is on record, in the audit log, and what every verifier of ours takes', async () => {
  const { chain, serial, notAfter, renewAfter } = await issue({ ...order, dnsNames: ['web.svc'] }, made);
  const bundle = made.authorities.bundle.current();
  expect(verifySvid(chain, bundle, NOW)).toMatchObject({ id, serial, notAfter });
  expect({ notAfter, renewAfter }).toEqual({ notAfter: after(3600), renewAfter: after(1800) });
  const leaf = parseCertificate(chain[0] ?? new Uint8Array());
  expect(leaf.notBefore).toEqual(after(-10));
  const { platform, node, identity, key } = order;
  expect(await made.store.issuance(serial)).toEqual({
    ...{ id, platform, node, identity, serial, notAfter },
    keySha256: key.sha256,
    issuer: made.authorities.issuer(NOW).serial,
    notBefore: after(-10),
    recordedAt: NOW,
    bundle: bundle.sequence,
  });
  expect((await made.store.events(0, 100)).at(-1)?.event).toEqual({
    ...{ type: 'svid.issuing', id, serial, platform, node, identity },
    notAfter: notAfter.toISOString(),
    tbs: hash('sha256', leaf.tbs, 'hex'),
  });
});

describe('the order', () => {
  test('is compose, lint, record, sign', async () => {
    const trace: string[] = [];
    const { signer } = made.authorities.issuer(NOW);
    vi.spyOn(made.store, 'record').mockImplementation(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      trace.push('durable');
    });
    const sign = (data: Uint8Array) => {
      trace.push('signed');
      return signer.sign(data);
    };
    await issueWith({ signer: { ...signer, sign } });
    expect(trace).toEqual(['durable', 'signed']);
  });

  test('without a record there is no signature', async () => {
    const sign = signing();
    vi.spyOn(made.store, 'record').mockRejectedValue(new IdentityError('store', 'disk full'));
    const { signer } = made.authorities.issuer(NOW);
    await expect(issueWith({ signer: { ...signer, sign } })).rejects.toThrow(refusal('store', /disk full/));
    expect(sign).not.toHaveBeenCalled();
  });

  test('what fails the lint is neither recorded nor signed', async () => {
    const sign = signing();
    const { signer, certificate } = made.authorities.issuer(NOW);
    const template = leafTemplate(certificate, Buffer.alloc(20, 1));
    await expect(issueWith({ signer: { ...signer, sign }, template })).rejects.toThrow(
      refusal('lint', /authority key identifier is not the authority’s/),
    );
    expect(sign).not.toHaveBeenCalled();
    expect(await made.store.issued({ limit: 10 })).toEqual([]);
  });

  test('how it ended is on record', async () => {
    const endOf = async () => {
      await made.store.append({ type: 'registry.applied', version: 0, changes: [], by: 'the test' });
      return (await made.store.events(0, 100)).at(-2)?.event;
    };
    const { chain, serial } = await issue(order, made);
    const sha256 = hash('sha256', chain[0] ?? new Uint8Array(), 'hex');
    expect(await endOf()).toEqual({ type: 'svid.issued', serial, sha256 });
    const { signer } = made.authorities.issuer(NOW);
    const sign = vi.fn().mockRejectedValue(new Error('the key manager is away'));
    await expect(issueWith({ signer: { ...signer, sign } })).rejects.toThrow('the key manager is away');
    expect(await endOf()).toMatchObject({ type: 'svid.failed', detail: 'the key manager is away' });
  });

  test('one record, one signature', async () => {
    const sign = signing();
    const { signer } = made.authorities.issuer(NOW);
    const { chain } = await issueWith({ signer: { ...signer, sign } });
    expect(sign).toHaveBeenCalledOnce();
    expect(await made.store.issued({ limit: 10 })).toHaveLength(1);
    const leaf = parseCertificate(chain[0] ?? new Uint8Array());
    const issuer = publicKeyOf(made.authorities.issuer(NOW).certificate);
    expect(verify('sha256', leaf.tbs, issuer, leaf.signature)).toBe(true);
  });
});

test('a certificate names the list of its issuer where the config says where lists are, and none otherwise', async () => {
  const crlBase = 'http://crl.prod.example:8880';
  const named = await makeAuthorities({ crlBase });
  const { chain } = await issue(order, named);
  const lists = [named.authorities.issuer(NOW).serial, named.root.serial].map(
    (each) => `${crlBase}/${each}.crl`,
  );
  const urlsOf = (der: Uint8Array) =>
    readCrlDistributionPoints(parseCertificate(der), 'der')?.map(({ value }) => text(value));
  expect(chain.map(urlsOf)).toEqual(lists.map((each) => [each]));
  expect(urlsOf(named.root.certificate)).toBeUndefined();
  expect((await issue(order, made)).chain.map(urlsOf)).toEqual([undefined, undefined]);
  // One that is ordered without, under an intermediate that names its own all the same.
  const without = await issue({ ...order, crl: false }, named);
  expect(without.chain.map(urlsOf)).toEqual([undefined, [lists[1]]]);
});

describe('validity', () => {
  const until = async (changes: Partial<Order>) => (await issue({ ...order, ...changes }, made)).notAfter;

  test.each<[string, Partial<Order>, Date]>([
    ['is the lifetime that was ordered', { ttlSeconds: 60 }, after(60)],
    ['ends with the issuer’s', { ttlSeconds: 10 * INTERMEDIATE_TTL }, after(INTERMEDIATE_TTL)],
    ['ends no later than what it must not be beyond', { notBeyond: after(30) }, after(30)],
    ['is no longer for what it may be', { ttlSeconds: 60, notBeyond: after(90) }, after(60)],
    ['ends at a whole second', { notBeyond: new Date(after(30).getTime() + 999) }, after(30)],
  ])('%s', async (_, changes, end) => {
    expect(await until(changes)).toEqual(end);
  });

  test('begins no earlier than the issuer’s', async () => {
    const { certificate } = made.authorities.issuer(NOW);
    made.clock.jump(certificate.notBefore);
    const { chain } = await issue(order, made);
    expect(parseCertificate(chain[0] ?? new Uint8Array()).notBefore).toEqual(certificate.notBefore);
  });

  test.each([
    ['is over', after(-1)],
    ['ends this second', new Date(NOW.getTime() + 400)],
  ])('is refused where what it must not be beyond %s', async (_, notBeyond) => {
    made.clock.jump(new Date(NOW.getTime() + 300));
    await expect(issue({ ...order, notBeyond }, made)).rejects.toThrow(
      refusal('authority_unfit', /^nothing can be valid beyond 2026/),
    );
    expect(await made.store.issued({ limit: 10 })).toEqual([]);
  });
});

describe('an authority that is not fit', () => {
  test.each([
    [
      'whose certificate has expired',
      after(INTERMEDIATE_TTL + 1),
      /the issuing authority is not valid now: .*expired/,
    ],
    [
      'whose certificate is not valid yet',
      after(-11),
      /the issuing authority is not valid now: .*not .*valid/,
    ],
    ['whose root has expired', after(ROOT_TTL + 1), /the issuing authority is not valid now/],
  ])('%s signs nothing', async (_, now, message) => {
    made.clock.jump(now);
    await expect(issue(order, made)).rejects.toThrow(refusal('authority_unfit', message));
    expect(await made.store.issued({ limit: 10 })).toEqual([]);
  });

  test('is noticed within the second after one that was fit', async () => {
    made.clock.jump(after(INTERMEDIATE_TTL - 0.5));
    await issue({ ...order, ttlSeconds: 1 }, made);
    made.clock.jump(after(INTERMEDIATE_TTL + 1));
    await expect(issue(order, made)).rejects.toThrow(refusal('authority_unfit', /not valid now/));
  });
});

test('an authority’s key is not certified as a workload’s, whichever authority', async () => {
  const keys = memoryKeys();
  made = await makeAuthorities({ keys });
  for (const signer of keys.signers.values()) {
    const stolen = { ...order, key: await proven(signer) };
    await expect(issue(stolen, made)).rejects.toThrow(refusal('csr_key', /the key is that of an authority/));
  }
  expect(keys.signers.size).toBe(2);
});
