/** The module of a token (Cryptoki, PKCS #11 v2.40): loaded when a key is needed from it, and not before. */
import { existsSync } from 'node:fs';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { PKCS11 } from 'pkcs11js';

/** What is used of it. */
export type Cryptoki = Pick<
  PKCS11,
  | 'C_Initialize'
  | 'C_Finalize'
  | 'C_GetSlotList'
  | 'C_GetTokenInfo'
  | 'C_OpenSession'
  | 'C_CloseSession'
  | 'C_Login'
  | 'C_GenerateKeyPair'
  | 'C_FindObjectsInit'
  | 'C_FindObjects'
  | 'C_FindObjectsFinal'
  | 'C_GetAttributeValue'
  | 'C_DestroyObject'
  | 'C_SignInit'
  | 'C_SignAsync'
>;

export type Handle = ReturnType<PKCS11['C_OpenSession']>;

/** Threads of libuv call the module, each with a session of its own. */
const CKF_OS_LOCKING_OK = 0x2;

/** Loads and initializes a module. Throws key_unreachable with what is missing. Blocks. */
export async function openCryptoki(path: string): Promise<Cryptoki> {
  const says = `${path} is missing: keys.pkcs11.module names the PKCS #11 module of the token`;
  ensure(existsSync(path), 'key_unreachable', says);
  const { PKCS11 } = await binding();
  try {
    const cryptoki = new PKCS11(path);
    initialize(cryptoki);
    return cryptoki;
  } catch (error) {
    throw refusalOf(
      error,
      'key_unreachable',
      `${path} could not be used as a PKCS #11 module: ${saysOf(error)}`,
    );
  }
}

/** Blocks. */
export function initialize(cryptoki: Pick<Cryptoki, 'C_Initialize'>): void {
  try {
    cryptoki.C_Initialize({ flags: CKF_OS_LOCKING_OK });
  } catch (error) {
    if (nameOf(error) !== 'CKR_CRYPTOKI_ALREADY_INITIALIZED') throw error;
  }
}

/** The name of the return value, such as CKR_PIN_INCORRECT; undefined for any other error. */
export const nameOf = (error: unknown): string | undefined =>
  error instanceof Error ? /\bCKR_[A-Z0-9_]+/.exec(error.message)?.[0] : undefined;

/** The same, or what another error says. */
export const saysOf = (error: unknown): string =>
  nameOf(error) ?? (error instanceof Error ? error.message : String(error));

/** The module's native half is compiled on the machine that wants it. */
async function binding(): Promise<typeof import('pkcs11js')> {
  try {
    const { default: all } = await import('pkcs11js');
    return all;
  } catch (error) {
    const says =
      'pkcs11js is not there or not compiled: npm run pkcs11 (it needs a C++ compiler, Debian: g++)';
    throw new IdentityError('key_unreachable', says, { cause: error });
  }
}
