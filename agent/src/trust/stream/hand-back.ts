/** Hands back to the CA what it said before: one that was restored from a backup has forgotten what came after that. */
import { type HandBackRequest, Revoked, type TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import * as grpc from '@grpc/grpc-js';
import { refusalFromCa } from '../../svid/channel.ts';
import type { Held } from '../state/owed.ts';

/** The CA hears some at a time, and the others wait. */
const CALL_SECONDS = 60;
/** A message of the CA has 16 KiB at most. */
const PART_BYTES = 8 * 1024;
/** A node may have thousands of certificates. */
const SERIALS_OF_PART = 100;

/**
 * What becomes of it. `refused` is for good: it is offered to the next CA that answers here. `failed` may be another
 * answer in a moment.
 */
export type HandedBack = 'taken' | 'unwanted' | 'refused' | 'failed';

/** What is handed back, and what is done with it. */
export interface Handing {
  /** In its order. */
  readonly toHandBack: () => readonly Held[];
  /** Called for each of them, also for those that were not offered any more: they have failed. */
  readonly handedBack: (held: Held, outcome: HandedBack) => void;
}

/**
 * Call it before the CA's state is taken: that of a restored CA takes the place of what this agent has. Whether the CA
 * wanted and took something; an older CA wants nothing. Throws unavailable, refused_by_ca where the CA could not take
 * it within so many seconds, or for now.
 */
export async function handBack(
  client: Pick<TrustClient, 'handBack'>,
  handing: Handing,
  log: Log,
  seconds = CALL_SECONDS,
): Promise<boolean> {
  let isTaken = false;
  const offered = handing.toHandBack();
  for (const [at, held] of offered.entries()) {
    const outcome = await handOne(client, held, { log, seconds }).catch((error: unknown) => {
      // The CA may be followed all the same, and its state takes the place of the newest one, too.
      for (const each of offered.slice(at)) handing.handedBack(each, 'failed');
      throw error;
    });
    handing.handedBack(held, outcome);
    isTaken ||= outcome === 'taken';
  }
  return isTaken;
}

/** What a CA says of the thing itself. All else may be another answer in a moment. */
const FOR_GOOD: ReadonlySet<grpc.status> = new Set([
  grpc.status.INVALID_ARGUMENT,
  grpc.status.FAILED_PRECONDITION,
  grpc.status.PERMISSION_DENIED,
  grpc.status.UNAUTHENTICATED,
]);

async function handOne(
  client: Pick<TrustClient, 'handBack'>,
  held: Held,
  { log, seconds }: { readonly log: Log; readonly seconds: number },
): Promise<HandedBack> {
  const call = client.handBack(new grpc.Metadata(), { deadline: Date.now() + seconds * 1000 });
  const { sequence, note, list, checkpoint } = held;
  const part = (each: readonly Revoked[]): HandBackRequest['revocations'] => ({
    ...{ sequence: 0n, note: '', list: [...each], since: 0n, gone: [] },
  });
  let isWanted = false;
  try {
    call.write({ revocations: { sequence, note, list: [], since: 0n, gone: [] }, checkpoint });
    for await (const { wantsRevocations } of call) {
      if (!wantsRevocations || isWanted) break;
      isWanted = true;
      log.info({ sequence: Number(sequence) }, 'the CA was restored, and gets its newer revocations back');
      for (const each of partsOf(list)) call.write({ revocations: part(each), checkpoint: '' });
      call.end();
    }
    return isWanted ? 'taken' : 'unwanted';
  } catch (error) {
    const { code } = error as grpc.ServiceError;
    if (code === grpc.status.UNIMPLEMENTED) return 'unwanted';
    if (!FOR_GOOD.has(code)) throw refusalFromCa(error as grpc.ServiceError);
    const says = 'the CA does not take back what it has said; it is kept, and offered again';
    log.warn({ err: refusalFromCa(error as grpc.ServiceError) }, says);
    return 'refused';
  } finally {
    call.cancel();
  }
}

/** In the order of the numbers, each small enough for one message. */
export function* partsOf(list: readonly Revoked[]): Generator<readonly Revoked[]> {
  let part: Revoked[] = [];
  let bytes = 0;
  for (const each of list.toSorted((a, b) => Number(a.number - b.number)).flatMap(slicesOf)) {
    const size = Revoked.encode(each).finish().length;
    if (bytes + size > PART_BYTES && part.length > 0) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(each);
    bytes += size;
  }
  if (part.length > 0) yield part;
}

/** The first is the revocation, and the others have more of its serials. */
function slicesOf(revoked: Revoked): readonly Revoked[] {
  const { number, serials } = revoked;
  const more = Array.from({ length: Math.ceil(serials.length / SERIALS_OF_PART) - 1 }, (_, n) => ({
    ...{ number, kind: '', value: '', reason: '', until: 0n },
    serials: serials.slice((n + 1) * SERIALS_OF_PART, (n + 2) * SERIALS_OF_PART),
  }));
  return [{ ...revoked, serials: serials.slice(0, SERIALS_OF_PART) }, ...more];
}
