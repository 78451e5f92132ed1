/** The revocations of one moment, indexed so that asking about a peer costs the same however many there are. */

import { type Node, nodeName, nodesOf } from '../evidence/node.ts';
import { IdentityError } from '../ground/errors.ts';
import { Memo } from '../policy/memo.ts';
import { compileSpiffePattern } from '../policy/patterns/spiffe.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import { describeRevocation, type Revocation } from './revocation.ts';

/** A peer that shows a certificate, or asks for one. */
export interface RevocablePeer {
  readonly id: SpiffeId;
  /** Undefined if it has no certificate yet. */
  readonly serial?: string | undefined;
  /** Serial of the attested certificate that its own came from, if that is another one and known. */
  readonly origin?: string | undefined;
  /** Undefined if only the certificate is known. */
  readonly node?: Node | undefined;
  /** SHA-256 of the keys of the authorities above its certificate, hexadecimal, where they are known. */
  readonly authorities?: readonly string[] | undefined;
}

/** Immutable, except for a memo of its own answers. */
export interface RevocationSet<R extends Revocation = Revocation> {
  /** Grows with every revocation and every lifting of one. */
  readonly sequence: bigint;
  readonly list: readonly R[];
  /** What revokes this peer now, if anything does. */
  revoked(peer: RevocablePeer, now: Date): R | undefined;
}

/** So many SPIFFE IDs are remembered with the patterns that they match; a forgotten one is matched again. */
const REMEMBERED_IDS = 10_000;

/** Indexes `list`, which must not change afterwards. `sequence` grows with every change of the revocations. */
export function revocationSet<R extends Revocation>(list: readonly R[], sequence: bigint): RevocationSet<R> {
  const exact = new Map<string, R[]>();
  const add = (kind: string, value: string, revocation: R) => {
    const key = `${kind} ${value}`;
    const known = exact.get(key);
    // Added to, not copied: one serial may be named as often as somebody likes.
    if (known === undefined) exact.set(key, [revocation]);
    else if (known.at(-1) !== revocation) known.push(revocation);
  };
  for (const revocation of list) {
    if (revocation.target.kind !== 'pattern')
      add(revocation.target.kind, revocation.target.value, revocation);
    for (const serial of revocation.serials) add('serial', serial, revocation);
  }
  const patterns = list
    .filter(({ target }) => target.kind === 'pattern')
    .map((revocation) => ({ revocation, matches: compileSpiffePattern(revocation.target.value) }));
  const of = (kind: string, value: string) => exact.get(`${kind} ${value}`) ?? [];
  const matched = new Memo<SpiffeId, readonly R[]>(REMEMBERED_IDS);
  const byPattern = (id: SpiffeId) =>
    matched.get(id, () => patterns.flatMap((each) => (each.matches(id) ? [each.revocation] : [])));
  return {
    sequence,
    list,
    revoked: ({ id, serial, origin, node, authorities = [] }, now) => {
      const found = [
        // First: a holder that sees it renews, and under another authority that helps.
        ...authorities.flatMap((key) => of('authority', key)),
        ...of('id', id),
        ...(serial === undefined ? [] : of('serial', serial)),
        ...(origin === undefined ? [] : of('serial', origin)),
        // If several platforms vouched for a certificate, each has a node that may be revoked.
        ...(node === undefined ? [] : nodesOf(node).flatMap((each) => of('node', nodeName(each)))),
        ...(patterns.length === 0 ? [] : byPattern(id)),
      ];
      return found.find((revocation) => inForce(revocation, now));
    },
  };
}

/** Throws revoked_peer. */
export function ensureNotRevoked(set: RevocationSet, peer: RevocablePeer, now: Date): void {
  const revoked = set.revoked(peer, now);
  if (revoked !== undefined)
    throw new IdentityError('revoked_peer', `${peer.id}: ${describeRevocation(revoked)}`);
}

/** Whether a revocation counts at `now`: before `until`, and for ever if it has none. */
export const inForce = ({ until }: Pick<Revocation, 'until'>, now: Date): boolean =>
  until === undefined || now < until;
