/** What of a set of resources an owner of servers may see, and which changes of a set widen access. */
import type { Change } from '../registry/diff.ts';
import type { Applied, VersionedSet } from '../registry/registry.ts';
import { keyOf, type Resource } from '../registry/resources.ts';

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
  resource?.kind === 'Access' && resource.tools.deny.length > 0;
