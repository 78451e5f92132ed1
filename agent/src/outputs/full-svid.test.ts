import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { expect, test } from 'vitest';
import { bent, corporate, crossOf } from '../../../test/kit/ca/above.ts';
import { makeAuthority, makeLeaf, NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { fullSvid } from './full-svid.ts';

const id = parseSpiffeId('spiffe://prod.example/gateway');
const [ours, other] = [makeAuthority('Ours'), makeAuthority('Other')];
const missing = () => new IdentityError('unavailable', 'none');
const cross = [crossOf(ours.certificate).der, corporate.certificate.der];

function svidUnder(root: typeof ours): Svid {
  const issuing = makeAuthority('Issuing', root);
  const { key, certificate } = makeLeaf(id, issuing);
  const { notBefore, notAfter } = certificate;
  return {
    id,
    key,
    notBefore,
    notAfter,
    renewAfter: notAfter,
    chain: [certificate.der, issuing.certificate.der],
  };
}

function start() {
  const authorities = [ours.certificate.der, other.certificate.der];
  const trustDomain = parseTrustDomain('prod.example');
  const first = svidUnder(ours);
  const svid = new LiveValue<Svid>(missing, first);
  const bundle = new LiveValue<Bundle>(missing, { trustDomain, authorities, sequence: 1n });
  const crossChains = new LiveValue<readonly (readonly Uint8Array[])[]>(missing, []);
  const warned: object[] = [];
  const log = { ...silentLog, warn: (fields: object) => void warned.push(fields) };
  const full = fullSvid({ svid, bundle, crossChains, clock: new ManualClock(NOW), log });
  const published: (readonly Uint8Array[])[] = [];
  full.svid.onChange(({ chain }) => published.push(chain));
  return { first, svid, bundle, crossChains, warned, full, published };
}

test('follows the certificate and what the CA sends, and says once why the chain is short', () => {
  const { first, svid, crossChains, warned, full, published } = start();
  expect(full.svid.current()).toEqual(first);
  crossChains.publish([cross]);
  expect(full.svid.current()).toEqual({ ...first, chain: [...first.chain, ...cross] });
  expect(full.shown().lacks).toBeUndefined();
  const next = svidUnder(ours);
  svid.publish(next);
  expect(full.svid.current()).toEqual({ ...next, chain: [...next.chain, ...cross] });
  const under = svidUnder(other);
  svid.publish(under);
  expect(full.svid.current()).toEqual(under);
  expect(published).toHaveLength(3);
  const lacks = expect.stringMatching(/^the CA has no cross-certificate for the root/);
  expect(full.shown().lacks).toEqual(lacks);
  expect(warned).toEqual([{ lacks }, { lacks }]);
});

test('I330 a chain that callers would refuse is not shown, and nothing changes where the chain is the same', () => {
  const { first, bundle, crossChains, full, published } = start();
  crossChains.publish([[bent(crossOf(ours.certificate)).der, corporate.certificate.der]]);
  expect(full.svid.current().chain).toEqual(first.chain);
  expect(full.shown().lacks).toMatch(/the signature does not verify/);
  crossChains.publish([cross]);
  crossChains.publish([cross]);
  bundle.publish(bundle.current());
  expect(published).toHaveLength(1);
  full.close();
  crossChains.publish([]);
  expect(published).toHaveLength(1);
});
