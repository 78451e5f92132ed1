/**
 * The public areas that are accepted, byte for byte up to the key itself. They require fixedTPM, fixedParent and
 * sensitiveDataOrigin: a TPM also activates a credential for a software key that was imported.
 */
import { concat, u16, u32 } from '../ground/bytes.ts';
import { ALG, CURVE, type HashName } from './algorithms.ts';

export type KeyShape = 'rsa2048' | 'p256' | 'p384';

export interface Template {
  readonly name: string;
  /** TPMT_PUBLIC up to `unique`. */
  readonly prefix: Uint8Array;
  readonly shape: KeyShape;
  readonly nameAlg: HashName;
  /** Key bits of the AES-CFB that protects what is sent to this key; 0 for a key that signs. */
  readonly aesBits: number;
  /** The `unique` field of the template for TPM2_CreatePrimary. */
  readonly unique: Uint8Array;
}

const sized = (bytes: Uint8Array): Uint8Array => concat(u16(bytes.length), bytes);
const aesCfb = (bits: number): Uint8Array => concat(u16(ALG.aes), u16(bits), u16(ALG.cfb));
const NONE = sized(new Uint8Array());
const NULL_ALG = u16(ALG.null);

/** TCG EK Credential Profile, annex B: PolicyA with SHA-256 and PolicyB with SHA-384. */
const POLICY_A = Buffer.from('837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa', 'hex');
const POLICY_B = Buffer.from(
  'b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12',
  'hex',
);

const head = (type: number, nameAlg: number, attributes: number): Uint8Array =>
  concat(u16(type), u16(nameAlg), u32(attributes));

/** EK Credential Profile, annex B, template L-1. */
export const EK_RSA_2048: Template = {
  name: 'EK RSA-2048 (L-1)',
  prefix: concat(
    head(ALG.rsa, ALG.sha256, 0x0003_00b2),
    sized(POLICY_A),
    aesCfb(128),
    NULL_ALG,
    u16(2048),
    u32(0),
  ),
  shape: 'rsa2048',
  nameAlg: 'sha256',
  aesBits: 128,
  unique: sized(new Uint8Array(256)),
};

/** Annex B, template L-2. */
export const EK_P256: Template = {
  name: 'EK P-256 (L-2)',
  prefix: concat(
    head(ALG.ecc, ALG.sha256, 0x0003_00b2),
    sized(POLICY_A),
    aesCfb(128),
    NULL_ALG,
    u16(CURVE.p256),
    NULL_ALG,
  ),
  shape: 'p256',
  nameAlg: 'sha256',
  aesBits: 128,
  unique: concat(sized(new Uint8Array(32)), sized(new Uint8Array(32))),
};

/**
 * Annex B, template H-3. Use needs an empty password (userWithAuth); the policy is for administration
 * (adminWithPolicy).
 */
export const EK_P384: Template = {
  name: 'EK P-384 (H-3)',
  prefix: concat(
    head(ALG.ecc, ALG.sha384, 0x0003_00f2),
    sized(POLICY_B),
    aesCfb(256),
    NULL_ALG,
    u16(CURVE.p384),
    NULL_ALG,
  ),
  shape: 'p384',
  nameAlg: 'sha384',
  aesBits: 256,
  unique: concat(NONE, NONE),
};

const signing = (name: string, attributes: number): Template => ({
  name,
  prefix: concat(
    head(ALG.ecc, ALG.sha256, attributes),
    NONE,
    NULL_ALG,
    u16(ALG.ecdsa),
    u16(ALG.sha256),
    u16(CURVE.p256),
    NULL_ALG,
  ),
  shape: 'p256',
  nameAlg: 'sha256',
  aesBits: 0,
  unique: concat(NONE, NONE),
});

/**
 * fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign. Signs the TPM's own structures, and
 * outside data only if it does not begin with TPM_GENERATED_VALUE.
 */
export const AK = signing('AK P-256', 0x0005_0072);

/** The same without `restricted`: signs any data, and never leaves its TPM. */
export const TPM_KEY = signing('key P-256', 0x0004_0072);

/**
 * Parent of keys in the TPM: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt. A TPM
 * key file whose parent is the owner's hierarchy means this primary, with an empty `unique`.
 */
export const STORAGE_P256: Template = {
  name: 'storage key P-256',
  prefix: concat(
    head(ALG.ecc, ALG.sha256, 0x0003_0472),
    NONE,
    aesCfb(128),
    NULL_ALG,
    u16(CURVE.p256),
    NULL_ALG,
  ),
  shape: 'p256',
  nameAlg: 'sha256',
  aesBits: 128,
  unique: concat(NONE, NONE),
};
