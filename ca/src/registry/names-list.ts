/** Which certificates name the list (CRL) of their issuer. */
import type { ResourceSet } from './resources.ts';

/** As the Identity of this name says; what a removed one gave does. */
export const namesList = ({ resources }: Pick<ResourceSet, 'resources'>, identity: string): boolean =>
  !resources.some((each) => each.kind === 'Identity' && each.name === identity && each.x509.crl === false);
