/** Whether the CA is heard over the trust stream, and what it says when it has cut this agent off. */
import { earlier } from '@chancery/shared/ground/clock.ts';
import { REFUSALS } from '@chancery/shared/ground/errors.ts';

/** Whether the CA is heard. */
export interface StreamState {
  /** Why it is not; undefined where it is. */
  readonly failure: string | undefined;
  readonly since: Date;
}

/** The state after a report at `now`. A state that lasts begins at `now` at the latest: the clock may be set back. */
export function stateAfter(before: StreamState, failure: string | undefined, now: Date): StreamState {
  const isNews = (failure === undefined) !== (before.failure === undefined);
  return { failure, since: isNews ? now : earlier(before.since, now) };
}

/**
 * The CA's answer to a revoked agent, which may come before the revocation itself; undefined where there was none. An
 * agent whose trust stream is open is not revoked, whatever its last renewal was told; `stream` is null where the agent
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
