/** Keys that are made in the TPM and cannot leave it. */
import { hash } from 'node:crypto';
import { writePem } from '@chancery/shared/der/pem.ts';
import { boolean, explicit, octets, oid, sequence, unsignedInteger } from '@chancery/shared/der/write.ts';
import { concat, u16 } from '@chancery/shared/ground/bytes.ts';
import { OWNER } from '@chancery/shared/tpm/algorithms.ts';
import { readPublicArea, spkiOf } from '@chancery/shared/tpm/public-area.ts';
import { readSignature } from '@chancery/shared/tpm/signature.ts';
import { STORAGE_P256, TPM_KEY } from '@chancery/shared/tpm/templates.ts';
import type { TpmCommands, TpmObject, WrappedKey } from './commands.ts';

/** A new P-256 key, wrapped by the storage key of this TPM. */
export async function createTpmKey(tpm: TpmCommands): Promise<WrappedKey> {
  return underStorageKey(tpm, (parent) => tpm.create(parent, TPM_KEY));
}

/** The caller flushes it. */
export async function loadTpmKey(tpm: TpmCommands, key: WrappedKey): Promise<TpmObject> {
  return underStorageKey(tpm, (parent) => tpm.load(parent, key));
}

/** ECDSA over SHA-256 of `data`, as the DER sequence of r and s. */
export async function signWithTpmKey(
  tpm: TpmCommands,
  key: WrappedKey,
  data: Uint8Array,
): Promise<Uint8Array> {
  const { handle } = await loadTpmKey(tpm, key);
  const scalars = readSignature(await tpm.sign(handle, hash('sha256', data, 'buffer')));
  await tpm.flush(handle);
  return sequence(unsignedInteger(scalars.subarray(0, 32)), unsignedInteger(scalars.subarray(32)));
}

/** The key's SubjectPublicKeyInfo, in DER. Throws tpm_device if the TPM made another kind of key. */
export function spkiOfTpmKey(key: WrappedKey): Uint8Array {
  return spkiOf(readPublicArea(key.publicArea, TPM_KEY, 'tpm_device'));
}

/**
 * The file that tpm2-openssl and other TPM-aware TLS stacks read (ASN.1 Specification for TPM 2.0 Key Files, 3.1).
 * It cannot be used on another machine.
 */
export function writeTpmKeyPem({ publicArea, privateArea }: WrappedKey): string {
  const sized = (bytes: Uint8Array): Uint8Array => concat(u16(bytes.length), bytes);
  const parent = unsignedInteger(Buffer.from(OWNER.toString(16), 'hex'));
  const emptyAuth = explicit(0, boolean(true));
  const key = sequence(
    oid(LOADABLE_KEY),
    emptyAuth,
    parent,
    octets(sized(publicArea)),
    octets(sized(privateArea)),
  );
  return writePem('TSS2 PRIVATE KEY', key);
}

/** id-loadablekey. */
const LOADABLE_KEY = '2.23.133.10.1.3';

/** The storage key is a primary: derived when it is needed, and its slot freed at once, for there are three. */
async function underStorageKey<T>(tpm: TpmCommands, use: (parent: number) => Promise<T>): Promise<T> {
  const { handle } = await tpm.createPrimary(OWNER, STORAGE_P256);
  const result = await use(handle);
  await tpm.flush(handle);
  return result;
}
