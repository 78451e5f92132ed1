/** The home `aws-kms`: keys that are made in AWS KMS, sign there, and never leave it. */
import type { CreateKeyResponse, GetPublicKeyResponse, KeyMetadata } from '@aws-sdk/client-kms';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { distantSigner, Troubles } from '@chancery/shared/keys/distant.ts';
import type { HomeKey, KeyHome, KeyPlace } from '@chancery/shared/keys/home.ts';
import { algorithmOf, type KeyAlgorithm, type Signer } from '@chancery/shared/keys/key.ts';
import { type Kms, type KmsAt, openKms } from './client.ts';
import { ensureKeyIn } from './reference.ts';

/** As records and the config name it. */
export const AWS_KMS = 'aws-kms';

/** "Asymmetric key specs" in the KMS Developer Guide: a key of a spec signs by one algorithm. */
const SPECS = {
  'ecdsa-p256': { spec: 'ECC_NIST_P256', signing: 'ECDSA_SHA_256' },
  'ecdsa-p384': { spec: 'ECC_NIST_P384', signing: 'ECDSA_SHA_384' },
} as const satisfies Readonly<Record<KeyAlgorithm, object>>;

/** Marks a key that this CA has made, and so may schedule for deletion; a key of an operator's is never touched. */
const MADE = 'Chancery authority ';
/** The longest that KMS waits, and by then nothing is left that a restored backup could need. */
const DELETION_DAYS = 30;
/** A key that was just made may not be seen yet by the next request: KMS is eventually consistent. */
const SEEN_MS = 8000;
const LOOK_MS = 250;

export interface KmsHomeAt extends KmsAt {
  /** Tag of the keys that are made, so that one account can have several CAs. */
  readonly trustDomain: string;
}

export type KmsHome = KeyHome & {
  /** As `create`, with a key that exists, by its ARN, id or alias. */
  adopt(name: string, algorithm: KeyAlgorithm): Promise<HomeKey>;
  close(): void;
};

/** Asks KMS nothing yet. Its functions throw key_missing, key_wrong, key_refused, key_unreachable. */
export async function openKmsHome(at: KmsHomeAt): Promise<KmsHome> {
  const kms = await openKms(at);
  const troubles = new Troubles();
  const keyOf = ({ home, reference }: KeyPlace): string => {
    ensure(home === AWS_KMS, 'key_wrong', `key ${reference} is in the home ${home}, and not in ${AWS_KMS}`);
    ensureKeyIn(kms.region, reference);
    return reference;
  };
  const load = async (place: KeyPlace): Promise<Signer> => {
    const key = keyOf(place);
    return signerOf(kms, key, { found: await publicKey(kms, key), trouble: troubles.of(key) });
  };
  const loadNew = async (reference: string, algorithm: KeyAlgorithm): Promise<HomeKey> => {
    const place = { home: AWS_KMS, reference };
    const signer = await seen(() => load(place));
    const says = `key ${reference} is of ${signer.algorithm}, and a key of ${algorithm} is expected`;
    ensure(signer.algorithm === algorithm, 'key_wrong', says);
    return { place, signer };
  };
  return {
    async create(label, algorithm = 'ecdsa-p256') {
      const { Arn = '' } = await createKey(kms, { label, algorithm, trustDomain: at.trustDomain });
      try {
        return await loadNew(Arn, algorithm);
      } catch (error) {
        await scheduleDeletion(kms, Arn).catch(() => {});
        throw error;
      }
    },
    async adopt(name, algorithm) {
      const { Arn = '', Origin } = await describe(kms, name);
      const says = `key ${name} has the origin ${Origin}: only one that was made in AWS KMS was never elsewhere`;
      ensure(Origin === 'AWS_KMS', 'key_wrong', says);
      return loadNew(Arn, algorithm);
    },
    has: async (place) =>
      troubles.note(place.reference, async () => (await find(kms, keyOf(place))) !== undefined),
    load,
    async remove(place) {
      const found = await find(kms, keyOf(place));
      if (found?.Description?.startsWith(MADE)) await scheduleDeletion(kms, place.reference);
    },
    close: () => kms.close(),
  };
}

interface NewKey {
  readonly label: string;
  readonly algorithm: KeyAlgorithm;
  readonly trustDomain: string;
}

async function createKey(kms: Kms, { label, algorithm, trustDomain }: NewKey): Promise<KeyMetadata> {
  const { KeyMetadata: made } = await kms.ask<CreateKeyResponse>({
    action: 'kms:CreateKey',
    // Nobody would know of it, and the next try makes another one.
    late: ({ KeyMetadata: unheard }) => void scheduleDeletion(kms, unheard?.Arn ?? '').catch(() => {}),
    ask: (client, { CreateKeyCommand }, options) =>
      client.send(
        new CreateKeyCommand({
          KeySpec: SPECS[algorithm].spec,
          KeyUsage: 'SIGN_VERIFY',
          Origin: 'AWS_KMS',
          Description: `${MADE}${label}`,
          Tags: [
            { TagKey: 'chancery', TagValue: trustDomain },
            { TagKey: 'chancery-authority', TagValue: label },
          ],
        }),
        options,
      ),
  });
  ensure(made !== undefined, 'key_wrong', 'AWS KMS has made a key and does not say which');
  return made;
}

async function describe(kms: Kms, key: string): Promise<KeyMetadata> {
  const { KeyMetadata: found } = await kms.ask({
    action: 'kms:DescribeKey',
    key,
    ask: (client, { DescribeKeyCommand }, options) =>
      client.send(new DescribeKeyCommand({ KeyId: key }), options),
  });
  ensure(found !== undefined, 'key_wrong', `AWS KMS says nothing about key ${key}`);
  return found;
}

const publicKey = (kms: Kms, key: string): Promise<GetPublicKeyResponse> =>
  kms.ask({
    action: 'kms:GetPublicKey',
    key,
    ask: (client, { GetPublicKeyCommand }, options) =>
      client.send(new GetPublicKeyCommand({ KeyId: key }), options),
  });

const scheduleDeletion = (kms: Kms, key: string): Promise<unknown> =>
  kms.ask({
    action: 'kms:ScheduleKeyDeletion',
    key,
    ask: (client, { ScheduleKeyDeletionCommand }, options) =>
      client.send(
        new ScheduleKeyDeletionCommand({ KeyId: key, PendingWindowInDays: DELETION_DAYS }),
        options,
      ),
  });

/** A key whose deletion is pending counts as gone: it signs nothing unless an operator takes that back. */
async function find(kms: Kms, key: string): Promise<KeyMetadata | undefined> {
  try {
    const found = await describe(kms, key);
    return found.KeyState?.startsWith('Pending') && found.KeyState.endsWith('Deletion') ? undefined : found;
  } catch (error) {
    if (isRefusal(error, 'key_missing')) return undefined;
    throw error;
  }
}

interface Found {
  readonly found: GetPublicKeyResponse;
  readonly trouble: ReturnType<Troubles['of']>;
}

/** Throws key_wrong unless what KMS says of the key is what a signer of ours needs. */
function signerOf(kms: Kms, key: string, { found, trouble }: Found): Signer {
  const { KeyId, KeySpec, KeyUsage, PublicKey: spki = new Uint8Array() } = found;
  ensure(KeyId === key, 'key_wrong', `AWS KMS answers about key ${KeyId}, and was asked about ${key}`);
  ensure(KeyUsage === 'SIGN_VERIFY', 'key_wrong', `key ${key} is for ${KeyUsage}, and not for SIGN_VERIFY`);
  const algorithm = algorithmOf(spki);
  const own = algorithm && SPECS[algorithm];
  const says = `key ${key} has the spec ${KeySpec}: ECC_NIST_P256 or ECC_NIST_P384 is expected`;
  ensure(own !== undefined && KeySpec === own.spec, 'key_wrong', says);
  const signDigest = async (digest: Uint8Array): Promise<Uint8Array> => {
    const { Signature } = await kms.ask({
      action: 'kms:Sign',
      key,
      ask: (client, { SignCommand }, options) =>
        client.send(
          new SignCommand({
            KeyId: key,
            Message: digest,
            MessageType: 'DIGEST',
            SigningAlgorithm: own.signing,
          }),
          options,
        ),
    });
    return Signature ?? new Uint8Array();
  };
  return distantSigner({ spki, name: `key ${key} of AWS KMS`, trouble, signDigest });
}

/** Looks again for a while where the key is not there yet. */
async function seen<T>(look: () => Promise<T>): Promise<T> {
  const until = performance.now() + SEEN_MS;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (!isRefusal(error, 'key_missing') || performance.now() > until) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
