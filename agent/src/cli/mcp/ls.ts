/** `mcp ls`: the MCP servers that this identity may reach, what their gateways let it call, and which do not answer. */
import {
  type ExitStatus,
  type Invocation,
  type Io,
  MisuseError,
  twoColumns,
} from '@chancery/shared/cli/program.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { isPattern } from '@chancery/shared/policy/lookup/classes.ts';
import type { McpServer } from '@chancery/shared/policy/resources/server.ts';
import type { Told } from '../../mcp/wire/allowed.ts';
import { type McpCommandDeps, type Reach, withPolicy } from './deps.ts';

interface Seen {
  readonly server: string;
  readonly identity: string;
  readonly address: string;
  /** Whether its gateway answered. */
  readonly up: boolean;
  /** Whether a rule may allow any tool; null if the gateway did not say. */
  readonly any: boolean | null;
  /** Those that its McpServer classifies by name, with what the gateway says of each. */
  readonly tools: readonly (Partial<Told> & { readonly tool: string; readonly action: string })[];
  /** Why the gateway did not answer, or lets nothing through. */
  readonly problem: string | null;
}

/** Questions at the same time. */
const AT_ONCE = 16;

/** Exits 1 if a gateway does not answer. */
export async function ls(invocation: Invocation, deps: McpCommandDeps, io: Io): Promise<ExitStatus> {
  if (invocation.positionals.length > 1) throw new MisuseError('expected: mcp ls');
  const seen = await withPolicy(invocation, deps, io, (reach) => lookAtAll(reach, io));
  if (invocation.has('json')) io.out(`${JSON.stringify(seen, null, 2)}\n`);
  else if (seen.length === 0) io.out('no MCP server is registered that this identity may reach\n');
  else
    io.out(
      `${twoColumns(
        seen.map((each) => [each.server, saysOf(each)] as const),
        io.columns,
      )}\n`,
    );
  return seen.every(({ up }) => up) ? 0 : 1;
}

async function lookAtAll(reach: Reach, io: Io): Promise<readonly Seen[]> {
  const servers = [...reach.policy.servers.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const seen: Seen[] = [];
  for (let at = 0; at < servers.length; at += AT_ONCE) {
    if (at > 0) io.progress?.(`asked ${at} of ${servers.length} servers`);
    seen.push(...(await Promise.all(servers.slice(at, at + AT_ONCE).map((each) => lookAt(reach, each)))));
  }
  io.progress?.('');
  return seen;
}

async function lookAt(
  reach: Reach,
  { name: server, identity, address, tools = {} }: McpServer,
): Promise<Seen> {
  const classified = Object.entries(tools).map(([tool, { action }]) => ({ tool, action }));
  const names = classified.flatMap(({ tool }) => (isPattern(tool) ? [] : [tool]));
  const about = { server, identity, address };
  const client = reach.client(server);
  try {
    const { any, tools: told } = await client.allowed(names);
    const byName = new Map(told.map((each) => [each.tool, each]));
    const all = classified.map((each) => ({ ...each, ...byName.get(each.tool) }));
    const problem = any ? null : 'no rule lets this identity call any tool';
    return { ...about, up: true, any, tools: all, problem };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const up = error.code === 'mcp_call';
    return { ...about, up, any: up ? false : null, tools: classified, problem: error.message };
  } finally {
    await client.close();
  }
}

/** Classes with their tools; those that may not be called come last. */
function saysOf({ up, tools, problem }: Seen): string {
  if (problem !== null) return up ? `WARNING: ${problem}` : `does not answer: ${problem}`;
  const classes = new Map<string, string[]>();
  for (const { tool, action, may } of tools) {
    const as = may === 'no' ? 'not allowed' : action;
    classes.set(as, [...(classes.get(as) ?? []), may === 'maybe' ? `${tool} (maybe)` : tool]);
  }
  const ofClass = [...classes].toSorted(([a], [b]) => order(a) - order(b));
  if (ofClass.length === 0) return 'tools may be called; its McpServer classifies none';
  return ofClass.map(([as, names]) => `${as}: ${names.join(', ')}`).join('; ');
}

const ORDER = ['read', 'query', 'update', 'admin', 'not allowed'];
const order = (as: string): number => ORDER.indexOf(as);
