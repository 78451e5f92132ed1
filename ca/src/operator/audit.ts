/** The operator's verbs that look into the audit log, and compare the certificates on record with it. */
import { isIndexed } from '@chancery/shared/audit/words.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { OWN_NODE } from '../agents/holders.ts';
import { isTainted, isUnder } from '../authority/records.ts';
import { logStatusOf } from '../log/retention.ts';
import type { Standstill } from '../log/sequencer.ts';
import type { Identity } from '../registry/identity/identity.ts';
import type { Registry } from '../registry/registry.ts';
import type { EntryQuery, LogStore } from '../store/log-store.ts';
import type {
  AgentStore,
  AuthorityStore,
  CertificateStore,
  RecordedIssuance,
  StoredAuthority,
  UnexpiredPlace,
} from '../store/store.ts';
import { reading, type VerbDeps } from './verb.ts';

export interface AuditDeps extends VerbDeps {
  /** How long entries are kept; undefined for ever. */
  readonly keepSeconds: number | undefined;
  /** Why the log does not grow; undefined while it does. */
  readonly standstill: () => Standstill | undefined;
  readonly store: Pick<LogStore, 'search' | 'pruning' | 'checkpoint' | 'waiting'> &
    Pick<AgentStore, 'certified'> &
    Pick<CertificateStore, 'issuance'> &
    Pick<AuthorityStore, 'authorities'>;
  readonly registry: Pick<Registry, 'sets'>;
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
    (after: UnexpiredPlace | undefined) => check(after, deps),
    deps,
  ),
});

export interface CheckedPage {
  readonly checked: number;
  readonly problems: readonly CertificateProblem[];
  readonly next: UnexpiredPlace | undefined;
}

interface CertificateProblem {
  readonly serial: string;
  readonly id: SpiffeId;
  readonly problem: string;
}

async function check(after: UnexpiredPlace | undefined, deps: AuditDeps): Promise<CheckedPage> {
  const { store, clock } = deps;
  const target = { kind: 'pattern', value: '*' } as const;
  const { list, next } = await store.certified({ now: clock.now(), target, after });
  const authorities = await store.authorities();
  const keptSince = await oldestKept(store);
  const problems: CertificateProblem[] = [];
  for (const { serial, id } of list) {
    const record = await store.issuance(serial);
    if (record === undefined) continue;
    const found = [
      ...byIssuer(record, authorities),
      ...byRegistry(record, deps.registry.sets.current().identities),
      ...(await byLog(record, keptSince, store)),
    ];
    problems.push(...found.map((problem) => ({ serial, id, problem })));
  }
  return { checked: list.length, problems, next };
}

function* byIssuer(record: RecordedIssuance, authorities: readonly StoredAuthority[]): Iterable<string> {
  const { notBefore, notAfter } = record;
  const issuer = authorities.find(({ serial }) => serial === record.issuer);
  if (notBefore >= notAfter) yield 'it is never valid';
  if (issuer === undefined) yield `its issuer ${record.issuer} is not on record`;
  else if (issuer.kind !== 'intermediate') yield `its issuer ${record.issuer} is a root`;
  else if (issuer.state === 'removed' && !isOver(record, issuer, authorities))
    yield `its issuer ${record.issuer} was removed`;
  else if (notAfter > issuer.notAfter) yield `it ends after its issuer ${record.issuer}`;
}

/**
 * Whether it is as it must be that the issuer was removed: a taint has refused the certificate, or it is the CA's own
 * or an operator's, which a removal does not wait for.
 */
const isOver = (
  { platform }: RecordedIssuance,
  issuer: StoredAuthority,
  authorities: readonly StoredAuthority[],
): boolean =>
  platform === OWN_NODE.platform ||
  authorities.some((each) => isTainted(each) && (each === issuer || isUnder(issuer, each)));

/** The CA's own certificates, and those of operators, are not for a resource. */
function* byRegistry(record: RecordedIssuance, identities: readonly Identity[]): Iterable<string> {
  if (record.platform === OWN_NODE.platform) return;
  const identity = identities.find(({ name }) => name === record.identity);
  if (identity === undefined) yield `Identity/${record.identity} is not there any more`;
  else if (!identity.canGive(record.id)) yield `Identity/${record.identity} gives other SPIFFE IDs`;
}

const ALL = { text: '', decision: undefined, since: 0, until: Number.MAX_SAFE_INTEGER, backwards: false };
/** The issuing is the first event that names a serial number, and how it ended comes soon. */
const FIRST = 10;

async function byLog(
  record: RecordedIssuance,
  keptSince: Date | undefined,
  store: AuditDeps['store'],
): Promise<readonly string[]> {
  if (keptSince !== undefined && record.recordedAt <= keptSince) return [];
  const { serial } = record;
  const events: Fields[] = [];
  let [place, more]: [number | undefined, boolean] = [undefined, true];
  while (more && events.length < FIRST) {
    const page = await store.search({ ...ALL, words: [serial], place, limit: FIRST });
    events.push(...page.found.map(({ text }) => JSON.parse(text) as Fields));
    ({ place, more } = page);
  }
  const own = events.filter((event) => event['serial'] === serial);
  const issuing = own.filter(({ type }) => type === 'svid.issuing');
  if (issuing.length !== 1) return [`the audit log has ${issuing.length} entries of its issuing`];
  const { id, platform, node, identity } = record;
  const recorded: Fields = { id, platform, node, identity, notAfter: record.notAfter.toISOString() };
  const other = Object.keys(recorded).filter((field) => recorded[field] !== issuing[0]?.[field]);
  return [
    ...other.map((field) => `the audit log has another ${field}: ${issuing[0]?.[field]}`),
    ...(own.some(({ type }) => type === 'svid.failed') ? ['the audit log says that it was not signed'] : []),
  ];
}

type Fields = Readonly<Record<string, unknown>>;

/** Of a log that was pruned, when its first entry was written; undefined for one that has all entries. */
async function oldestKept(store: AuditDeps['store']): Promise<Date | undefined> {
  if ((await store.pruning()).entries === 0) return undefined;
  const { found } = await store.search({ ...ALL, words: [], place: undefined, limit: 1 });
  return new Date(String((JSON.parse(found[0]?.text ?? '{}') as Fields)['at']));
}
