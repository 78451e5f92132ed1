/**
 * What a key in a token is called: a URI of RFC 7512, with the token by its label and the key by its own. Both are
 * attributes of the token, and no config of ours: a record finds its key again whatever the config says by then.
 */
import { ensure } from '@chancery/shared/ground/errors.ts';

export interface TokenKey {
  /** Label of the token. */
  readonly token: string;
  /** CKA_LABEL of the private and of the public key. */
  readonly label: string;
}

/** RFC 7512 section 2.3, and nothing else than what we write: two attributes in this order. */
const URI = /^pkcs11:token=([A-Za-z0-9._~%-]{1,96});object=([a-z0-9-]{1,60})$/;

/** The record's name of the key. */
export const writeReference = ({ token, label }: TokenKey): string =>
  `pkcs11:token=${encodeURIComponent(token)};object=${label}`;

/** Throws key_wrong. */
export function readReference(reference: string): TokenKey {
  const [, token, label] = URI.exec(reference) ?? [];
  ensure(
    token !== undefined && label !== undefined && isEncoded(token),
    'key_wrong',
    `key ${reference} is not named as a key in a token is: pkcs11:token=TOKEN;object=KEY`,
  );
  return { token: decodeURIComponent(token), label };
}

function isEncoded(text: string): boolean {
  try {
    return encodeURIComponent(decodeURIComponent(text)) === text;
  } catch {
    return false;
  }
}
