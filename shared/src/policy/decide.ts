/**
 * May this caller reach this server, and call this tool of it? Two tiers; a matching deny beats any allow; what no rule
 * allows is denied. Pure and synchronous: the same question to the same policy has the same answer.
 */
import type { SpiffeId } from '../spiffe/id.ts';
import type { Decision, Policy, Rules } from './policy.ts';

export interface ToolCall {
  readonly caller: SpiffeId;
  /** The McpServer resource's name. */
  readonly server: string;
  readonly tool: string;
}

/** MCP 2025-11-25, server/tools: a name has 1 to 128 characters. It also bounds the work of a pattern. */
const MAX_TOOL_NAME = 128;

/** Tier 1: the caller is let in if any rule allows it any tool of a server that is registered. */
export function decideServer(policy: Policy, caller: SpiffeId, server: string): Decision {
  if (!policy.servers.has(server)) return deny(undefined, `no server is registered as ${server}`);
  const { entrance } = policy.rulesFor(caller, server);
  if (entrance === undefined) return deny(undefined, `no Access rule lets ${caller} reach server ${server}`);
  return { allow: true, rule: entrance, reason: `${entrance} lets ${caller} reach server ${server}` };
}

/** Tier 2, which implies tier 1. */
export function decide(policy: Policy, call: ToolCall): Decision {
  const { caller, server, tool } = call;
  const entered = decideServer(policy, caller, server);
  if (!entered.allow) return entered;
  if (tool.length > MAX_TOOL_NAME) return deny(undefined, `the tool's name has ${tool.length} characters`);
  if (!isCanonical(tool))
    return deny(
      undefined,
      "the tool's name has characters that cannot be seen, or another form of common ones",
    );
  const rules = policy.rulesFor(caller, server);
  return rules.decided.get(tool, () => decideTool(rules, call));
}

/**
 * MCP asks for letters, digits and `_-.` (2025-11-25, server/tools), and servers use more. A server may read a name
 * without what cannot be seen or in another form of the same characters, so a name that is not its own canonical form
 * could be another tool's there: no rule can allow it.
 */
function isCanonical(tool: string): boolean {
  if (/^[\w.-]+$/.test(tool)) return true;
  const seen = tool.normalize('NFKC').replace(/[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}]/gu, '');
  return seen.trim().replace(/\s+/gu, ' ') === tool;
}

function decideTool({ allow, deny: denials }: Rules, { caller, server, tool }: ToolCall): Decision {
  const what = `${caller} call tool ${tool} of server ${server}`;
  const denial = denials.find(({ pattern }) => pattern.matches(tool));
  if (denial !== undefined)
    return deny(denial.rule, `${denial.rule} does not let ${what}: ${denial.pattern.text}`);
  const grant = allow.find(({ pattern }) => pattern.matches(tool));
  if (grant === undefined) return deny(undefined, `no Access rule lets ${what}`);
  return { allow: true, rule: grant.rule, reason: `${grant.rule} lets ${what}: ${grant.pattern.text}` };
}

function deny(rule: string | undefined, reason: string): Decision {
  return { allow: false, rule, reason };
}
