/** The two objects of a key in a token: made, found, checked, removed. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { type KeyAlgorithm, parametersOf, spkiOfPoint } from '@chancery/shared/keys/key.ts';
import type { Cryptoki, Handle } from './cryptoki.ts';

type Value = number | boolean | string | Buffer;
interface Attribute {
  readonly type: number;
  readonly value: Value;
}

/** Of PKCS #11 v2.40, pkcs11t.h. */
const [CKO_PUBLIC_KEY, CKO_PRIVATE_KEY, CKM_EC_KEY_PAIR_GEN] = [2, 3, 0x1040];
const CKA = {
  CLASS: 0x0,
  TOKEN: 0x1,
  PRIVATE: 0x2,
  LABEL: 0x3,
  ID: 0x102,
  SENSITIVE: 0x103,
  ENCRYPT: 0x104,
  DECRYPT: 0x105,
  WRAP: 0x106,
  UNWRAP: 0x107,
  SIGN: 0x108,
  VERIFY: 0x10a,
  DERIVE: 0x10c,
  EXTRACTABLE: 0x162,
  LOCAL: 0x163,
  NEVER_EXTRACTABLE: 0x164,
  ALWAYS_SENSITIVE: 0x165,
  EC_PARAMS: 0x180,
  EC_POINT: 0x181,
} as const;

/** What must be true of the private key, and what that stops. */
const MUST = [
  [CKA.SENSITIVE, 1, 'may leave the token in clear (CKA_SENSITIVE)'],
  [CKA.EXTRACTABLE, 0, 'may leave the token (CKA_EXTRACTABLE)'],
  [CKA.NEVER_EXTRACTABLE, 1, 'could once leave the token (CKA_NEVER_EXTRACTABLE)'],
  [CKA.ALWAYS_SENSITIVE, 1, 'could once leave the token in clear (CKA_ALWAYS_SENSITIVE)'],
  [CKA.LOCAL, 1, 'was not made in the token (CKA_LOCAL)'],
] as const;

/** More than one is a mistake, whose number does not matter. */
const MAX_FOUND = 8;

export interface Pair {
  readonly privateKey: Handle;
  readonly spki: Uint8Array;
}

/** Where objects are looked for. */
export interface Opened {
  readonly cryptoki: Cryptoki;
  readonly session: Handle;
}

/** Makes a pair that cannot leave the token. Blocks. Throws what the module throws. */
export function makePair({ cryptoki, session }: Opened, label: string, algorithm: KeyAlgorithm): void {
  const shared = [
    { type: CKA.TOKEN, value: true },
    { type: CKA.LABEL, value: label },
    { type: CKA.ID, value: Buffer.from(label, 'latin1') },
  ];
  const forPublic = [
    ...shared,
    { type: CKA.VERIFY, value: true },
    { type: CKA.ENCRYPT, value: false },
    { type: CKA.WRAP, value: false },
    { type: CKA.EC_PARAMS, value: Buffer.from(parametersOf(algorithm)) },
  ];
  const forPrivate = [
    ...shared,
    { type: CKA.PRIVATE, value: true },
    { type: CKA.SENSITIVE, value: true },
    { type: CKA.EXTRACTABLE, value: false },
    { type: CKA.SIGN, value: true },
    { type: CKA.DECRYPT, value: false },
    { type: CKA.UNWRAP, value: false },
    { type: CKA.DERIVE, value: false },
  ];
  // Not its asynchronous form: that gives the module templates which may be gone when it reads them.
  cryptoki.C_GenerateKeyPair(session, { mechanism: CKM_EC_KEY_PAIR_GEN }, forPublic, forPrivate);
}

/** Throws key_missing, key_wrong. Blocks. */
export const findPrivateKey = (at: Opened, label: string): Handle =>
  one(find(at, CKO_PRIVATE_KEY, label), `private key ${label}`);

/** Throws key_missing, and key_wrong unless the key was made in the token and can never leave it. Blocks. */
export function readPair(at: Opened, label: string): Pair {
  const { cryptoki, session } = at;
  const privateKey = findPrivateKey(at, label);
  const publicKey = one(find(at, CKO_PUBLIC_KEY, label), `public key ${label}`);
  for (const [type, expected, says] of MUST)
    ensure(
      attributeOf(cryptoki, session, privateKey, type)[0] === expected,
      'key_wrong',
      `key ${label} ${says}`,
    );
  const parameters = attributeOf(cryptoki, session, publicKey, CKA.EC_PARAMS);
  const spki = spkiOfPoint(parameters, attributeOf(cryptoki, session, publicKey, CKA.EC_POINT));
  ensure(spki !== undefined, 'key_wrong', `key ${label} is not a key on P-256 or P-384`);
  return { privateKey, spki };
}

/** Blocks. Does nothing where there are none. */
export function removePair(at: Opened, label: string): void {
  for (const each of [...find(at, CKO_PRIVATE_KEY, label), ...find(at, CKO_PUBLIC_KEY, label)])
    at.cryptoki.C_DestroyObject(at.session, each);
}

function find({ cryptoki, session }: Opened, kind: number, label: string): readonly Handle[] {
  const template: Attribute[] = [
    { type: CKA.CLASS, value: kind },
    { type: CKA.TOKEN, value: true },
    { type: CKA.LABEL, value: label },
  ];
  cryptoki.C_FindObjectsInit(session, template);
  try {
    return cryptoki.C_FindObjects(session, MAX_FOUND);
  } finally {
    cryptoki.C_FindObjectsFinal(session);
  }
}

function one([first, ...others]: readonly Handle[], what: string): Handle {
  ensure(
    first !== undefined,
    'key_missing',
    `${what} is not in the token: restore the token from its own backup`,
  );
  ensure(
    others.length === 0,
    'key_wrong',
    `${what} is in the token more than once: remove what is not of this CA`,
  );
  return first;
}

function attributeOf(cryptoki: Cryptoki, session: Handle, object: Handle, type: number): Uint8Array {
  const [found] = cryptoki.C_GetAttributeValue(session, object, [{ type }]);
  return found?.value instanceof Uint8Array ? found.value : new Uint8Array();
}
