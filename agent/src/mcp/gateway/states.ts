/**
 * Binds the state of a request that its server asks about (2026-07-28, "Multi Round-Trip Requests") to the request and
 * its caller, and to what was asked. The state goes through the client, and comes back at any gateway of the server, so
 * nothing is kept here: a gateway signs it with the key of its SVID, and any gateway with the same SPIFFE ID verifies
 * it. The signature hides nothing: a server whose state is a secret encrypts it, as it would without a gateway.
 */
import { hash, verify } from 'node:crypto';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import { algorithmOf, digestNameOf, signerOf } from '@chancery/shared/keys/key.ts';
import type { Asks } from '@chancery/shared/mcp/asking/asks.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { publicKeyOf } from '@chancery/shared/x509/certificate.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { ANSWER_WITHIN_MS } from './questions.ts';

export interface StatesOptions {
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  readonly revocations: Source<RevocationSet>;
  readonly clock: Clock;
}

/** What a state is good for: this request again, by the same caller. */
export interface Bound {
  readonly caller: SpiffeId;
  readonly server: string;
  readonly method: string;
  readonly name: string;
  readonly argumentsSha256: string;
}

/** A question that was asked: its name, its kind, and its record. */
export interface AskedFor {
  readonly key: string;
  readonly asks: Asks;
  readonly recordId: string;
}

export interface Opened {
  /** How many times the server has asked so far. */
  readonly count: number;
  readonly asked: readonly AskedFor[];
  /** The state of the server; undefined if it gave none. */
  readonly state: string | undefined;
}

/** How far the clock of another gateway of the server may be ahead. */
const AHEAD_MS = 60_000;
const VERSION = 'chancery-1';
/** Claims, signature, certificates and the state of the server, which may have any form. */
const FORM = /^chancery-1\.([\w-]*)\.([\w-]*)\.([\w~-]*)\.(.*)$/s;
const CONTEXT = 'chancery requestState 1\n';
const MAX_CLAIMS = 64 * 1024;
const MAX_CERTIFICATES = 32 * 1024;

/** States of one gateway. */
export class States {
  readonly #options: StatesOptions;

  constructor(options: StatesOptions) {
    this.#options = options;
  }

  /** For the client. Good for an hour. */
  seal(bound: Bound, { count, asked, state }: Opened): string {
    const { svid, clock } = this.#options;
    const { chain, key } = svid.current();
    const questions = asked.map((each) => [each.key, each.asks, each.recordId]);
    const at = clock.now().getTime();
    const about = [bound.caller, bound.server, bound.method, bound.name, bound.argumentsSha256];
    const claims = coded(JSON.stringify({ about, at, count, questions, state: digestOf(state) }));
    const signature = signerOf(key).sign(Buffer.from(CONTEXT + claims));
    // The signer has its key in memory.
    ensure(signature instanceof Uint8Array, 'internal', 'a key of an SVID signs at once');
    const certificates = chain.map(coded).join('~');
    return [VERSION, claims, coded(signature), certificates, state ?? ''].join('.');
  }

  /** Throws mcp_state unless a gateway of this server sealed it for this caller and request, within the hour. */
  open(sealed: string, bound: Bound): Opened {
    const parts = FORM.exec(sealed);
    ensure(parts !== null, 'mcp_state', 'the requestState is not one of this gateway');
    const [, claims = '', signature = '', certificates = '', state = ''] = parts;
    const fits = claims.length <= MAX_CLAIMS && certificates.length <= MAX_CERTIFICATES;
    ensure(fits, 'mcp_state', 'the requestState is too long');
    try {
      const read = readClaims(claims);
      this.#ensureBound(read, bound);
      this.#ensureSigned(read.at, { claims, signature, certificates });
      const isIntact = read.state === digestOf(state) || (read.state === null && state === '');
      ensure(isIntact, 'mcp_state', 'the requestState was changed');
      return { count: read.count, asked: read.asked, state: read.state === null ? undefined : state };
    } catch (error) {
      if (isRefusal(error, 'mcp_state')) throw error;
      throw new IdentityError('mcp_state', 'the requestState does not verify', { cause: error });
    }
  }

  #ensureBound({ about, at }: Claims, bound: Bound): void {
    const expected = [bound.caller, bound.server, bound.method, bound.name, bound.argumentsSha256];
    const isSame = about.length === expected.length && about.every((each, index) => each === expected[index]);
    ensure(isSame, 'mcp_state', 'the requestState is of another request, or of another caller');
    const ageMs = this.#options.clock.now().getTime() - at;
    const isFresh = ageMs <= ANSWER_WITHIN_MS && ageMs >= -AHEAD_MS;
    ensure(isFresh, 'mcp_state', 'the requestState is older than an hour: make the request anew');
  }

  /** The certificate need not be valid any more: it was when it signed, at most an hour ago. */
  #ensureSigned(at: number, { claims, signature, certificates }: Signed): void {
    const { svid, bundle, revocations, clock } = this.#options;
    const chain = certificates.split('~').map(decoded);
    const signer = verifySvid(chain, bundle.current(), new Date(at));
    const says = 'the requestState was signed by another than a gateway of this server';
    ensure(signer.id === svid.current().id, 'mcp_state', says);
    const revoked = revocations.current().revoked(signer, clock.now());
    ensure(revoked === undefined, 'mcp_state', 'the gateway that signed the requestState is revoked');
    const algorithm = algorithmOf(signer.certificate.spki);
    const isSigned =
      algorithm !== undefined &&
      verify(
        digestNameOf(algorithm),
        Buffer.from(CONTEXT + claims),
        publicKeyOf(signer.certificate),
        decoded(signature),
      );
    ensure(isSigned, 'mcp_state', 'the signature of the requestState does not verify');
  }
}

interface Signed {
  readonly claims: string;
  readonly signature: string;
  readonly certificates: string;
}

interface Claims {
  readonly about: readonly unknown[];
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly count: number;
  readonly asked: readonly AskedFor[];
  readonly state: string | null;
}

/** A gateway wrote them if the signature holds, so only what others could have written is checked. */
function readClaims(text: string): Claims {
  const limits = { code: 'mcp_state', maxBytes: MAX_CLAIMS, maxDepth: 4, oddStrings: 'values' } as const;
  const found = parseJson(decoded(text), limits);
  ensure(isJsonObject(found), 'mcp_state', 'the requestState has no claims');
  const { about, at, count, questions, state } = found;
  const isRead =
    Array.isArray(about) &&
    typeof at === 'number' &&
    typeof count === 'number' &&
    Array.isArray(questions) &&
    (state === null || typeof state === 'string');
  ensure(isRead, 'mcp_state', 'the requestState has other claims');
  return { about, at, count, asked: questions.map(readAsked), state };
}

function readAsked(found: unknown): AskedFor {
  const [key, asks, recordId] = Array.isArray(found) ? found : [];
  return { key: String(key), asks: asks as Asks, recordId: String(recordId) };
}

const digestOf = (state: string | undefined): string | null =>
  state === undefined ? null : hash('sha256', state, 'hex');
const coded = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64url');

/** Base64url that only one text stands for. */
function decoded(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64url');
  ensure(bytes.toString('base64url') === text, 'mcp_state', 'the requestState is not base64url');
  return bytes;
}
