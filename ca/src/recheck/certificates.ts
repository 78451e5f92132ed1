/**
 * Compares the unexpired certificates on record with their issuers, the resources and the audit log, and lints again
 * what is on record of them.
 */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { trustDomainId } from '@chancery/shared/spiffe/id.ts';
import { OWN_NODE } from '../agents/holders.ts';
import type { Authorities } from '../authority/authorities.ts';
import { isTainted, isUnder } from '../authority/records.ts';
import type { Identity } from '../registry/identity/identity.ts';
import type { Registry } from '../registry/registry.ts';
import type { LogStore } from '../store/log-store.ts';
import type {
  AgentStore,
  AuthorityStore,
  CertificateStore,
  RecordedIssuance,
  StoredAuthority,
  UnexpiredPlace,
} from '../store/store.ts';
import { authorityProblems, recordLints } from './relint.ts';

export interface RecheckDeps {
  readonly store: Pick<LogStore, 'search' | 'pruning'> &
    Pick<AgentStore, 'certified'> &
    Pick<CertificateStore, 'issuance'> &
    Pick<AuthorityStore, 'authorities'>;
  readonly registry: Pick<Registry, 'sets'>;
  readonly authorities: Pick<Authorities, 'bundle'>;
  readonly clock: Clock;
}

export interface CheckedPage {
  readonly checked: number;
  readonly problems: readonly CertificateProblem[];
  readonly next: UnexpiredPlace | undefined;
}

interface CertificateProblem {
  readonly serial: string;
  readonly id: string;
  readonly problem: string;
}

/** A page of unexpired certificates; with the first, the CA's authorities. Throws store. */
export async function recheck(after: UnexpiredPlace | undefined, deps: RecheckDeps): Promise<CheckedPage> {
  const { store, clock } = deps;
  const target = { kind: 'pattern', value: '*' } as const;
  const { list, next } = await store.certified({ now: clock.now(), target, after });
  const authorities = await store.authorities();
  const keptSince = await oldestKept(store);
  const { trustDomain } = deps.authorities.bundle.current();
  const own = after === undefined ? authorityProblems(authorities, trustDomain) : [];
  const problems = own.map((each): CertificateProblem => ({ ...each, id: trustDomainId(trustDomain) }));
  const lints = recordLints(authorities, trustDomain);
  for (const { serial, id } of list) {
    const record = await store.issuance(serial);
    if (record === undefined) continue;
    const found = [
      ...byIssuer(record, authorities),
      ...lints(record),
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
  store: RecheckDeps['store'],
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
async function oldestKept(store: RecheckDeps['store']): Promise<Date | undefined> {
  if ((await store.pruning()).entries === 0) return undefined;
  const { found } = await store.search({ ...ALL, words: [], place: undefined, limit: 1 });
  return new Date(String((JSON.parse(found[0]?.text ?? '{}') as Fields)['at']));
}
