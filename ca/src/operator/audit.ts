/** The operator's verb that looks into the audit log. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { EntryQuery, LogStore } from '../store/log-store.ts';
import { reading, type VerbDeps } from './verb.ts';

export interface AuditDeps extends VerbDeps {
  readonly store: Pick<LogStore, 'search'>;
}

const MAX_PAGE = 1000;
const MAX_WORDS = 8;
const MAX_LENGTH = 2048;

/** A page of entries that match. Throws message_parse. */
export const auditVerbs = (deps: AuditDeps) => ({
  audit: reading(
    'audit',
    async (query: EntryQuery) => {
      const { limit, words, text } = query;
      ensure(limit >= 1 && limit <= MAX_PAGE, 'message_parse', `limit is ${limit}, at most ${MAX_PAGE}`);
      const isShort =
        words.length <= MAX_WORDS && [...words, text].every(({ length }) => length <= MAX_LENGTH);
      ensure(isShort, 'message_parse', `at most ${MAX_WORDS} words, of at most ${MAX_LENGTH} characters`);
      return deps.store.search(query);
    },
    deps,
  ),
});
