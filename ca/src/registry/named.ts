/** Which SPIFFE IDs resources speak of: to tell an identity that may do nothing from one that is misspelt. Pure. */
import { compareSpiffePattern } from '@chancery/shared/policy/patterns/spiffe.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Resource } from './resources.ts';

/** Whether an Identity can give the SPIFFE ID, or an McpServer or an Access speaks of it. */
export function isSpokenOf(resources: readonly Resource[], id: SpiffeId): boolean {
  return resources.some((each) => {
    if (each.kind === 'Identity') return fits(each.id, id);
    if (each.kind === 'McpServer') return each.identity === id;
    return each.who.some((who) => compareSpiffePattern(who)(id) === 'all');
  });
}

/** Names without attributes and wildcards, each once. */
export const namesIn = (resources: readonly Resource[]): readonly string[] => [
  ...new Set(
    resources
      .flatMap((each) => {
        if (each.kind === 'Identity') return [each.id];
        return each.kind === 'McpServer' ? [each.identity] : each.who;
      })
      .filter((name) => !/[{*]/.test(name)),
  ),
];

/** An attribute may have any value within a segment. */
function fits(template: string, id: SpiffeId): boolean {
  const fixed = template.split(/\{[^}]*\}/).map(RegExp.escape);
  return new RegExp(`^${fixed.join('[^/]+')}$`).test(id);
}
