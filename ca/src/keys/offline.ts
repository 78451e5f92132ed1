/**
 * The home `offline`: keys that are on another machine, and sign there by hand. Nothing is made, loaded or removed
 * here.
 */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { KeyHome, KeyPlace } from '@chancery/shared/keys/home.ts';

/** As records name it. */
export const OFFLINE = 'offline';

/** Whether what this key signs has to be asked for, with a file. */
export const isOffline = ({ key }: { readonly key: KeyPlace }): boolean => key.home === OFFLINE;

const refuse = (what: string): never => {
  const how = 'chancery-ca authorities request, and there chancery-ca ceremony sign';
  const says = `${what} is offline, and signs on its own machine: ${how}`;
  throw new IdentityError('key_missing', says);
};

/** Has no key, ever. Needs no closing. */
export const offlineKeys: KeyHome = {
  create: async () => refuse('the home of this key'),
  has: async () => false,
  load: async ({ reference }) => refuse(`the key of authority ${reference}`),
  remove: async () => {},
};
