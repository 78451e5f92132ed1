/** Trust.HandBack: what agents know of the life of the CA before a restore. */
import {
  type HandBackRequest,
  type HandBackResponse,
  TrustService,
} from '@chancery/proto/gen/chancery/v1/trust.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Limits } from '../../door/limits.ts';
import { HandedList, type Revoked } from '../../recovery/handed-list.ts';
import type { Bringer, Recovery } from '../../recovery/recovery.ts';
import { type Caller, callerKey, limitKeys, type Standing, standingOf } from '../caller.ts';
import { type AttestationDeps, certifiedPeer } from '../exchange/attestation.ts';
import { bidi, type Stream } from '../methods.ts';
import { ListPlaces } from './list-places.ts';

export interface HandBackDeps extends Pick<AttestationDeps, 'revocations' | 'store'> {
  readonly recovery: Pick<Recovery, 'take' | 'isAwaited'>;
  readonly limits: Limits;
  readonly clock: Clock;
}

type HandBackStream = Stream<HandBackRequest, HandBackResponse>;

const FIRST_SECONDS = 10;
/** For a whole list. */
const LIST_SECONDS = 15;
/** An agent writes one part after the other, without a pause. Who brings none gives its place away. */
const PART_SECONDS = 2;
/** Lists that are in memory at once. A peer whose list another one has brought meanwhile is not asked for it. */
const AT_ONCE = { known: 4, stranger: 1 };

/** Anyone may call it: what is handed back proves itself. Throws rate, out_of_order, tlog, revocation, store. */
export const handBack = (deps: HandBackDeps) => {
  const { recovery, limits, clock } = deps;
  const [known, strangers] = [new ListPlaces(AT_ONCE.known), new ListPlaces(AT_ONCE.stranger)];
  return bidi('HandBack', TrustService.handBack, async (stream: HandBackStream) => {
    const { caller } = stream;
    const key = callerKey(caller, clock.now());
    limits.call('HandBack', key);
    const first = await stream.read(FIRST_SECONDS);
    ensure(first !== undefined, 'out_of_order', 'expected what is handed back, found nothing');
    const { revocations, checkpoint } = first;
    const handed = { note: revocations?.note ?? '', checkpoint };
    // Asked anew each time: others may hand back meanwhile that this one is revoked.
    const take = async (list: readonly Revoked[]) =>
      recovery.take({ ...handed, list }, bringerOf(caller, await goodStanding(caller, deps)));
    const { kind, svid } = await goodStanding(caller, deps);
    if (await take([])) {
      // Of one ID one list is enough, and it may have many certificates.
      const name = svid?.id ?? limitKeys(caller).address;
      const goesFirst = svid !== undefined && recovery.isAwaited(svid.id);
      await (kind === 'stranger' ? strangers : known).run({ name, goesFirst }, async () => {
        if (stream.signal.aborted || !(await take([]))) return;
        limits.handBack(name);
        await stream.send({ wantsRevocations: true });
        await take(await listOf(stream, clock));
      });
    }
    await stream.send({ wantsRevocations: false });
  });
};

/** Who is revoked is a stranger here: it ends no wait, and takes no authority away. Throws store. */
async function goodStanding(caller: Caller, { revocations, store, clock }: HandBackDeps): Promise<Standing> {
  const standing = standingOf(caller, clock.now());
  const { svid } = standing;
  if (svid === undefined) return standing;
  const { id, serial } = svid;
  // One that was issued after the backup is on no record.
  const record = await store.issuance(serial);
  try {
    revocations.ensureGood(record === undefined ? { id, serial } : certifiedPeer(record), 'revoked_peer');
    return standing;
  } catch (error) {
    if (isRefusal(error, 'revoked_peer')) return { kind: 'stranger' };
    throw error;
  }
}

const bringerOf = (caller: Caller, { svid }: Standing): Bringer => ({
  ...{ by: svid?.id ?? limitKeys(caller).address, id: svid?.id, serial: svid?.serial },
});

async function listOf(stream: HandBackStream, clock: Clock): Promise<readonly Revoked[]> {
  const until = addSeconds(clock.now(), LIST_SECONDS).getTime();
  const handed = new HandedList();
  for (;;) {
    const left = Math.min(PART_SECONDS, (until - clock.now().getTime()) / 1000);
    const part = await stream.read(Math.max(0, left));
    if (part === undefined) return handed.list;
    handed.add(part.revocations?.list ?? []);
  }
}
