/**
 * TPM2_MakeCredential without a TPM (Part 1, section 24; Part 3, section 12.6): encrypts a secret so that only the TPM
 * with this EK decrypts it, and only while it has the AK with this name.
 */
import {
  constants,
  createCipheriv,
  createECDH,
  createHmac,
  type KeyObject,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { concat, u8, u16, utf8 } from '../ground/bytes.ts';
import { HASH_BYTES } from './algorithms.ts';
import { kdfA, kdfE } from './kdf.ts';
import { keyOf, type PublicArea } from './public-area.ts';

export interface Credential {
  /** TPMS_ID_OBJECT: the integrity HMAC and the encrypted secret. */
  readonly credential: Uint8Array;
  /** TPMU_ENCRYPTED_SECRET: the seed, encrypted for the EK. */
  readonly encryptedSeed: Uint8Array;
}

const NOTHING = new Uint8Array();
const CURVE_NAME = { p256: 'prime256v1', p384: 'secp384r1' } as const;

/** All hashes use the EK's nameAlg, not the AK's. `secret` is at most as long as that hash. */
export function makeCredential(ek: PublicArea, akName: Uint8Array, secret: Uint8Array): Credential {
  const { nameAlg: hash, aesBits } = ek.template;
  const { seed, encryptedSeed } = shareSeed(ek);
  const storageKey = kdfA(seed, { hash, label: 'STORAGE', u: akName, v: NOTHING, bits: aesBits });
  const cipher = createCipheriv(`aes-${aesBits}-cfb`, storageKey, new Uint8Array(16));
  const encrypted = concat(cipher.update(sized(secret)), cipher.final());
  const bits = HASH_BYTES[hash] * 8;
  const integrityKey = kdfA(seed, { hash, label: 'INTEGRITY', u: NOTHING, v: NOTHING, bits });
  const integrity = createHmac(hash, integrityKey).update(encrypted).update(akName).digest();
  return { credential: concat(sized(integrity), encrypted), encryptedSeed };
}

interface SharedSeed {
  readonly seed: Uint8Array;
  readonly encryptedSeed: Uint8Array;
}

function shareSeed(ek: PublicArea): SharedSeed {
  const { shape } = ek.template;
  return shape === 'rsa2048' ? encryptSeed(ek, keyOf(ek, 'ek_parse')) : agreeSeed(ek, CURVE_NAME[shape]);
}

/** Part 1, annex B: OAEP. The label includes its NUL byte. */
function encryptSeed(ek: PublicArea, key: KeyObject): SharedSeed {
  const { nameAlg } = ek.template;
  const seed = randomBytes(HASH_BYTES[nameAlg]);
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const encryptedSeed = publicEncrypt(
    { key, padding, oaepHash: nameAlg, oaepLabel: utf8('IDENTITY\0') },
    seed,
  );
  return { seed, encryptedSeed };
}

/** Part 1, annex C: ECDH with an ephemeral key. Coordinates keep their leading zeros. */
function agreeSeed(ek: PublicArea, curve: string): SharedSeed {
  const field = ek.unique.length / 2;
  const ephemeral = createECDH(curve);
  const point = ephemeral.generateKeys().subarray(1);
  const x = point.subarray(0, field);
  const z = ephemeral.computeSecret(concat(u8(4), ek.unique));
  const hash = ek.template.nameAlg;
  const bits = HASH_BYTES[hash] * 8;
  const seed = kdfE(z, { hash, label: 'IDENTITY', u: x, v: ek.unique.subarray(0, field), bits });
  return { seed, encryptedSeed: concat(sized(x), sized(point.subarray(field))) };
}

const sized = (bytes: Uint8Array): Uint8Array => concat(u16(bytes.length), bytes);
