/** Signers whose keys never leave their home: what all such homes have in common. */
import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto';
import { asBuffer, utf8 } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { algorithmOf, digestNameOf, type Signer } from './key.ts';

/** Why the last use of one key failed; shared by all signers with that key. */
export interface Trouble {
  says: string | undefined;
  /** Whether somebody is trying again. */
  trying: boolean;
}

/** The troubles of a home by the references of its keys. */
export class Troubles {
  readonly #all = new Map<string, Trouble>();

  /** That of one key; the same value each time. */
  of(reference: string): Trouble {
    const known = this.#all.get(reference) ?? { says: undefined, trying: false };
    this.#all.set(reference, known);
    return known;
  }

  /** Runs `work`, and keeps its failure. Only a signature ends a trouble. */
  async note<T>(reference: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.of(reference).says = error instanceof Error ? error.message : String(error);
      throw error;
    }
  }
}

export interface DistantKey extends Pick<Signer, 'spki'> {
  /** What the key is called in messages. */
  readonly name: string;
  readonly trouble: Trouble;
  /** ECDSA over a digest, as the DER sequence of r and s. */
  signDigest(digest: Uint8Array): Promise<Uint8Array>;
}

/** Signed to see whether the key works again; not a certificate, a list or a checkpoint. */
const QUESTION = utf8('chancery: does this key sign?');

/**
 * What the home answers counts only if it verifies: a home may be wired to another key, or broken. Throws key_wrong for
 * a key of an algorithm that no signer of ours has, and for a signature that does not verify.
 */
export function distantSigner({ spki, name, trouble, signDigest }: DistantKey): Signer {
  const algorithm = algorithmOf(spki);
  ensure(algorithm !== undefined, 'key_wrong', `${name} is expected on P-256 or P-384`);
  const digest = digestNameOf(algorithm);
  const publicKey = createPublicKey({ key: asBuffer(spki), format: 'der', type: 'spki' });
  const signed = async (data: Uint8Array): Promise<Uint8Array> => {
    const signature = await signDigest(hash(digest, data, 'buffer'));
    const says = `${name} gave a signature that is not of its public key`;
    ensure(verifies(digest, data, publicKey, signature), 'key_wrong', says);
    return signature;
  };
  const sign = async (data: Uint8Array): Promise<Uint8Array> => {
    try {
      const signature = await signed(data);
      trouble.says = undefined;
      return signature;
    } catch (error) {
      trouble.says = error instanceof Error ? error.message : String(error);
      throw error;
    }
  };
  return { spki, algorithm, sign, unable: () => unable(trouble, () => sign(QUESTION)) };
}

function unable(trouble: Trouble, again: () => Promise<unknown>): string | undefined {
  if (trouble.says !== undefined && !trouble.trying) {
    trouble.trying = true;
    void again()
      .catch(() => {})
      .finally(() => {
        trouble.trying = false;
      });
  }
  return trouble.says;
}

function verifies(digest: string, data: Uint8Array, key: KeyObject, signature: Uint8Array): boolean {
  try {
    return verify(digest, data, key, signature);
  } catch {
    return false;
  }
}
