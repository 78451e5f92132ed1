/** Writes of the work of operators: reviews, and what waits for a second person. Each has its event. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import type {
  Countersigner,
  MadeSignOff,
  RequestBounds,
  RequestDraft,
  SignOff,
  StoredRequest,
} from '../operator-store.ts';
import type { CountersignTable } from './tables/countersign-table.ts';
import type { ReviewTable } from './tables/review-table.ts';
import { textOfEvent } from './tables/rows.ts';

interface Tables {
  readonly reviews: ReviewTable;
  readonly requests: CountersignTable;
}

/** Why a node was released, and by whom. */
export type Released = Pick<SignOff, 'reason' | 'by'>;

/** As `writesOf`: each checks first and writes then, in the transaction of its batch. */
export function operatorWrites({ reviews, requests }: Tables, audit: (at: number, event: string) => void) {
  const tell = (at: number, type: CountersignEvent, request: StoredRequest, by: string): void => {
    const { number, verb, digest, about } = request;
    audit(at, textOfEvent({ type, number, verb, digest, about, by }));
  };
  return {
    signOff: (at: number, made: SignOff): MadeSignOff => {
      const { reviewBy, ...rest } = made;
      reviews.save(made, at);
      const event = { type: 'review.signedOff' as const, ...rest };
      audit(at, textOfEvent(reviewBy === undefined ? event : { ...event, reviewBy }));
      return { ...made, at: new Date(at) };
    },
    request: (at: number, draft: RequestDraft, max: RequestBounds): StoredRequest => {
      const same = requests.same(draft.digest, draft.person, at);
      if (same !== undefined) return same;
      const made = requests.add(draft, at, max);
      tell(at, 'countersign.requested', made, draft.by);
      return made;
    },
    countersign: (at: number, number: number, by: Countersigner): StoredRequest => {
      const made = requests.countersign(number, by, at);
      tell(at, 'countersign.signed', made, by.by);
      return made;
    },
    withdraw: (at: number, number: number, by: Countersigner): StoredRequest => {
      const ended = requests.withdraw(number, by, at);
      tell(at, 'countersign.withdrawn', ended, by.by);
      return ended;
    },
    useRequest: (at: number, digest: string, person: string): StoredRequest | undefined => {
      const found = requests.same(digest, person, at);
      if (found?.countersignedBy === undefined || !requests.use(found.number, at)) return undefined;
      tell(at, 'countersign.used', found, found.by);
      return found;
    },
  };
}

type CountersignEvent = Extract<AuditEvent['type'], `countersign.${string}`>;
