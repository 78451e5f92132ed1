/** Homes of keys: where authorities' keys are made, kept and used. A key may never leave its home. */
import type { KeyAlgorithm, Signer } from './key.ts';

/** Names a key for as long as it exists, across restarts and across changes of the config. */
export interface KeyPlace {
  /** The name of the home. */
  readonly home: string;
  /** What the home calls the key. */
  readonly reference: string;
}

export interface HomeKey {
  readonly place: KeyPlace;
  readonly signer: Signer;
}

/**
 * Throws key_missing for a key that is not there, key_wrong for one that is another key or in another home; of homes
 * outside this machine's files key_unreachable while they do not answer and key_refused where they say no; and what the
 * home's own reading throws.
 */
export interface KeyHome {
  /** Where a new key would be, and of which algorithm; a home that does not say it leaves it out. */
  readonly next?: { readonly home: string; readonly algorithm: KeyAlgorithm };
  /** `label` is unique. Which algorithm the key has without `algorithm` is the home's choice. */
  create(label: string, algorithm?: KeyAlgorithm): Promise<HomeKey>;
  /** Whether the key is there; it may still not open. Throws where the home does not answer: then nobody knows. */
  has(place: KeyPlace): Promise<boolean>;
  /** To sign with, for as long as the home has the key. */
  load(place: KeyPlace): Promise<Signer>;
  /** Throws if no key could be made now, and makes none. A home without it does not know before it tries. */
  ready?(): Promise<void>;
  /** Does nothing where there is no such key. */
  remove(place: KeyPlace): Promise<void>;
}
