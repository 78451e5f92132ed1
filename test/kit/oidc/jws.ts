/** Writes compact JWS of any shape, good and bad, with Node's own cryptography. */
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

const PAIRS = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
} as const;

export const signingKey = (kid: string, alg: keyof typeof PAIRS = 'RS256'): SigningKey => ({
  kid,
  alg,
  ...PAIRS[alg](),
});

/** As an issuer publishes it. */
export const publicJwk = ({ kid, alg, publicKey }: SigningKey) => ({
  ...publicKey.export({ format: 'jwk' }),
  kid,
  alg,
  use: 'sig',
});

export interface JwsParts {
  readonly header?: Readonly<Record<string, unknown>>;
  /** Instead of JSON made of the header or of the claims. */
  readonly headerText?: string;
  readonly claimsText?: string;
}

/** `parts` change the header, or say header or claims as text; the signature is over what results. */
export function writeJws(claims: object, key: SigningKey, parts: JwsParts = {}): string {
  const header = { alg: key.alg, kid: key.kid, typ: 'JWT', ...parts.header };
  const text = [parts.headerText ?? JSON.stringify(header), parts.claimsText ?? JSON.stringify(claims)]
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.');
  return `${text}.${signatureOver(text, String(header.alg), key)}`;
}

function signatureOver(text: string, alg: string, key: SigningKey): string {
  const bytes = Buffer.from(text);
  if (alg === 'none') return '';
  if (alg === 'HS256') {
    // The classic confusion: the public key, which everybody knows, taken for a shared secret.
    const secret = key.publicKey.export({ format: 'pem', type: 'spki' });
    return createHmac('sha256', secret).update(bytes).digest('base64url');
  }
  const digest = key.alg === 'ES384' ? 'sha384' : 'sha256';
  return sign(digest, bytes, { key: key.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url');
}
