/** Successions on their way to one gateway. */
import type { WatchResponse } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import type { SharedSuccession, Successions } from './successions.ts';

/** Successions in one message. */
const MAX_LISTED = 4_096;

/**
 * The returned function gives messages with the successions that the stream has not been sent; none while its agent is
 * not a gateway.
 */
export function pushedTo(isGateway: () => boolean, successions: Successions): () => readonly WatchResponse[] {
  let told = 0;
  return () => {
    if (!isGateway()) return [];
    const { list, last } = successions.since(told);
    told = last;
    const messages: WatchResponse[] = [];
    for (let from = 0; from < list.length; from += MAX_LISTED)
      messages.push({ ...NO_STATE, successions: list.slice(from, from + MAX_LISTED).map(messageOf) });
    return messages;
  };
}

/** Of a message that is no snapshot. */
export const NO_STATE = {
  sequence: 0n,
  bundle: undefined,
  policy: undefined,
  revocations: undefined,
  takesParts: false,
  readerVersion: 0,
  successions: [],
  checkpoint: '',
  crls: Buffer.alloc(0),
  gateways: 0,
};

const messageOf = ({ old, next, until, share }: SharedSuccession) => ({
  old: Buffer.from(old, 'hex'),
  next: Buffer.from(next, 'hex'),
  // Up to the next second: late rather than early.
  until: BigInt(Math.ceil(until.getTime() / 1000)),
  share: asBuffer(share),
});
