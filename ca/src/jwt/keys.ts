/** JWT signing keys as the CA makes them. Nobody has to: one signs from `init`, or from the first start, on. */
import { hash } from 'node:crypto';
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { drawSerial } from '../authority/serial.ts';
import type { KeyHomes } from '../keys/homes.ts';
import { maySign } from '../store/authority-states.ts';
import type { JwtStore } from '../store/jwt-store.ts';
import type { AuthorityState, AuthorityStore, StoredJwtKey } from '../store/store.ts';

/**
 * No token that a JWT key signs may live longer (seconds): a key that signs no more stays in the bundle for so long.
 * The issuing of tokens keeps to it.
 */
export const MAX_TOKEN_SECONDS = 3600;

export interface JwtKeyDeps {
  readonly store: JwtStore & Pick<AuthorityStore, 'life'>;
  readonly keys: Pick<KeyHomes, 'jwt'>;
  readonly clock: Clock;
  readonly random: (size: number) => Uint8Array;
}

/** Makes a key in its home and its record. Throws store, and what its home throws. */
export async function makeJwtKey(
  state: Extract<AuthorityState, 'prepared' | 'active'>,
  { store, keys, clock, random }: JwtKeyDeps,
): Promise<string> {
  const serial = hex(drawSerial(clock.now(), random, await store.life()));
  const { signer, place: key } = await keys.jwt.create(serial);
  const { algorithm, spki } = signer;
  const record = { kind: 'jwt', serial, state, algorithm, key, spki } as const;
  const keySha256 = hash('sha256', spki, 'hex');
  try {
    await store.saveJwtKey(record, { type: 'jwtKey.made', serial, algorithm, keySha256 });
  } catch (error) {
    // Of two that were first at once one is stored. The key of the other one is only something to steal.
    const { jwtKeys } = await store.allAuthorities().catch(() => ({ jwtKeys: undefined }));
    if (jwtKeys?.every((each) => each.serial !== serial) === true) await keys.jwt.remove(key);
    throw error;
  }
  return serial;
}

/** Makes one that signs where none does. Throws as `makeJwtKey`. */
export async function ensureJwtKey(deps: JwtKeyDeps): Promise<void> {
  if (await signs(deps)) return;
  try {
    await makeJwtKey('active', deps);
  } catch (error) {
    // Another process was faster.
    if (!(await signs(deps))) throw error;
  }
}

/** As `ensureJwtKey`; what fails is told and tried again with the next upkeep, since it stops nothing else. */
export async function settleJwtKey(deps: JwtKeyDeps & { readonly log: Log }): Promise<void> {
  try {
    await ensureJwtKey(deps);
  } catch (error) {
    deps.log.error({ err: error }, 'the first JWT signing key could not be made yet');
  }
}

const signs = async ({ store }: JwtKeyDeps): Promise<boolean> =>
  (await store.allAuthorities()).jwtKeys.some(maySign);

/** SHA-256 of the key, hexadecimal. */
export const jwtKeyName = ({ spki }: Pick<StoredJwtKey, 'spki'>): string => hash('sha256', spki, 'hex');
