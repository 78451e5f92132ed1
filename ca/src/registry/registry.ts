/** The resources in force. Facts come in, SPIFFE IDs go out. Each new version is stored before it is used. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import { Turns } from '@chancery/shared/ground/turns.ts';
import type { SpiffeId, TrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { RegistryRecord, RegistryStore } from '../store/store.ts';
import { type Change, diffOf } from './diff.ts';
import { earn } from './earn.ts';
import type { Facts } from './identity/facts.ts';
import type { Earned } from './identity/identity.ts';
import {
  keyOf,
  platformsOf,
  type Resource,
  type ResourceFile,
  type ResourceSet,
  readResources,
  resourceSet,
  type SetContext,
} from './resources.ts';

export interface Registry {
  readonly sets: Source<VersionedSet>;
  /**
   * What the facts earn at `now`: the SPIFFE ID asked for, or the default. Throws no_identity with the nearest miss,
   * not_entitled.
   */
  choose(facts: Facts, wanted: SpiffeId | undefined, now: Date): Earned;
  /** What applying these files would change; the version is the one in force. Throws resource. */
  diff(files: readonly ResourceFile[], how?: ApplyOptions): Promise<Applied>;
  /** Replaces the whole set. Throws resource, store. */
  apply(files: readonly ResourceFile[], by: string, how?: ApplyOptions): Promise<Applied>;
}

export interface ApplyOptions extends Pick<SetContext, 'allowSharedServerIds'> {
  /** Accepts an empty set, which removes every resource. */
  readonly pruneAll?: boolean;
  /** Called with what is about to change, at the moment of the change; nothing changes if it throws. */
  readonly agree?: (changes: Applied) => void | Promise<void>;
}

export interface Applied {
  readonly changes: readonly Change[];
  readonly warnings: readonly string[];
  readonly version: number;
  /** The sets before and after these changes. */
  readonly before: ResourceSet;
  readonly after: ResourceSet;
}

export interface VersionedSet extends ResourceSet {
  readonly version: number;
  /** The store's number of this state. */
  readonly sequence: bigint;
}

export interface RegistryDeps {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly trustDomain: TrustDomain;
  readonly platforms: ReadonlySet<string>;
}

type CompileDeps = Omit<RegistryDeps, 'store' | 'clock'>;

/** Throws resource if the CA's config no longer fits the stored set. */
export function compileStored(
  stored: RegistryRecord | undefined,
  deps: CompileDeps,
): Omit<VersionedSet, 'sequence'> {
  // Written by `apply` below, from resources that the schema had accepted.
  const resources = stored === undefined ? [] : (JSON.parse(stored.resources) as readonly Resource[]);
  return compile(resources, stored?.version ?? 0, deps);
}

/** Loads the stored set. Throws store, or resource if the CA's config no longer fits it. */
export async function openRegistry(deps: RegistryDeps): Promise<Registry> {
  const stored = await deps.store.registry();
  const first = { ...compileStored(stored, deps), sequence: stored?.sequence ?? 0n };
  const sets = new LiveValue<VersionedSet>(() => new IdentityError('internal', 'no registry'), first);
  const read = async (files: readonly ResourceFile[], how: ApplyOptions = {}) => {
    const { warnings, ...set } = await readResources(files, {
      ...deps,
      ...how,
      version: sets.current().version + 1,
      now: deps.clock.now(),
    });
    const before = sets.current();
    if (set.resources.length === 0 && how.pruneAll !== true) ensureNothingIn(before.resources);
    const changes = await diffOf(before.resources, set.resources);
    return { before, after: set, warnings, changes, version: before.version };
  };
  // Changes are made one at a time: each builds on the one before.
  const turns = new Turns(1);
  return {
    sets,
    choose: (facts, wanted, now) => choose(earn(sets.current(), facts, now), wanted),
    diff: read,
    apply: (files, by, how) => turns.run(async () => apply(await read(files, how), by, how)),
  };

  async function apply(read: Applied, by: string, how: ApplyOptions = {}): Promise<Applied> {
    const { after: set, changes } = read;
    if (changes.length === 0) return read;
    await how.agree?.(read);
    const version = read.version + 1;
    const { sequence } = await deps.store.saveRegistry(
      { version, resources: JSON.stringify(set.resources) },
      {
        type: 'registry.applied',
        version,
        changes: changes.map(({ change, key }) => `${change} ${key}`),
        by,
      },
    );
    sets.publish({ ...set, version, sequence });
    return { ...read, version };
  }
}

/** An empty folder or a failed pipe must not remove every name. */
function ensureNothingIn(before: readonly Resource[]): void {
  if (before.length === 0) return;
  const what = `these files have no resources; all ${before.length} in force would be removed`;
  throw new IdentityError('resource', `${what}. Pass --prune-all if that is meant`);
}

function compile(
  resources: readonly Resource[],
  version: number,
  deps: CompileDeps,
): Omit<VersionedSet, 'sequence'> {
  for (const each of resources) {
    const orphan = platformsOf(each).find((platform) => !deps.platforms.has(platform));
    if (orphan === undefined) continue;
    const needs = `the registry's ${keyOf(each)} needs the attestor ${orphan}`;
    throw new IdentityError('config', `${needs}, which the config no longer has`);
  }
  return { ...resourceSet(resources, { ...deps, version }), version };
}

function choose(earned: readonly Earned[], wanted: SpiffeId | undefined): Earned {
  const chosen = wanted === undefined ? earned[0] : earned.find(({ id }) => id === wanted);
  if (chosen !== undefined) return chosen;
  throw new IdentityError(
    'not_entitled',
    `asked for ${wanted}, earned ${earned.map(({ id }) => id).join(', ')}`,
  );
}
