/** AWS's own client, unmodified, against a stand-in that refuses what KMS refuses. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import type { Refusal } from '@chancery/shared/ground/errors.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type AccessKey, Directory } from '../../../../test/kit/aws/directory.ts';
import { type Kms, startKms } from '../../../../test/kit/aws/kms.ts';
import { makeFolder, removeFolder } from '../../../../test/kit/processes.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { type KmsHome, openKmsHome } from './kms-home.ts';

const ACCOUNT = '123456789012';
const DATA = utf8('data');
const directory = new Directory();
const folder = makeFolder();
let credentials: AccessKey;
let kms: Kms;
let home: KmsHome;
beforeAll(async () => {
  credentials = directory.assumeRole(directory.account(ACCOUNT), 'ca');
  kms = await startKms({ directory });
});
beforeEach(async () => {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) vi.stubEnv(name, undefined);
  for (const name of ['AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE']) vi.stubEnv(name, '/dev/null');
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('AWS_ACCESS_KEY_ID', credentials.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', credentials.secretAccessKey);
  vi.stubEnv('AWS_SESSION_TOKEN', credentials.sessionToken);
  home = await openHome();
});
afterEach(() => {
  home.close();
  kms.spoil(undefined);
  Object.assign(kms.trouble, { throttled: 0, failing: 0, slowMs: 0, unseen: 0 });
  kms.trouble.denied.clear();
  vi.unstubAllEnvs();
});
afterAll(async () => {
  await kms.close();
  removeFolder(folder);
});

const openHome = (changes: { endpoint?: string; region?: string; answerMs?: number } = {}) =>
  openKmsHome({ region: kms.region, endpoint: kms.url, trustDomain: 'kms.example', ...changes });
const keyAt = (reference: string) => {
  const key = kms.keys.get(reference);
  if (key === undefined) throw new Error(`no key ${reference}`);
  return key;
};
const at = (reference: string) => ({ home: 'aws-kms', reference });

test.each([
  ['ecdsa-p256', 'sha256', 'ECC_NIST_P256'],
  ['ecdsa-p384', 'sha384', 'ECC_NIST_P384'],
] as const)('%s: openssl verifies what KMS signs', async (algorithm, digest, spec) => {
  const { signer, place } = await home.create(`aa${digest}`, algorithm);
  expect(keyAt(place.reference)).toMatchObject({
    spec,
    usage: 'SIGN_VERIFY',
    origin: 'AWS_KMS',
    description: `Chancery authority aa${digest}`,
    tags: { chancery: 'kms.example', 'chancery-authority': `aa${digest}` },
  });
  expect(signer.algorithm).toBe(algorithm);
  const [der, data, signature] = [join(folder, 'der'), join(folder, 'data'), join(folder, 'signature')];
  fs.writeFileSync(der, signer.spki);
  fs.writeFileSync(data, DATA);
  fs.writeFileSync(signature, await signer.sign(DATA));
  const verify = ['dgst', `-${digest}`, '-verify', der, '-signature', signature, data];
  expect(execFileSync('openssl', verify, { encoding: 'utf8' })).toContain('Verified OK');
  const again = await (await openHome()).load(place);
  expect(again.spki).toEqual(signer.spki);
});

test('I249 a key that KMS makes after its answer was given up is scheduled for deletion', async () => {
  const before = new Set(kms.keys.keys());
  const hurried = await openHome({ answerMs: 300 });
  kms.trouble.slowMs = 1000;
  await expect(hurried.create('late')).rejects.toThrow(
    refusal('key_unreachable', /has not answered kms:CreateKey for 0.3 s/),
  );
  kms.trouble.slowMs = 0;
  await expect
    .poll(() => [...kms.keys].flatMap(([arn, { state }]) => (before.has(arn) ? [] : [state])))
    .toEqual(['PendingDeletion']);
  hurried.close();
});

test('a key that is not seen at once after it was made is waited for', async () => {
  kms.trouble.unseen = 2;
  expect((await home.create('ab')).signer.algorithm).toBe('ecdsa-p256');
});

test('a lost answer to the making of a key makes no second one', async () => {
  const before = kms.keys.size;
  kms.spoil('cut');
  await expect(home.create('ac')).rejects.toThrow(refusal('key_unreachable', /kms:CreateKey/));
  expect(kms.keys.size).toBe(before + 1);
});

test('a key that was made and cannot be read is scheduled for deletion', async () => {
  const before = new Set(kms.keys.keys());
  kms.trouble.denied.add('kms:GetPublicKey');
  await expect(home.create('ad')).rejects.toThrow(refusal('key_refused', /does not allow kms:GetPublicKey/));
  const [made] = [...kms.keys.values()].filter(({ arn }) => !before.has(arn));
  expect(made).toMatchObject({ description: 'Chancery authority ad', state: 'PendingDeletion' });
});

describe('removing', () => {
  test('schedules a key that was made here for deletion, in 30 days', async () => {
    const { place } = await home.create('ba');
    expect(await home.has(place)).toBe(true);
    await home.remove(place);
    expect(keyAt(place.reference)).toMatchObject({ state: 'PendingDeletion', deletionDays: 30 });
    expect(await home.has(place)).toBe(false);
    await home.remove(place);
    await home.remove(at(place.reference.replace(/.$/, 'f').replace(/.{12}$/, '000000000000')));
  });

  test('I109 leaves an operator’s key alone', async () => {
    const { arn } = kms.make(ACCOUNT, { description: 'the root of production' });
    await home.remove(at(arn));
    expect(keyAt(arn).state).toBe('Enabled');
  });
});

describe('a key that an operator has made', () => {
  test.each([
    ['id', (id: string) => id],
    ['ARN', (_: string, arn: string) => arn],
    ['alias', () => 'alias/root'],
  ])('is found by its %s, and recorded by its ARN', async (_, nameOf) => {
    const { id, arn } = kms.make(ACCOUNT, { spec: 'ECC_NIST_P384' });
    kms.aliases.set('alias/root', arn);
    const { place, signer } = await home.adopt(nameOf(id, arn), 'ecdsa-p384');
    expect(place).toEqual(at(arn));
    await signer.sign(DATA);
  });

  test.each([
    ['of another spec', { spec: 'ECC_NIST_P384' }, /is of ecdsa-p384, and a key of ecdsa-p256 is expected/],
    ['for another use', { usage: 'KEY_AGREEMENT' }, /is for KEY_AGREEMENT, and not for SIGN_VERIFY/],
    ['that was imported', { origin: 'EXTERNAL' }, /has the origin EXTERNAL/],
  ] as const)('I106 %s is not taken', async (_, given, message) => {
    const { arn } = kms.make(ACCOUNT, given);
    await expect(home.adopt(arn, 'ecdsa-p256')).rejects.toThrow(refusal('key_wrong', message));
  });
});

describe('a record that names', () => {
  test.each([
    [
      'a key of another region',
      'arn:aws:kms:us-east-1:123456789012:key/11111111-1111-4111-8111-111111111111',
    ],
    ['an alias', 'arn:aws:kms:eu-west-1:123456789012:alias/root'],
    ['a key by its id', '11111111-1111-4111-8111-111111111111'],
    ['another service', 'arn:aws:iam:eu-west-1:123456789012:key/11111111-1111-4111-8111-111111111111'],
  ])('I106 %s is refused before KMS is asked', async (_, reference) => {
    const before = kms.received.length;
    for (const use of [home.has, home.load, home.remove])
      await expect(use(at(reference))).rejects.toThrow(refusal('key_wrong', /in the region|is not named as/));
    await expect(home.load({ home: 'file', reference })).rejects.toThrow(refusal('key_wrong', /home file/));
    expect(kms.received.length).toBe(before);
  });

  test('a key that does not exist says so', async () => {
    const reference = `arn:aws:kms:${kms.region}:${ACCOUNT}:key/11111111-1111-4111-8111-111111111111`;
    await expect(home.load(at(reference))).rejects.toThrow(refusal('key_missing', /has no key arn/));
  });
});

describe('I106 an answer of KMS', () => {
  const answerWith = (change: (body: Record<string, unknown>) => void): void =>
    kms.spoil((answer) => {
      const body = JSON.parse(String(answer.body)) as Record<string, unknown>;
      change(body);
      return { ...answer, body: JSON.stringify(body) };
    });

  test.each([
    [
      'about another key',
      (body: Record<string, unknown>) => {
        body['KeyId'] = 'other';
      },
      /about key other/,
    ],
    [
      'of another spec',
      (body: Record<string, unknown>) => {
        body['KeySpec'] = 'RSA_2048';
      },
      /has the spec RSA_2048/,
    ],
    [
      'with a key of no algorithm of ours',
      (body: Record<string, unknown>) => {
        const { publicKey } = generateKeyPairSync('ed25519');
        body['PublicKey'] = publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
      },
      /has the spec/,
    ],
  ])('%s is refused', async (_, change, message) => {
    const { place } = await home.create('ca');
    answerWith(change);
    await expect(home.load(place)).rejects.toThrow(refusal('key_wrong', message));
  });

  test('with a signature by another key is not let out', async () => {
    const { place, signer } = await home.create('cb');
    const key = keyAt(place.reference);
    const genuine = key.privateKey;
    key.privateKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    await expect(signer.sign(DATA)).rejects.toThrow(refusal('key_wrong', /not of its public key/));
    key.privateKey = genuine;
    await signer.sign(DATA);
  });
});

describe('I107 trouble', () => {
  const troubles: readonly [string, (arn: string) => void, (arn: string) => void, Refusal, RegExp][] = [
    [
      'throttled for longer than it is tried',
      () => {
        kms.trouble.throttled = 100;
      },
      () => {
        kms.trouble.throttled = 0;
      },
      'key_unreachable',
      /throttles kms:Sign: try again/,
    ],
    [
      'failing inside',
      () => {
        kms.trouble.failing = 100;
      },
      () => {
        kms.trouble.failing = 0;
      },
      'key_unreachable',
      /gives no answer to kms:Sign \(KMSInternalException/,
    ],
    [
      'denied',
      () => void kms.trouble.denied.add('kms:Sign'),
      () => kms.trouble.denied.clear(),
      'key_refused',
      /does not allow kms:Sign arn:aws:kms.*: give that permission/,
    ],
    [
      'a disabled key',
      (arn) => {
        keyAt(arn).state = 'Disabled';
      },
      (arn) => {
        keyAt(arn).state = 'Enabled';
      },
      'key_refused',
      /has disabled the key arn:aws:kms.*: enable it/,
    ],
    [
      'a key pending deletion',
      (arn) => {
        keyAt(arn).state = 'PendingDeletion';
      },
      (arn) => {
        keyAt(arn).state = 'Enabled';
      },
      'key_refused',
      /its deletion is pending, cancel that/,
    ],
  ];
  test.each(troubles)('%s is said, and ends without hands', async (_, begin, end, code, message) => {
    const { place, signer } = await home.create('da');
    begin(place.reference);
    await expect(signer.sign(DATA)).rejects.toThrow(refusal(code, message));
    expect(signer.unable?.()).toMatch(message);
    end(place.reference);
    await expect.poll(() => signer.unable?.()).toBeUndefined();
    await signer.sign(DATA);
  });

  test('a pause between two tries is not waited for beyond the bound', async () => {
    const { place } = await home.create('dd');
    const hurried = await openHome({ answerMs: 200 });
    const signer = await hurried.load(place);
    kms.trouble.throttled = 100;
    const before = kms.received.length;
    await expect(signer.sign(DATA)).rejects.toThrow(refusal('key_unreachable', /for 0.2 s: try again/));
    expect(kms.received.length - before).toBeLessThan(4);
    hurried.close();
  });

  test('throttled for a moment is tried again, and nobody notices', async () => {
    const { signer } = await home.create('db');
    kms.trouble.throttled = 2;
    await signer.sign(DATA);
    expect(kms.trouble.throttled).toBe(0);
  });

  test('no answer ends after the bound, also for those that wait for a turn, and later answers come again', async () => {
    const { place } = await home.create('dc');
    const hurried = await openHome({ answerMs: 1000 });
    const signer = await hurried.load(place);
    kms.spoil('hang');
    const before = kms.received.length;
    const asked = await Promise.allSettled(Array.from({ length: 40 }, () => signer.sign(DATA)));
    for (const each of asked)
      expect(each).toMatchObject({
        reason: refusal('key_unreachable', /has not answered kms:Sign for 1 s: try again/),
      });
    // What waited for its turn was not asked.
    expect(kms.received.length - before).toBe(16);
    kms.spoil(undefined);
    await signer.sign(DATA);
    hurried.close();
  });

  test.each([
    ['no port', 'http://127.0.0.1:9', /the connection was refused/],
    ['no host', 'https://kms.invalid', /kms:DescribeKey/],
  ])('an address with %s is named', async (_, endpoint, message) => {
    const elsewhere = await openHome({ endpoint });
    const reference = `arn:aws:kms:${kms.region}:${ACCOUNT}:key/11111111-1111-4111-8111-111111111111`;
    await expect(elsewhere.has(at(reference))).rejects.toThrow(refusal('key_unreachable', message));
  });

  test('a region of which the key service is not says that the credentials are not for it', async () => {
    const elsewhere = await openHome({ region: 'eu-west-2' });
    await expect(elsewhere.create('de')).rejects.toThrow(
      refusal('key_refused', /AWS KMS in eu-west-2 does not take the credentials .*valid region/),
    );
  });

  test.each([
    [
      'none',
      { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined },
      'key_unreachable',
      /found none/,
    ],
    [
      'unknown',
      { AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE' },
      'key_refused',
      /does not take the credentials/,
    ],
    ['a wrong secret', { AWS_SECRET_ACCESS_KEY: 'x' }, 'key_refused', /InvalidSignatureException/],
  ] as const)('credentials: %s', async (_, env, code, message) => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const other = await openHome();
    await expect(other.create('df')).rejects.toThrow(refusal(code, message));
  });
});
