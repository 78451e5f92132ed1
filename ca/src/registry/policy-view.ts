/** The part of the policy that one SVID needs, and no more: it must not learn the rights of others. */
import { decideServer } from '@chancery/shared/policy/decide.ts';
import type { Access } from '@chancery/shared/policy/resources/access.ts';
import type { McpServer } from '@chancery/shared/policy/resources/server.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { ResourceSet } from './resources.ts';

/**
 * A gateway gets its own servers and the rules about them; a caller gets the servers that it may reach. When to review
 * them is for operators, and an agent of an older release refuses a key that it does not know.
 */
export function policyViewOf(
  { resources, policy }: ResourceSet,
  id: SpiffeId,
): readonly (McpServer | Access)[] {
  const own = new Set(
    resources.flatMap((each) => (each.kind === 'McpServer' && each.identity === id ? [each.name] : [])),
  );
  const reachable = (server: McpServer) =>
    own.has(server.name) || decideServer(policy, { caller: id }, server.name).allow;
  return resources
    .filter((each): each is McpServer | Access => {
      if (each.kind === 'McpServer') return reachable(each);
      return each.kind === 'Access' && each.servers.some((name) => own.has(name));
    })
    .map(({ reviewBy: _, ...each }) =>
      each.kind === 'McpServer' && !own.has(each.name) ? asSeen(each, own.size > 0) : each,
    );
}

/**
 * Of what is recorded about them, and of what their gateways let pass, callers learn nothing. The era of a server is
 * for gateways, whose rules may be about it, too.
 */
function asSeen({ clear: _, observe: __, era, ...server }: McpServer, byGateway: boolean): McpServer {
  return byGateway && era !== undefined ? { ...server, era } : server;
}

/** Computed once for each version of the resources, for all streams. */
const gateways = new WeakMap<ResourceSet, ReadonlySet<string>>();

/** The SPIFFE IDs of the gateways of registered MCP servers. */
export function gatewaysOf(set: ResourceSet): ReadonlySet<string> {
  const known = gateways.get(set);
  if (known !== undefined) return known;
  const found = new Set(set.resources.flatMap((each) => (each.kind === 'McpServer' ? [each.identity] : [])));
  gateways.set(set, found);
  return found;
}
