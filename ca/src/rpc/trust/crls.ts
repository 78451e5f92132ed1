/** Trust.GetCrls: the revocation lists, in parts. They are public, as the bundle is. */
import { type CrlPart, TrustService, type WatchResponse } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import { stateOf } from '../../crl/issuers.ts';
import type { MadeCrl } from '../../crl/sign.ts';
import type { Limits, Share } from '../../door/limits.ts';
import { NO_STATE } from '../../succession/pushed.ts';
import { type Caller, callerKey, limitKeys, standingOf } from '../caller.ts';
import { serverStream } from '../methods.ts';

export interface CrlsDeps {
  readonly crls: Pick<LiveValue<readonly MadeCrl[]>, 'current' | 'has' | 'onChange'>;
  readonly limits: Limits;
  readonly clock: Clock;
}

/** A message of the largest size that flow control lets pass without waiting. */
const PART_BYTES = 64 * 1024;
/** A caller that reads a few kilobytes a second has its place for no longer. */
const ANSWER_SECONDS = 120;

/** Anyone may call it, within the places and rates of its share. Throws rate, unavailable, deadline. */
export const getCrls = (deps: CrlsDeps) =>
  serverStream('GetCrls', TrustService.getCrls, async (_, answers) => {
    const { limits, clock, crls } = deps;
    const { caller } = answers;
    limits.call('GetCrls', callerKey(caller, clock.now()));
    const place = limits.download(...placeOf(caller, clock.now()));
    const answered = caller.answer?.();
    const ended = new AbortController();
    const late = clock.sleepUntil(addSeconds(clock.now(), ANSWER_SECONDS), ended.signal).then(() => {
      throw new IdentityError('deadline', 'the revocation lists were not read in time');
    });
    late.catch(() => {});
    try {
      // Who does not read is silent, and gives way.
      for (const part of partsOf(crls.current()))
        await Promise.race([place.listen(answers.send(part)), late]);
    } finally {
      ended.abort();
      answered?.();
      place.leave();
    }
  });

function placeOf(caller: Caller, now: Date): Parameters<Limits['download']> {
  const share: Share =
    caller.via !== 'tls' ? 'local' : standingOf(caller, now).svid ? 'certified' : 'stranger';
  return [share, share === 'certified' ? { address: callerKey(caller, now) } : limitKeys(caller)];
}

const NOTHING = Buffer.alloc(0);

function* partsOf(lists: readonly MadeCrl[]): Iterable<CrlPart> {
  yield { state: asBuffer(stateOf(lists)), issuer: NOTHING, data: NOTHING };
  for (const { certificate, der } of lists)
    for (let from = 0; from < der.length; from += PART_BYTES) {
      const issuer = from === 0 ? asBuffer(certificate.der) : NOTHING;
      yield { state: NOTHING, issuer, data: asBuffer(der.subarray(from, from + PART_BYTES)) };
    }
}

const messages = new WeakMap<readonly MadeCrl[], WatchResponse>();

/** Tells a trust stream that there are other lists than before. One message for all streams, so it is encoded once. */
export function listsMessage(lists: readonly MadeCrl[]): WatchResponse {
  const message = messages.get(lists) ?? { ...NO_STATE, crls: asBuffer(stateOf(lists)) };
  messages.set(lists, message);
  return message;
}
