/** Which DNS names the resources can put into certificates. */
import type { ResourceSet } from './resources.ts';

/** Each of every Identity, once; what a platform proves, and nobody knows before, is the label `x`. */
export const dnsNamesOf = ({ resources }: Pick<ResourceSet, 'resources'>): readonly string[] => [
  ...new Set(
    resources.flatMap((each) =>
      each.kind === 'Identity' ? each.x509.dnsNames.map((name) => name.replaceAll(/\{[^}]*\}/g, 'x')) : [],
    ),
  ),
];
