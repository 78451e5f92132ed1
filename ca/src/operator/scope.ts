/** What of a set of resources an owner of servers may see and change, and which changes of a set widen access. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { BLOCKS } from '@chancery/shared/policy/resources/access.ts';
import type { Change } from '../registry/diff.ts';
import type { Applied, VersionedSet } from '../registry/registry.ts';
import { keyOf, type Resource, type ResourceFile } from '../registry/resources.ts';

/** The servers, and the rules for them without the names of other servers. Everything where the caller is no owner. */
export function ofServers(
  { resources, version }: Pick<VersionedSet, 'resources' | 'version'>,
  servers: readonly string[] | undefined,
): Pick<VersionedSet, 'resources' | 'version'> {
  if (servers === undefined) return { resources, version };
  return { resources: resources.flatMap((each) => partOf(each, servers)), version };
}

function partOf(resource: Resource, servers: readonly string[]): readonly Resource[] {
  if (resource.kind === 'McpServer') return servers.includes(resource.name) ? [resource] : [];
  if (resource.kind !== 'Access') return [];
  const own = resource.servers.filter((each) => servers.includes(each));
  return own.length === 0 ? [] : [{ ...resource, servers: own }];
}

/** What an owner has the whole say in: their servers, and rules that are for no other server. */
const isOwn = (resource: Resource, servers: readonly string[]): boolean =>
  resource.kind === 'McpServer'
    ? servers.includes(resource.name)
    : resource.kind === 'Access' && resource.servers.every((each) => servers.includes(each));

/** A whole set of an owner's files: these in place of their part, and the rest as it is in force. */
export function withRest(
  { resources }: Pick<VersionedSet, 'resources'>,
  files: readonly ResourceFile[],
  servers: readonly string[],
): readonly ResourceFile[] {
  const rest = resources.filter((each) => !isOwn(each, servers));
  return [...rest.map((each) => ({ name: keyOf(each), text: JSON.stringify(each) })), ...files];
}

/**
 * Of the changes that an owner's set makes. That a server exists, and by which SPIFFE ID, is not theirs to say: rules
 * of others rely on it, and on its era and the classes of its tools. Nor is what is recorded of its calls: records
 * watch the owner, too, and have arguments of others in clear. Throws operator_role.
 */
export function ensureOwn(
  { changes, before, after }: Pick<Applied, 'changes' | 'before' | 'after'>,
  { by, servers }: { readonly by: string; readonly servers: readonly string[] },
): void {
  const [old, now] = [before, after].map(
    ({ resources }) => new Map(resources.map((each) => [keyOf(each), each])),
  );
  for (const { key } of changes) {
    const [from, to] = [old?.get(key), now?.get(key)];
    const both = [from, to].filter((each) => each !== undefined);
    const says = `${by} is owner of ${servers.join(', ')}; ${key}`;
    ensure(
      both.every((each) => isOwn(each, servers)),
      'operator_role',
      `${says} is not for these alone`,
    );
    if (!both.some(({ kind }) => kind === 'McpServer')) continue;
    const isSame = from?.kind === 'McpServer' && to?.kind === 'McpServer' && from.identity === to.identity;
    ensure(isSame, 'operator_role', `${says} is added, removed or given another identity by operators alone`);
    for (const [field, what] of OF_OPERATORS)
      ensure(
        JSON.stringify(from[field]) === JSON.stringify(to[field]),
        'operator_role',
        `${says}: ${field}, ${what}, is changed by operators alone`,
      );
  }
}

/** Of a McpServer: what is recorded of calls, and what rules of others rely on. */
const OF_OPERATORS = [
  ['audit', 'about records of its calls'],
  ['clear', 'about records of its calls'],
  ['era', 'on which rules rely'],
  ['observe', 'which lets pass what rules deny'],
  ['tools', 'on which rules rely'],
] as const;

/**
 * The keys of changes that may give somebody more than before: all but the removal of a resource that denies nothing. A
 * change of a rule is not compared by what it allows.
 */
export function widening({ changes, before }: Pick<Applied, 'changes' | 'before'>): readonly string[] {
  const old = new Map(before.resources.map((each) => [keyOf(each), each]));
  const widens = ({ change, key }: Change): boolean => change !== 'removed' || denies(old.get(key));
  return changes.filter(widens).map(({ key }) => key);
}

const denies = (resource: Resource | undefined): boolean =>
  resource?.kind === 'Access' &&
  (BLOCKS.some(({ patternsOf }) => patternsOf(resource, 'deny').length > 0) ||
    resource.tools?.denyActions !== undefined);
