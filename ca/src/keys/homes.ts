/** Which home has the keys of each kind of authority. */
import type { KeyHome } from '@chancery/shared/keys/home.ts';
import type { AuthorityKind } from '../store/store.ts';

/** The root's key may be kept where the CA rarely or never reaches it, and the intermediates' beside the CA. */
export type KeyHomes = Readonly<Record<AuthorityKind, KeyHome>>;

/** Root and intermediates in one place. */
export const oneHome = (keys: KeyHome): KeyHomes => ({ root: keys, intermediate: keys });
