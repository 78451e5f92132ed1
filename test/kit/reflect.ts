/**
 * What tsyringe, inside @peculiar/x509, wants of the `reflect-metadata` polyfill before it loads: somebody who answers
 * that classes have no metadata. Import it before @peculiar/x509.
 */
const none = (): undefined => undefined;
if (!('getMetadata' in Reflect)) Object.assign(Reflect, { getMetadata: none, getOwnMetadata: none });
