/**
 * May this caller reach this server, and call this tool of it? Two tiers. A matching deny beats an ask, and an ask
 * beats an allow; what no rule allows is denied. Pure and synchronous: the same call under the same policy has the same
 * answer.
 */
import type { SpiffeId } from '../spiffe/id.ts';
import type { ToolCall } from './call.ts';
import type { Allowed, Decision, Denied } from './decision.ts';
import type { Policy } from './policy.ts';
import type { Line, Lines } from './rules.ts';
import { MAX_TOOL_NAME } from './patterns/tool.ts';

/** Tier 1: the caller may reach a registered server if any rule may allow it any tool there. */
export function decideServer(policy: Policy, caller: SpiffeId, server: string): Allowed | Denied {
  if (!policy.servers.has(server)) return denied(undefined, `no server is registered as ${server}`);
  const { entrance } = policy.rulesFor(caller, server);
  if (entrance === undefined)
    return denied(undefined, `no Access rule lets ${caller} reach server ${server}`);
  return { allow: true, rule: entrance, reason: `${entrance} lets ${caller} reach server ${server}` };
}

/** Tier 2, which implies tier 1. A condition that cannot be decided counts against the call. */
export function decide(policy: Policy, call: ToolCall): Decision {
  const refused = refusedAtOnce(policy, call);
  if (refused !== undefined) return refused;
  return policy.rulesFor(call.caller, call.server).decide(call, decideTool);
}

function decideTool({ deny, ask, allow }: Lines, call: ToolCall): Decision {
  const { caller, server, tool } = call;
  const what = `${caller} call tool ${tool} of server ${server}`;
  const denial =
    deny.find((line) => holds(line, call) !== false) ?? ask.find((line) => isUnknown(line, call));
  if (denial !== undefined)
    return denied(denial.rule, `${denial.rule} does not let ${what}: ${denial.pattern.text}`);
  const question = ask.find((line) => holds(line, call));
  if (question !== undefined) {
    const { rule, pattern } = question;
    return {
      allow: false,
      ask: true,
      rule,
      reason: `${rule} lets ${what} with an approval: ${pattern.text}`,
    };
  }
  const grant = allow.find((line) => holds(line, call));
  if (grant === undefined) return denied(undefined, `no Access rule lets ${what}`);
  return { allow: true, rule: grant.rule, reason: `${grant.rule} lets ${what}: ${grant.pattern.text}` };
}

/**
 * Whether a list shows the tool. `maybe` if that depends on the call: on a condition on its arguments, or an approval.
 */
export function mayCall(policy: Policy, call: ToolCall): 'yes' | 'maybe' | 'no' {
  if (refusedAtOnce(policy, call) !== undefined) return 'no';
  const { deny, ask, allow } = policy.rulesFor(call.caller, call.server).about(call.tool);
  if (deny.some((line) => holds(line, call))) return 'no';
  const possible = [...ask, ...allow].filter((line) => holds(line, call) !== false);
  if (possible.length === 0) return 'no';
  const doubts = [...deny, ...ask].some((line) => holds(line, call) !== false);
  return !doubts && allow.some((line) => holds(line, call)) ? 'yes' : 'maybe';
}

/** Tier 1, and names that no rule can allow. */
function refusedAtOnce(policy: Policy, { caller, server, tool }: ToolCall): Denied | undefined {
  const entered = decideServer(policy, caller, server);
  if (!entered.allow) return entered;
  const why = whyNoTool(tool);
  return why === undefined ? undefined : denied(undefined, why);
}

/** Why no rule can allow a tool of this name; undefined if one can. */
export function whyNoTool(tool: string): string | undefined {
  if (tool.length > MAX_TOOL_NAME) return `the tool's name has ${tool.length} characters`;
  if (isCanonical(tool)) return undefined;
  return "the tool's name has characters that cannot be seen, or another form of common ones";
}

/**
 * MCP asks for letters, digits and `_-.` (2025-11-25, server/tools), and servers use more. A server may ignore
 * invisible characters, or read another Unicode form of the same name. So a name that is not canonical could be another
 * tool there, and no rule can allow it.
 */
function isCanonical(tool: string): boolean {
  // Nearly every name. Such a name is its own canonical form, so this only saves work.
  if (/^[\w.-]+$/.test(tool)) return true;
  const seen = tool.normalize('NFKC').replace(/[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}]/gu, '');
  return seen.trim().replace(/\s+/gu, ' ') === tool;
}

function holds({ when }: Line, call: ToolCall): boolean | undefined {
  return when === undefined || when.holds(call);
}

function isUnknown(line: Line, call: ToolCall): boolean {
  return holds(line, call) === undefined;
}

function denied(rule: string | undefined, reason: string): Denied {
  return { allow: false, rule, reason };
}
