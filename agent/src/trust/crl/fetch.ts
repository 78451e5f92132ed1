/** Asks the CA for its revocation lists. What comes is bounded, and not verified here: accept.ts does that. */
import { type CrlPart, TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { concat } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { MAX_CRL_BYTES } from '@chancery/shared/x509/crl.ts';
import * as grpc from '@grpc/grpc-js';
import { refusalFromCa, type Target } from '../../svid/channel.ts';
import type { OfferedCrl } from './accept.ts';

export interface OfferedCrls {
  /** The name that the CA gives these lists together. */
  readonly state: Uint8Array;
  readonly lists: readonly OfferedCrl[];
}

const CALL_MS = 120_000;
/** A CA has a few intermediates and roots at once. */
const MAX_LISTS = 64;
/** Of all lists together. */
export const MAX_TOTAL_BYTES = 8 * MAX_CRL_BYTES;

/** Why an older CA gives no lists, and what to do. */
const OLDER = 'the CA makes no revocation lists (CRL), because it is older than this agent: upgrade the CA';

/** Throws unavailable, refused_by_ca, crl. */
export async function fetchCrls(target: Target, signal: AbortSignal): Promise<OfferedCrls> {
  const client = new TrustClient(target.address, target.credentials, target.options);
  const call = client.getCrls({}, new grpc.Metadata(), { deadline: Date.now() + CALL_MS });
  const cancel = (): void => call.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await assembled(call);
  } catch (error) {
    call.cancel();
    if (isRefusal(error)) throw error;
    const failed = error as grpc.ServiceError;
    if (failed.code === grpc.status.UNIMPLEMENTED)
      throw new IdentityError('refused_by_ca', OLDER, { cause: error });
    throw refusalFromCa(failed);
  } finally {
    signal.removeEventListener('abort', cancel);
    client.close();
  }
}

/** Throws crl for what no CA of ours sends. */
export async function assembled(parts: AsyncIterable<CrlPart>): Promise<OfferedCrls> {
  let state: Uint8Array = new Uint8Array();
  let total = 0;
  const lists: { readonly issuer: Uint8Array; readonly parts: Uint8Array[] }[] = [];
  for await (const part of parts) {
    total += part.data.length + part.issuer.length;
    ensure(total <= MAX_TOTAL_BYTES, 'crl', `the revocation lists have more than ${MAX_TOTAL_BYTES} bytes`);
    if (part.state.length > 0) state = part.state;
    if (part.issuer.length > 0) lists.push({ issuer: part.issuer, parts: [] });
    ensure(lists.length <= MAX_LISTS, 'crl', `there are more than ${MAX_LISTS} revocation lists`);
    if (part.data.length === 0) continue;
    const last = lists.at(-1);
    ensure(last !== undefined, 'crl', 'a revocation list begins without its issuer');
    last.parts.push(part.data);
  }
  return { state, lists: lists.map(({ issuer, parts: own }) => ({ issuer, der: concat(...own) })) };
}
