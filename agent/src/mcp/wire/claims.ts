/**
 * How `connect` claims its open calls after a renewal: the calls are on connections of the former certificate, the
 * claim is on a connection of the new one. The secret of a call is that of its connection. Both ends derive it from the
 * handshake, and neither sends it before the claim (RFC 5705, RFC 8446 section 7.5), so a stolen certificate key or
 * recorded traffic does not reveal it.
 */
import { hash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { asBuffer, base64url } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, parseJson } from '@chancery/shared/ground/json.ts';

export const CLAIMS = '/chancery/claims';

/** The prefix of labels that are not registered (RFC 5705 section 4). */
const LABEL = 'EXPERIMENTAL-chancery-call';
export const SECRET_BYTES = 32;
/** As many as the connections of one `connect`. */
export const MAX_CLAIMS = 256;
export const MAX_CLAIM_BYTES = 32 * 1024;

/** The secret of a connection, after its handshake. */
export const secretOf = (socket: TLSSocket): Uint8Array =>
  socket.exportKeyingMaterial(SECRET_BYTES, LABEL, Buffer.alloc(0));

/** SHA-256 of the secret: the gateway finds the connection by it. */
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

/** Which of the calls continue, in the order of their secrets. */
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
