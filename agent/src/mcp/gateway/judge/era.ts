/** The eras that the clients of a server may speak, by its McpServer. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { type Era, LEGACY_VERSIONS, MODERN_VERSIONS } from '@chancery/shared/mcp/era.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';

/** The revisions that a client can choose from. */
export const versionsOf = (policy: Policy, server: string): readonly string[] =>
  policy.servers.get(server)?.era === 'legacy' ? LEGACY_VERSIONS : MODERN_VERSIONS;

/** Throws mcp_version for a message of an era that the McpServer rules out. */
export function ensureEra(policy: Policy, server: string, era: Era): void {
  const fits = era === 'legacy' || versionsOf(policy, server) !== LEGACY_VERSIONS;
  ensure(fits, 'mcp_version', `McpServer/${server} is of the legacy era: begin with initialize`);
}
