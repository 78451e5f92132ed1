/** Constants of TPM 2.0 (Part 2, sections 6 to 10) that the agent and the CA use. */

/** TPM_ALG_ID, section 6.3. */
export const ALG = {
  rsa: 0x0001,
  aes: 0x0006,
  sha256: 0x000b,
  sha384: 0x000c,
  null: 0x0010,
  ecdsa: 0x0018,
  ecc: 0x0023,
  cfb: 0x0043,
} as const;

/** TPM_ECC_CURVE, section 6.4. */
export const CURVE = { p256: 0x0003, p384: 0x0004 } as const;

/** TPMA_OBJECT, section 8.3. */
export const ATTRIBUTE = { fixedTpm: 0x2, restricted: 0x1_0000 } as const;

/** The bits of TPMA_OBJECT, with their names in section 8.3. */
export const ATTRIBUTE_NAMES: readonly (readonly [name: string, bit: number])[] = [
  ['fixedTPM', 0x2],
  ['stClear', 0x4],
  ['fixedParent', 0x10],
  ['sensitiveDataOrigin', 0x20],
  ['userWithAuth', 0x40],
  ['adminWithPolicy', 0x80],
  ['noDA', 0x400],
  ['encryptedDuplication', 0x800],
  ['restricted', 0x1_0000],
  ['decrypt', 0x2_0000],
  ['sign', 0x4_0000],
];

/** TPM_RH_ENDORSEMENT and TPM_RH_OWNER, section 7.4. */
export const ENDORSEMENT = 0x4000_000b;
export const OWNER = 0x4000_0001;

export type HashName = 'sha256' | 'sha384';
export const HASH_ID = { sha256: ALG.sha256, sha384: ALG.sha384 } as const;
export const HASH_BYTES = { sha256: 32, sha384: 48 } as const;
