/** The authorities that the known ones vouch for, by what the CA shows of its audit log. */
import { type GetVouchersResponse, TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { type NoteKey, readVerifierKey } from '@chancery/shared/tlog/note.ts';
import { rootName, vouchedRoots } from '@chancery/shared/voucher/voucher.ts';
import * as grpc from '@grpc/grpc-js';
import { refusalFromCa, unverifiedTarget } from '../svid/channel.ts';
import type { IsVouched } from './accept.ts';

const CALL_MS = 10_000;
/** Decades of rotations. */
const MAX_LEFT = 64;

/** What was proven so far, and the key that proves. */
export class Vouching {
  readonly #vouched = new Set<string>();
  readonly #left = new Set<string>();
  readonly #isTainted: (authority: Uint8Array) => boolean;
  #key: NoteKey | undefined;
  #keyText: string | undefined;

  /** A tainted authority vouches for none, and none vouches for it. */
  constructor(isTainted: (authority: Uint8Array) => boolean) {
    this.#isTainted = isTainted;
  }

  /** The verifier key of the CA's audit log; undefined until one is kept. */
  get logKey(): string | undefined {
    return this.#keyText;
  }

  /** As it verifies. */
  get key(): NoteKey | undefined {
    return this.#key;
  }

  /** Keeps the first key for ever. Throws bundle for another one, tlog for what is none. */
  keep(text: string | undefined): void {
    if (text === undefined || text === '' || text === this.#keyText) return;
    const says = 'the CA signs its audit log with another key than the one that this agent knows';
    const next = 'if the log was begun anew on purpose, remove dataDir/state.json and restart the agent';
    ensure(this.#keyText === undefined, 'bundle', `${says}: ${next}`);
    this.#key = readVerifierKey(text);
    this.#keyText = text;
  }

  /** Undefined without a key: nothing can be proven, and a verified CA is believed. */
  get isVouched(): IsVouched | undefined {
    return this.#key === undefined ? undefined : (der) => this.#vouched.has(hex(der));
  }

  /** SHA-256 of the newest authorities that left the bundle, hexadecimal. */
  get left(): readonly string[] {
    return [...this.#left];
  }

  /** Remembers what left the bundle, from the saved state or by a new bundle. */
  leave(digests: readonly string[]): void {
    for (const digest of digests) this.#left.add(digest);
    for (const digest of this.left.slice(0, -MAX_LEFT)) this.#left.delete(digest);
  }

  /**
   * The authorities that these proofs lead to from those that are known; none without a key. `isPushed`: a CA that is
   * verified has sent them. Without that nobody is there to say what has left the bundle since: only roots that became
   * active are found then, and none that this agent has seen leave.
   */
  take(
    proofs: readonly Uint8Array[],
    { trustDomain, authorities }: Bundle,
    isPushed: boolean,
  ): readonly Uint8Array[] {
    if (this.#key === undefined) return [];
    const isClean = (der: Uint8Array): boolean =>
      !this.#isTainted(der) && (isPushed || !this.#left.has(rootName(der)));
    const about = { trustDomain, key: this.#key, isTrusted: isClean, activeOnly: !isPushed };
    const found = vouchedRoots(authorities.filter(isClean), proofs, about);
    for (const der of found) this.#vouched.add(hex(der));
    return found;
  }
}

/** What the CA has to show. It needs no trust: each proves itself. Throws unavailable, refused_by_ca. */
export function askVouchers(client: Pick<TrustClient, 'getVouchers'>): Promise<readonly Uint8Array[]> {
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + CALL_MS;
    const answer = (error: grpc.ServiceError | null, response: GetVouchersResponse): void =>
      error ? reject(refusalFromCa(error)) : resolve(response.proofs);
    client.getVouchers({}, new grpc.Metadata(), { deadline }, answer);
  });
}

/**
 * Adds to the bundle the authorities that vouchers of the CA at this address lead to, and resolves with their number.
 * Throws unavailable, refused_by_ca.
 */
export async function followVouchers(
  bundle: LiveValue<Bundle>,
  vouching: Vouching,
  address: string,
): Promise<number> {
  const target = unverifiedTarget(address);
  const client = new TrustClient(target.address, target.credentials, target.options);
  const proofs = await askVouchers(client).finally(() => client.close());
  const known = bundle.current();
  const found = vouching.take(proofs, known, false);
  if (found.length > 0) bundle.publish({ ...known, authorities: [...known.authorities, ...found] });
  return found.length;
}
