/** What a CA that serves says of itself: which program it is, since when it runs, what it has loaded and in force. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { KeyHomes } from '../keys/homes.ts';
import { standbyKeysHere } from '../keys/standby-here.ts';
import { isInBundle, isStandby, maySign } from '../store/authority-states.ts';
import type { StoredAuthority } from '../store/store.ts';
import { concernsOf } from './concerns.ts';
import type { Loaded } from './loaded.ts';

/** What the running process knows of itself. */
export interface Self {
  /** Of the program. */
  readonly version: string;
  readonly since: Date;
  readonly loaded: Loaded;
  /** Why it is not ready; undefined if it is. */
  readonly unfit: () => string | undefined;
  /** What does not work while it issues; undefined if all does. */
  readonly impaired: () => string | undefined;
  /** What the newest record says of the clock, in the first hour. */
  readonly doubt: () => string | undefined;
}

/** An authority that signs, or may come to sign, or that agents trust. */
export interface ServingAuthority extends Pick<StoredAuthority, 'kind' | 'serial' | 'notAfter'> {
  readonly state: StoredAuthority['state'] | 'standby';
}

/** The answer to an operator. */
export interface Serving extends Omit<Self, 'unfit' | 'impaired' | 'doubt'> {
  readonly unfit: string | undefined;
  /** Version of the resources in force, and how many there are. */
  readonly policy: number;
  readonly resources: number;
  /** How many are in force. */
  readonly revocations: number;
  /** Roots in the bundle, and the intermediate that signs. */
  readonly authorities: readonly ServingAuthority[];
  /** A sentence for each thing that somebody should look at. */
  readonly warnings: readonly string[];
}

export interface ServingDeps {
  readonly self: Self;
  readonly clock: Pick<Clock, 'now'>;
  readonly keys: Pick<KeyHomes, 'standby'>;
  /** What is in force of authorities follows the store, and a chain from a CA above is in the store alone. */
  readonly store: { authorities(): Promise<readonly StoredAuthority[]> };
  readonly registry: {
    readonly sets: Pick<
      Source<{ readonly version: number; readonly resources: readonly unknown[] }>,
      'current'
    >;
  };
  readonly revocations: { standing(): readonly unknown[] };
}

/** As it is now. Throws store. */
export async function servingNow({
  self,
  clock,
  keys,
  store,
  registry,
  revocations,
}: ServingDeps): Promise<Serving> {
  const { impaired, unfit, doubt, ...known } = self;
  const [records, set] = [await store.authorities(), registry.sets.current()];
  return {
    ...known,
    unfit: unfit(),
    policy: set.version,
    resources: set.resources.length,
    revocations: revocations.standing().length,
    authorities: records.filter((each) => isInBundle(each) || maySign(each)).map(servingAuthority),
    warnings: [
      ...[impaired() ?? [], doubt() ?? []].flat(),
      ...concernsOf(records, clock.now()),
      ...(await standbyKeysHere(records, keys)),
    ],
  };
}

const servingAuthority = (each: StoredAuthority): ServingAuthority => {
  const { kind, serial, notAfter, state } = each;
  return { kind, serial, notAfter, state: isStandby(each) ? 'standby' : state };
};
