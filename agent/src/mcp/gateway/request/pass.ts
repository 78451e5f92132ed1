/** What every request that passes needs, whatever its method. */
import { refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { Gate } from '../exchange/gate.ts';
import type { Session } from '../sessions.ts';
import type { Inbound } from './inbound.ts';

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

interface Listening extends Pick<Inbound, 'peer'> {
  readonly session: Session | undefined;
}

/** Notifies the client on this stream when a new policy changes its list of tools. */
export function listenBy(gate: Gate, back: Exchange, { peer, session }: Listening): void {
  const hearer = { caller: peer.id, session };
  const stop = gate.listeners.add(hearer, gate.policy.current(), (told) => back.tell(told));
  back.onClose(stop);
}
