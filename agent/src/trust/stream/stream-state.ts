/** Whether the trust stream is up, and the CA's answer to a revoked agent. */
import { earlier } from '@chancery/shared/ground/clock.ts';
import { REFUSALS } from '@chancery/shared/ground/errors.ts';

/** Whether the trust stream is up. */
export interface StreamState {
  /** Why it is down; undefined if it is up. */
  readonly failure: string | undefined;
  readonly since: Date;
}

/**
 * The state after a report at `now`. An unchanged state begins at `now` at the latest, since the clock may be set back.
 */
export function stateAfter(before: StreamState, failure: string | undefined, now: Date): StreamState {
  const isNews = (failure === undefined) !== (before.failure === undefined);
  return { failure, since: isNews ? now : earlier(before.since, now) };
}

/**
 * The CA's answer to a revoked agent, which may come before the revocation itself; undefined if there was none. An
 * agent with an open trust stream is not revoked, even if its last renewal was refused. `stream` is null if the agent
 * has none.
 */
export function heardRevocation(
  renewalFailure: string | null | undefined,
  stream: { readonly failure: string | null | undefined } | null,
): string | undefined {
  if (stream !== null && stream.failure == null) return undefined;
  const heard = [renewalFailure, stream?.failure];
  return heard.find((each) => each?.includes(REFUSALS.revoked_peer.says)) ?? undefined;
}
