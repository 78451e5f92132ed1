/** Trust.HandBack: what agents know of the life of the CA before a restore. */
import {
  type HandBackRequest,
  type HandBackResponse,
  TrustService,
} from '@chancery/proto/gen/chancery/v1/trust.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Limits } from '../../door/limits.ts';
import { HandedList, type Revoked } from '../../recovery/handed-list.ts';
import type { Recovery } from '../../recovery/recovery.ts';
import { callerKey, limitKeys, standingOf } from '../caller.ts';
import { bidi, type Stream } from '../methods.ts';
import { ListPlaces } from './list-places.ts';

export interface HandBackDeps {
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
export const handBack = ({ recovery, limits, clock }: HandBackDeps) => {
  const [known, strangers] = [new ListPlaces(AT_ONCE.known), new ListPlaces(AT_ONCE.stranger)];
  return bidi('HandBack', TrustService.handBack, async (stream: HandBackStream) => {
    const { caller } = stream;
    const [key, { kind, svid }] = [callerKey(caller, clock.now()), standingOf(caller, clock.now())];
    limits.call('HandBack', key);
    const first = await stream.read(FIRST_SECONDS);
    ensure(first !== undefined, 'out_of_order', 'expected what is handed back, found nothing');
    const { revocations, checkpoint } = first;
    const handed = { note: revocations?.note ?? '', checkpoint };
    const bringer = { by: svid?.id ?? limitKeys(caller).address, id: svid?.id };
    const isWanted = () => recovery.take({ ...handed, list: [] }, bringer);
    if (await isWanted()) {
      // Of one ID one list is enough, and it may have many certificates.
      const name = svid?.id ?? key;
      const goesFirst = svid !== undefined && recovery.isAwaited(svid.id);
      await (kind === 'stranger' ? strangers : known).run({ name, goesFirst }, async () => {
        if (stream.signal.aborted || !(await isWanted())) return;
        limits.handBack(name);
        await stream.send({ wantsRevocations: true });
        await recovery.take({ ...handed, list: await listOf(stream, clock) }, bringer);
      });
    }
    await stream.send({ wantsRevocations: false });
  });
};

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
