/** T43, T44: EK certificates of Google's CA for Shielded VMs, and what passes for one. */
import { AttestorsConfig } from '@chancery/ca/attestors/index.ts';
import { TAG } from '@chancery/shared/der/read.ts';
import { boolean, explicit, sequence, smallInteger, tlv, utf8String } from '@chancery/shared/der/write.ts';
import { concat, u8 } from '@chancery/shared/ground/bytes.ts';
import { KEY_USAGE } from '@chancery/shared/x509/extensions.ts';
import { beforeAll, describe, expect, test } from 'vitest';
import { extension } from '../../kit/certificates.ts';
import { type FakeTpm, makeFakeTpm } from '../../kit/tpm/fake-tpm.ts';
import type { EkFields } from '../../kit/tpm/manufacturer.ts';
import { attestFake, attestorTrusting, expectRefusal } from '../../kit/tpm/tpm-attestor.ts';

let tpm: FakeTpm;
beforeAll(async () => {
  tpm = await makeFakeTpm();
});

const INSTANCE = '1.3.6.1.4.1.11129.2.1.21';
const integer = (...content: readonly number[]): Uint8Array => tlv(TAG.integer, Uint8Array.from(content));

interface Instance {
  readonly zone: Uint8Array;
  readonly instanceId: Uint8Array;
  readonly security: readonly Uint8Array[];
  readonly after: readonly Uint8Array[];
  /** Behind the sequence. */
  readonly behind: Uint8Array;
}

/** As Google's CA writes it: version 0, and production among other flags. */
function instance(changed: Partial<Instance> = {}): Uint8Array {
  const flag = (n: number, on: boolean): Uint8Array => explicit(n, boolean(on));
  const production = [explicit(0, smallInteger(0)), flag(1, true), flag(2, true), flag(3, false)];
  const {
    zone = utf8String('us-central1-a'),
    instanceId = integer(0x5a, 0x8c, 0x62, 0x35, 0xb8, 0x97, 0xb1, 0x85),
    security = [explicit(0, sequence(...production))],
    after = [],
    behind = new Uint8Array(),
  } = changed;
  const named = [zone, integer(0, 0xe7, 0xaf, 0x73), utf8String('core-eso'), instanceId];
  const body = sequence(...named, utf8String('instance-1'), ...security, ...after);
  return extension(INSTANCE, false, concat(body, behind));
}

const genuine: Partial<EkFields> = {
  purposes: [],
  names: [],
  usage: [KEY_USAGE.keyEncipherment],
  more: [instance()],
};
const withInstance = (changed: Partial<Instance>) => ({ more: [instance(changed)] });

const attest = (changed: Partial<EkFields>, profile: string) => {
  const ekCertificate = tpm.manufacturer.certify(tpm.ekSpki, { ...genuine, ...changed });
  const attestor = attestorTrusting(tpm.manufacturer.rootPem, { config: { profile } });
  return attestFake(attestor, tpm, { opening: (o) => ({ ...o, ekCertificate }) });
};

test.each<[string, Partial<EkFields>, string]>([
  ['an instance', {}, '6524697943022743941'],
  ['an ECC key', { usage: [KEY_USAGE.keyAgreement] }, '6524697943022743941'],
  [
    'an ID of 64 bits',
    withInstance({ instanceId: integer(0x80, 0, 0, 0, 0, 0, 0, 1) }),
    '9223372036854775809',
  ],
  [
    'the same, written unsigned',
    withInstance({ instanceId: integer(0, 0x80, 0, 0, 0, 0, 0, 0, 1) }),
    '9223372036854775809',
  ],
])("Google's certificate of %s gives the names of the gcp attestor", async (_, changed, instanceId) => {
  const { attributes } = await attest(changed, 'gce');
  expect(attributes).toMatchObject({
    zone: 'us-central1-a',
    projectNumber: '15183731',
    projectId: 'core-eso',
    instanceId,
    instanceName: 'instance-1',
  });
  expect(attributes).not.toHaveProperty('manufacturer');
});

describe('T43 profile gce refuses', () => {
  const security = (...fields: readonly Uint8Array[]) =>
    withInstance({ security: [explicit(0, sequence(...fields))] });
  test.each<[string, Partial<EkFields>, RegExp]>([
    [
      "a signing key of the same CA (the AK's certificate)",
      { usage: [KEY_USAGE.digitalSignature] },
      /its key usage/,
    ],
    ['no key usage', { usage: [] }, /its key usage is another/],
    ['an authority', { ca: true, usage: [5, KEY_USAGE.keyEncipherment] }, /is an authority's/],
    ['no instance', { more: [] }, /does not name its instance/],
    ['a machine under test', security(explicit(1, boolean(false))), /not of a production machine/],
    ['no word about production', security(explicit(2, boolean(true))), /not of a production machine/],
    ['no security properties', withInstance({ security: [] }), /security properties is missing/],
    [
      'a zone that is not plain',
      withInstance({ zone: utf8String('a b') }),
      /zone of the EK certificate is not plain/,
    ],
    ['a zone of another type', withInstance({ zone: integer(1) }), /zone has tag 0x2/],
    [
      'an ID of more than 64 bits',
      withInstance({ instanceId: integer(1, ...Array(9).fill(0)) }),
      /more than 64 bits/,
    ],
    [
      'more behind it',
      withInstance({ after: [smallInteger(1)] }),
      /instance information has 3 trailing bytes/,
    ],
    ['a byte behind it', withInstance({ behind: u8(0) }), /instance information has 1 trailing byte/],
    [
      'a byte behind its security properties',
      withInstance({ security: [explicit(0, concat(sequence(explicit(1, boolean(true))), u8(0)))] }),
      /security properties has 1 trailing byte/,
    ],
  ])('T43 %s', async (_, changed, says) => {
    await expectRefusal(attest(changed, 'gce'), { status: 'U', code: 'ek_profile', says });
  });

  test('T43 the certificate of another CA', async () => {
    const stranger = await makeFakeTpm();
    const ekCertificate = stranger.manufacturer.certify(tpm.ekSpki, genuine);
    const attestor = attestorTrusting(tpm.manufacturer.rootPem, { config: { profile: 'gce' } });
    const attempt = attestFake(attestor, tpm, { opening: (o) => ({ ...o, ekCertificate }) });
    await expectRefusal(attempt, { status: 'U', code: 'ek_chain', says: /no path/ });
  });
});

test('T44 each profile refuses the certificates of the other', async () => {
  const says = /is not for an endorsement key/;
  await expectRefusal(attest({}, 'tcg'), { status: 'U', code: 'ek_profile', says });
  const attestor = attestorTrusting(tpm.manufacturer.rootPem, { config: { profile: 'gce' } });
  await expectRefusal(attestFake(attestor, tpm), { status: 'U', code: 'ek_profile', says });
});

test('an unknown profile is refused', () => {
  const read = AttestorsConfig.safeParse({ tpm: { roots: ['root.pem'], profile: 'aws' } });
  expect(JSON.stringify(read.error?.issues)).toContain('profile');
});
