/** What every request that passes needs, whatever its method. */
import { IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Notification } from '@chancery/shared/mcp/message.ts';
import type { Filter } from '@chancery/shared/mcp/subscription.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { Gate } from '../exchange/gate.ts';
import { lostOf } from '../judge/lost.ts';
import type { Session } from '../sessions.ts';
import { holderOf, whoOf, whoseOf } from '../whose.ts';
import type { Asking } from './inbound.ts';

/** True if it passes. From here on the exchange answers every failure: it knows what waits for an answer. */
export function passOn(back: Exchange, send: () => void): boolean {
  try {
    send();
    return true;
  } catch (error) {
    back.fail(refusalOf(error, 'internal', 'the message could not be passed on'));
    return false;
  }
}

interface Listening extends Pick<Asking, 'peer' | 'seen'> {
  readonly session: Session | undefined;
  /** What a modern client was granted. */
  readonly listens?: Filter | undefined;
}

/**
 * Notifies the client on this stream when a new policy changes a list that it may ask for. Ends the stream of a modern
 * client when a new policy, or the certificate that claims it, takes something of what it was granted: it may listen
 * again to the rest.
 */
export function listenBy(gate: Gate, back: Exchange, { peer, seen, session, listens }: Listening): void {
  const { server, clock } = gate;
  const judgeAgain = (policy: Policy): void => {
    const where = { ...whoseOf(holderOf(peer, seen), seen), server, now: clock.now() };
    const lost = listens && lostOf(policy, where, listens);
    if (lost === undefined) return;
    back.fail(new IdentityError('mcp_call', `no rule lets ${peer.id} listen to ${lost} any more`));
  };
  const hearer = { who: whoOf(peer), session };
  const told = { tell: (notification: Notification) => back.tell(notification), judgeAgain };
  seen.onClaimed = () => judgeAgain(gate.policy.current());
  const stop = gate.listeners.add(hearer, gate.policy.current(), told);
  back.onClose(stop);
}
