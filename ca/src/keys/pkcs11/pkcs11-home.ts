/** The home `pkcs11`: keys that are made in a token, sign there, and never leave it. */
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { distantSigner, type Trouble, Troubles } from '@chancery/shared/keys/distant.ts';
import type { KeyHome, KeyPlace } from '@chancery/shared/keys/home.ts';
import { derOfRaw, type Signer } from '@chancery/shared/keys/key.ts';
import { openCryptoki } from './cryptoki.ts';
import { findPrivateKey, makePair, type Pair, readPair, removePair } from './objects.ts';
import type { PinAt } from './pin.ts';
import { readReference, writeReference } from './reference.ts';
import { type Session, Token, type TokenDeps } from './token.ts';

/** As records and the config name it. */
export const PKCS11 = 'pkcs11';

/** ECDSA over a digest that is made here: not every module has the mechanisms that hash. */
const CKM_ECDSA = 0x1041;

export interface Pkcs11At extends PinAt {
  /** Path of the module. */
  readonly module: string;
  /** Label of the token. */
  readonly token: string;
}

/** A home of keys that is closed by its user. */
export type ClosingHome = KeyHome & { close(): void };

/** The module is loaded now; the token is looked for with the first use. Throws key_unreachable. */
export async function openPkcs11(at: Pkcs11At): Promise<ClosingHome> {
  return tokenHome({ cryptoki: await openCryptoki(at.module), label: at.token, pin: at });
}

/** Throws key_unreachable, key_refused, key_missing, key_wrong, file, file_mode. */
function tokenHome(deps: TokenDeps): ClosingHome {
  const token = new Token(deps);
  const troubles = new Troubles();
  const labelOf = ({ home, reference }: KeyPlace): string => {
    ensure(home === PKCS11, 'key_wrong', `key ${reference} is in the home ${home}, and not in ${PKCS11}`);
    const key = readReference(reference);
    const says = `key ${key.label} is in the token ${key.token}, and keys.pkcs11.token is ${token.label}`;
    ensure(key.token === token.label, 'key_wrong', says);
    return key.label;
  };
  const load = async (place: KeyPlace): Promise<Signer> => {
    const label = labelOf(place);
    const pair = await token.use((session, cryptoki) => readPair(openedBy(session, cryptoki), label));
    return signerAt(token, { label, pair, trouble: troubles.of(place.reference) });
  };
  const has = async (label: string): Promise<boolean> => {
    try {
      await token.use((session, cryptoki) => findPrivateKey(openedBy(session, cryptoki), label));
      return true;
    } catch (error) {
      if (isRefusal(error, 'key_missing')) return false;
      throw error;
    }
  };
  return {
    async create(name, algorithm = 'ecdsa-p256') {
      const label = `chancery-${name}`;
      const place = { home: PKCS11, reference: writeReference({ token: token.label, label }) };
      ensure(!(await has(label)), 'key_wrong', `token ${token.label} has a key ${label} already`);
      await token.once((session, cryptoki) => makePair(openedBy(session, cryptoki), label, algorithm));
      return { place, signer: await load(place) };
    },
    has: async (place) => troubles.note(place.reference, () => has(labelOf(place))),
    // Finds the token, and logs in.
    ready: async () => void (await has('chancery')),
    load,
    async remove(place) {
      const label = labelOf(place);
      await token.use((session, cryptoki) => removePair(openedBy(session, cryptoki), label));
    },
    close: () => token.close(),
  };
}

interface SignedWith {
  readonly label: string;
  readonly pair: Pair;
  readonly trouble: Trouble;
}

function signerAt(token: Token, { label, pair, trouble }: SignedWith): Signer {
  let known: { readonly generation: number; readonly pair: Pair } | undefined;
  const signDigest = (digest: Uint8Array): Promise<Uint8Array> =>
    token.use(async (session, cryptoki) => {
      // Handles of objects are good until the token is lost.
      if (known?.generation !== session.generation)
        known = { generation: session.generation, pair: readPair(openedBy(session, cryptoki), label) };
      cryptoki.C_SignInit(session.handle, { mechanism: CKM_ECDSA }, known.pair.privateKey);
      session.input.set(digest);
      const input = session.input.subarray(0, digest.length);
      return derOfRaw(await cryptoki.C_SignAsync(session.handle, input, session.output));
    });
  return distantSigner({
    spki: pair.spki,
    name: `key ${label} of token ${token.label}`,
    trouble,
    signDigest,
  });
}

const openedBy = (session: Session, cryptoki: TokenDeps['cryptoki']) => ({
  cryptoki,
  session: session.handle,
});
