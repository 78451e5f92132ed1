/** The operator's verbs that look into the audit log, and compare the certificates on record with it. */
import { isIndexed } from '@chancery/shared/audit/words.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { logStatusOf } from '../log/retention.ts';
import type { Standstill } from '../log/sequencer.ts';
import { type RecheckDeps, recheck } from '../recheck/certificates.ts';
import type { EntryQuery, LogStore } from '../store/log-store.ts';
import type { UnexpiredPlace } from '../store/store.ts';
import { reading, type VerbDeps } from './verb.ts';

export interface AuditDeps extends VerbDeps, Omit<RecheckDeps, 'store'> {
  /** How long entries are kept; undefined for ever. */
  readonly keepSeconds: number | undefined;
  /** Why the log does not grow; undefined while it does. */
  readonly standstill: () => Standstill | undefined;
  readonly store: RecheckDeps['store'] & Pick<LogStore, 'checkpoint' | 'waiting'>;
}

const MAX_PAGE = 1000;
const MAX_WORDS = 8;
const MAX_LENGTH = 2048;
/** Of what is looked for in a text byte by byte: a word of the index begins in few places. */
const MAX_WORD = 64;
const MAX_TEXT = 256;

/** A page of entries that match. Throws message_parse. */
export const auditVerbs = (deps: AuditDeps) => ({
  audit: reading(
    'audit',
    async (query: EntryQuery) => {
      const { limit, words, text } = query;
      ensure(limit >= 1 && limit <= MAX_PAGE, 'message_parse', `limit is ${limit}, at most ${MAX_PAGE}`);
      const isShort =
        words.length <= MAX_WORDS &&
        words.every((word) => word.length <= (isIndexed(word) ? MAX_LENGTH : MAX_WORD));
      ensure(isShort, 'message_parse', `at most ${MAX_WORDS} words, of at most ${MAX_LENGTH} characters`);
      ensure(text.length <= MAX_TEXT, 'message_parse', `text is at most ${MAX_TEXT} characters`);
      return deps.store.search(query);
    },
    deps,
  ),
  /** How long it is kept, and what goes next. */
  auditStatus: reading(
    'auditStatus',
    () => logStatusOf(deps.store, deps.keepSeconds, deps.standstill()),
    deps,
  ),
  /** A page of unexpired certificates: what is wrong with them. */
  checkCertificates: reading(
    'checkCertificates',
    (after: UnexpiredPlace | undefined) => recheck(after, deps),
    deps,
  ),
});
