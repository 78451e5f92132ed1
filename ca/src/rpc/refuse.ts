/** How the CA refuses: the reason goes to its audit log, the peer gets the table's sentence. */

import type { Audit } from '@chancery/shared/audit/event.ts';
import type { RefusalEvent, RefusedPeer } from '@chancery/shared/audit/refusals.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { type IdentityError, REFUSALS, type Refusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { HandlerDeps } from '@chancery/shared/rpc/handler.ts';
import type { TurnedAwayLog } from '../door/turned-away.ts';
import { type Caller, limitKeys, standingOf } from './caller.ts';

export interface RefusalDeps {
  readonly audit: Audit;
  readonly log: Log;
  readonly clock: Clock;
  /** Folds repeated refusals on their way to the audit log. Returns a reference. Without it each one is recorded. */
  readonly fold?: (refusal: RefusalEvent, peer: RefusedPeer) => string;
  /** Tells the operator of callers that are refused for lack of places or for their rate. */
  readonly turnedAway?: TurnedAwayLog;
}

/** Their callers get the reason: it says no more than the CA gives to its caller anyway. */
const TOLD: ReadonlySet<Refusal> = new Set(['scope_unknown']);

/** Records each refused call of the server, and returns the sentence for its peer. */
export function refuserOf(deps: RefusalDeps): HandlerDeps<Caller>['refuse'] {
  return (refusal, name, caller) => {
    const standing = caller && standingOf(caller, deps.clock.now());
    const isStranger = standing === undefined || standing.kind === 'stranger';
    const isOperator = standing?.kind === 'operator';
    const at = caller?.address ?? 'a connection that is gone';
    const from = isOperator && standing.svid !== undefined ? `${standing.svid.id} at ${at}` : at;
    const peer = { source: caller === undefined ? from : limitKeys(caller).address, isStranger };
    const reference = tellRefusal(refusal, { name, from, peer }, deps);
    // An operator gets the reason, to fix it.
    if (isOperator || TOLD.has(refusal.code)) return refusal.message;
    const { says } = REFUSALS[refusal.code];
    return reference === undefined ? says : `${says} (reference ${reference})`;
  };
}

/**
 * A flood must not fill the disk: refusals for a rate are counted, not recorded. Returns the reference of the record.
 */
export function tellRefusal(
  { code, message }: IdentityError,
  { name: rpc, from, peer }: { readonly name: string; readonly from: string; readonly peer: RefusedPeer },
  deps: RefusalDeps,
): string | undefined {
  if (code === 'rate') {
    deps.log.debug({ rpc, peer: from }, message);
    const whose = peer.isStranger ? 'strangers' : 'others';
    deps.turnedAway?.tell({ what: 'calls', whose }, `${rpc}: ${message}`);
    return undefined;
  }
  const event: RefusalEvent = {
    type: 'request.refused',
    rpc,
    code,
    detail: message.slice(0, 2000),
    peer: from,
  };
  if (deps.fold !== undefined) return deps.fold(event, peer);
  recordRefusal(event, deps);
  return undefined;
}

/** One line of the log and one of the audit log. */
export function recordRefusal(event: RefusalEvent, { audit, log }: Pick<RefusalDeps, 'audit' | 'log'>): void {
  const { type: _, ...fields } = event;
  log.warn(fields, 'refused');
  audit(event).catch((error: unknown) => log.error({ err: error }, 'a refusal could not be recorded'));
}
