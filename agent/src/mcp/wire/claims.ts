/**
 * How `connect` claims calls that are open on connections of its former certificate, over one of its new certificate.
 * The secret of a call is that of its connection, which both ends derive from the handshake and neither sends before it
 * is claimed (RFC 5705, RFC 8446 section 7.5): a stolen certificate key, or a record of the traffic, does not give it.
 */
import { hash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { asBuffer, base64url } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, parseJson } from '@chancery/shared/ground/json.ts';

export const CLAIMS = '/chancery/claims';

/** Labels that are not registered begin so (RFC 5705 section 4). */
const LABEL = 'EXPERIMENTAL-chancery-call';
export const SECRET_BYTES = 32;
/** More than one connect has connections. */
export const MAX_CLAIMS = 256;
export const MAX_CLAIM_BYTES = 32 * 1024;

/** After the handshake. */
export const secretOf = (socket: TLSSocket): Uint8Array =>
  socket.exportKeyingMaterial(SECRET_BYTES, LABEL, Buffer.alloc(0));

/** SHA-256 of the secret, by which the gateway finds the connection. */
export const digestOf = (secret: Uint8Array): Uint8Array => asBuffer(hash('sha256', secret, 'buffer'));

/** The body of a claim: JSON, each secret in base64url. */
export const writeClaims = (secrets: readonly Uint8Array[]): string =>
  JSON.stringify({ secrets: secrets.map(base64url) });

/** Throws mcp_parse. */
export function readClaims(body: Uint8Array): readonly Uint8Array[] {
  return listIn(body, 'secrets').map((text) => {
    ensure(
      typeof text === 'string' && SECRET.test(text),
      'mcp_parse',
      'a secret is not 32 bytes in base64url',
    );
    return Buffer.from(text, 'base64url');
  });
}

/** Which of the calls go on, in the order of their secrets. */
export const writeClaimed = (claimed: readonly boolean[]): string => JSON.stringify({ claimed });

/** Throws mcp_parse. */
export const readClaimed = (body: Uint8Array): readonly boolean[] =>
  listIn(body, 'claimed').map((each) => each === true);

const SECRET = /^[A-Za-z0-9_-]{43}$/;

function listIn(body: Uint8Array, key: string): readonly Json[] {
  const json = parseJson(body, { code: 'mcp_parse', maxBytes: MAX_CLAIM_BYTES, maxDepth: 3 });
  const list = isJsonObject(json) ? json[key] : undefined;
  ensure(Array.isArray(list) && list.length <= MAX_CLAIMS, 'mcp_parse', `no list of ${key}`);
  return list;
}
