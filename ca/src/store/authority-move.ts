/** Kinds and states of authorities, and the moves between the states. */

/** What an authority signs: a root signs intermediates, an intermediate signs SVIDs. */
export type AuthorityKind = 'root' | 'intermediate';

/** Which moves there are between them, and what each means, is in authority-states.ts. */
export type AuthorityState = 'prepared' | 'published' | 'active' | 'retiring' | 'removed';

/** One step of one authority. */
export interface AuthorityMove {
  readonly serial: string;
  readonly from: AuthorityState;
  readonly to: AuthorityState;
}
