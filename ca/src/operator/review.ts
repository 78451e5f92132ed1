/** The operator's verbs of a review: which resources somebody must look at again, and that somebody has. */
import { hash } from 'node:crypto';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { endOf } from '@chancery/shared/policy/resources/until.ts';
import type { Registry } from '../registry/registry.ts';
import type { Resource } from '../registry/resources.ts';
import type { LogStore } from '../store/log-store.ts';
import type { MadeSignOff, OperatorStore } from '../store/operator-store.ts';
import { reading, type VerbDeps, writing } from './verb.ts';

export interface ReviewDeps extends VerbDeps {
  readonly registry: Pick<Registry, 'sets'>;
  readonly store: Pick<OperatorStore, 'identityUses' | 'resourcesAt' | 'signOffs' | 'signOff'> & ReadsCalls;
  /** Who has signed in here, by all names that an `owner` may have for them. */
  readonly people: () => Promise<readonly SeenPerson[]>;
}

type ReadsCalls = Pick<LogStore, 'search'>;

export interface SeenPerson {
  readonly names: readonly string[];
  readonly lastSignIn: Date;
}

/**
 * Why a resource is listed. `unused`: for 90 days, or never on record and in force for so long. `overdue`: its reviewBy
 * has passed. `next-date`: likewise, and it was signed off as it is, so a next reviewBy is missing. `ended`, `ending`:
 * its until has passed, or comes within 30 days. `owner`: who owns it has signed in here, and not for 90 days.
 */
export type Why = 'unused' | 'overdue' | 'next-date' | 'ended' | 'ending' | 'owner';

export interface Reviewed {
  readonly resource: Resource;
  readonly digest: string;
  readonly why: readonly Why[];
  /** Undefined if none is on record. */
  readonly lastUse: Date | undefined;
  /** False if nothing on record could say it: then it is not unused. */
  readonly isUseKnown: boolean;
  /** True if no resource of this name was in force 90 days ago: one without a use is not unused yet. */
  readonly isNew: boolean;
  /** Of the resource as it is. */
  readonly signedOff: MadeSignOff | undefined;
  /** Undefined if nobody of the owner's name has signed in here. */
  readonly ownerSeen: Date | undefined;
}

export interface SignOffOrder {
  readonly kind: string;
  readonly name: string;
  /** Of the resource that the operator has seen. */
  readonly digest: string;
  readonly reason: string;
}

const DAY = 86_400;
const UNUSED_SECONDS = 90 * DAY;
const ENDING_SECONDS = 30 * DAY;
const MAX_REASON = 1000;
/** The most pages of one question to the audit log, and entries of each, where the newest is not the one. */
const MAX_PAGES = 10;
const PAGE = 1000;

/** `review` with `all` lists what nobody must look at, too. Throws review for a resource that is not as it was seen. */
export const reviewVerbs = (deps: ReviewDeps) => ({
  review: reading('review', ({ all }: { readonly all: boolean }) => review(all, deps), deps),
  signOff: writing<SignOffOrder, MadeSignOff>(
    {
      name: 'signOff',
      about: ({ kind, name }) => `${kind}/${name}`,
      run: async ({ kind, name, digest, reason }, by) => {
        const found = deps.registry.sets
          .current()
          .resources.find((each) => each.kind === kind && each.name === name);
        ensure(found !== undefined, 'review', `there is no ${kind}/${name} in force`);
        const isSame = digest === digestOf(found);
        ensure(isSame, 'review', `${kind}/${name} has changed meanwhile: look at it again`);
        const isReason = reason.trim() !== '' && reason.length <= MAX_REASON;
        ensure(isReason, 'review', `a reason of 1 to ${MAX_REASON} characters is needed`);
        return deps.store.signOff({ kind, name, digest, reviewBy: found.reviewBy, reason, by });
      },
    },
    deps,
  ),
});

const digestOf = (resource: Resource): string => hash('sha256', JSON.stringify(resource), 'hex');

async function review(all: boolean, deps: ReviewDeps): Promise<readonly Reviewed[]> {
  const { resources } = deps.registry.sets.current();
  const now = deps.clock.now();
  const [signOffs, people] = [await deps.store.signOffs(), await deps.people()];
  const identities = await identityUses(deps);
  const calls = await callUses(resources, now, deps);
  const known = await keysAt(addSeconds(now, -UNUSED_SECONDS), deps);
  const listed = resources.map((resource): Reviewed => {
    const digest = digestOf(resource);
    const { kind, name, owner, reviewBy } = resource;
    const isSame = (each: MadeSignOff) =>
      each.kind === kind && each.name === name && each.digest === digest && each.reviewBy === reviewBy;
    const { isUseKnown, lastUse } = calls.get(resource) ?? {
      isUseKnown: true,
      lastUse: identities.get(name),
    };
    const seen = owner === undefined ? [] : people.filter(({ names }) => names.includes(owner));
    const ownerSeen = newest(seen.map(({ lastSignIn }) => lastSignIn));
    const isNew = !known.has(`${kind}/${name}`);
    const found = {
      resource,
      digest,
      isUseKnown,
      lastUse,
      isNew,
      signedOff: signOffs.find(isSame),
      ownerSeen,
    };
    return { ...found, why: whyOf(found, now) };
  });
  return all ? listed : listed.filter(({ why }) => why.length > 0);
}

function whyOf(
  { resource, isUseKnown, lastUse, isNew, signedOff, ownerSeen }: Omit<Reviewed, 'why'>,
  now: Date,
): readonly Why[] {
  const why: Why[] = [];
  const isLongAgo = (time: Date): boolean => addSeconds(time, UNUSED_SECONDS) < now;
  if (isUseKnown && (lastUse === undefined ? !isNew : isLongAgo(lastUse))) why.push('unused');
  const { reviewBy } = resource;
  if (reviewBy !== undefined && new Date(reviewBy) <= now)
    why.push(signedOff === undefined ? 'overdue' : 'next-date');
  const end = endOf(resource);
  if (end !== undefined && end <= now) why.push('ended');
  else if (end !== undefined && end <= addSeconds(now, ENDING_SECONDS)) why.push('ending');
  if (ownerSeen !== undefined && isLongAgo(ownerSeen)) why.push('owner');
  return why;
}

/** Kinds and names of the resources that were in force then. */
async function keysAt(time: Date, { store }: ReviewDeps): Promise<ReadonlySet<string>> {
  // Written by the registry, from this very type.
  const list = JSON.parse((await store.resourcesAt(time)) ?? '[]') as readonly Pick<
    Resource,
    'kind' | 'name'
  >[];
  return new Set(list.map(({ kind, name }) => `${kind}/${name}`));
}

/** Reads all records of certificates, page by page. */
async function identityUses({ store }: ReviewDeps): Promise<ReadonlyMap<string, Date>> {
  const last = new Map<string, Date>();
  let below: number | undefined;
  do {
    const page = await store.identityUses(below);
    for (const { name, at } of page.list) last.set(name, newest([at, last.get(name) ?? at]) ?? at);
    ({ below } = page);
  } while (below !== undefined);
  return last;
}

type Use = Pick<Reviewed, 'isUseKnown' | 'lastUse'>;

/** An entry of a reported call, as far as a review reads it; one that was too long has no record. */
interface CallEntry {
  readonly at: string;
  readonly record?: { readonly server: string };
}

/**
 * Of each McpServer and Access. Without a call on record it is known of servers whose gateways have reported some for
 * 90 days, and of rules of such servers alone.
 */
async function callUses(
  resources: readonly Resource[],
  now: Date,
  { store }: ReviewDeps,
): Promise<ReadonlyMap<Resource, Use>> {
  const uses = new Map<Resource, Use>();
  const reported = new Set<string>();
  const before = addSeconds(now, -UNUSED_SECONDS).getTime();
  for (const each of resources.filter((other) => other.kind === 'McpServer')) {
    const reporter = [each.identity, word('reporter', each.identity)];
    const first = await lastCall(store, reporter, () => true, before);
    if (first.lastUse !== undefined) reported.add(each.name);
    const use = await lastCall(store, [word('server', each.name), DECIDED], () => true);
    uses.set(each, knownBy(use, [each.name], reported));
  }
  for (const each of resources.filter((other) => other.kind === 'Access')) {
    const isOf = ({ record }: CallEntry) => each.servers.includes(record?.server ?? '');
    const use = await lastCall(store, [word('rule', each.name), DECIDED], isOf);
    uses.set(each, knownBy(use, each.servers, reported));
  }
  return uses;
}

function knownBy(use: Use, servers: readonly string[], reported: ReadonlySet<string>): Use {
  const isKnown = use.lastUse !== undefined || servers.every((server) => reported.has(server));
  return { ...use, isUseKnown: use.isUseKnown && isKnown };
}

/** As the index has it. */
const word = (field: string, value: string): string => `"${field}":${JSON.stringify(value)}`;
const DECIDED = word('stage', 'decided');

/** The newest call with these words before that time. `isUseKnown` is false if too many others were in front of it. */
async function lastCall(
  store: ReadsCalls,
  words: readonly string[],
  isOne: (entry: CallEntry) => boolean,
  until = Number.MAX_SAFE_INTEGER,
): Promise<Use> {
  // Of another one's server a gateway could say anything.
  const own = { type: 'call.recorded', withoutForeign: true } as const;
  const query = { ...own, words, text: '', decision: undefined, backwards: true, since: 0, until };
  let [place, limit]: [number | undefined, number] = [undefined, 1];
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const page = await store.search({ ...query, limit, place });
    const found = page.found.map(({ text }) => JSON.parse(text) as CallEntry).find(isOne);
    if (found !== undefined) return { isUseKnown: true, lastUse: new Date(found.at) };
    if (!page.more) return { isUseKnown: true, lastUse: undefined };
    ({ place } = page);
    if (page.found.length > 0) limit = PAGE;
  }
  return { isUseKnown: false, lastUse: undefined };
}

const newest = (times: readonly Date[]): Date | undefined =>
  times.toSorted((a, b) => b.getTime() - a.getTime())[0];
