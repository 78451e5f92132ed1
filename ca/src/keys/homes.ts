/** Which home has the keys of each kind of authority: new keys as the config says, those that exist by their record. */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { KeyHome, KeyPlace } from '@chancery/shared/keys/home.ts';
import type { KeyAlgorithm } from '@chancery/shared/keys/key.ts';
import type { MovedKind } from '../store/authority-record.ts';

/**
 * The root's key may be kept where the CA rarely or never reaches it, and the intermediates' beside the CA. In
 * `standby` keys of standby roots are made; `root` finds them by their place.
 */
export type KeyHomes = Readonly<Record<MovedKind, KeyHome>> & { readonly standby: StandbyHome };

export interface StandbyHome extends KeyHome {
  /**
   * Brings the key of a root that stands by no longer to where it stays. Does nothing if it is there, or in
   * another home. Throws key_missing if it is nowhere, file.
   */
  keep(place: KeyPlace): Promise<void>;
}

/** All in one place. */
export const oneHome = (keys: KeyHome): KeyHomes => ({
  root: keys,
  intermediate: keys,
  jwt: keys,
  standby: { ...keys, keep: async () => {} },
});

/** Where new keys of one kind are made, and of which algorithm. */
export interface NewKeys {
  readonly home: string;
  readonly algorithm: KeyAlgorithm;
}

/**
 * `open` has the homes by the names that records have. A key is looked for where its record says, so an old root in a
 * file and a new one in a token work side by side. Throws key_wrong for a home that is not open.
 */
export function homesBy(
  open: ReadonlyMap<string, KeyHome>,
  wanted: Readonly<Record<MovedKind, NewKeys>>,
): Omit<KeyHomes, 'standby'> {
  const homeOf = ({ home, reference }: KeyPlace): KeyHome => {
    const found = open.get(home);
    if (found !== undefined) return found;
    const says = `key ${reference} is in the home ${home}, and this CA has only ${[...open.keys()].join(', ')}`;
    throw new IdentityError('key_wrong', `${says}: configure it below keys`);
  };
  const of = ({ home, algorithm }: NewKeys): KeyHome => ({
    next: { home, algorithm },
    create: async (label, own = algorithm) => homeOf({ home, reference: label }).create(label, own),
    ready: async () => homeOf({ home, reference: 'that is new' }).ready?.(),
    has: async (place) => homeOf(place).has(place),
    load: async (place) => homeOf(place).load(place),
    remove: async (place) => homeOf(place).remove(place),
  });
  return { root: of(wanted.root), intermediate: of(wanted.intermediate), jwt: of(wanted.jwt) };
}
