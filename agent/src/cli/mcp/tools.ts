/** `mcp tools NAME`: which tools of a server may be called, by its gateway, and why the others may not. */
import {
  type ExitStatus,
  type Invocation,
  type Io,
  MisuseError,
  twoColumns,
} from '@chancery/shared/cli/program.ts';
import { isPattern } from '@chancery/shared/policy/lookup/classes.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import type { Told } from '../../mcp/wire/allowed.ts';
import { serverIn } from '../connect.ts';
import { ensureServerName } from '../flags.ts';
import { type McpCommandDeps, type Reach, withPolicy } from './deps.ts';

interface Seen extends Told {
  /** The class that the McpServer gives this name. */
  readonly action: string | null;
  /** What the server says of it, where it lists it to this identity. */
  readonly description: string | null;
  readonly listed: boolean;
}

/** A server's text is as long as it likes. */
const MAX_TEXT = 100;

/** With no TOOL: those that the server lists to this identity, and those that its McpServer names. */
export async function tools(invocation: Invocation, deps: McpCommandDeps, io: Io): Promise<ExitStatus> {
  const [server = '', ...asked] = invocation.positionals.slice(1);
  if (server === '') throw new MisuseError('expected: mcp tools NAME [TOOL...]');
  ensureServerName(server);
  const seen = await withPolicy(invocation, deps, io, (reach) => toolsOf(reach, server, asked));
  if (invocation.has('json')) io.out(`${JSON.stringify(seen, null, 2)}\n`);
  else if (seen.length === 0)
    io.out(`${server} lists no tool to this identity, and its McpServer names none\n`);
  else
    io.out(
      `${twoColumns(
        seen.map((each) => [`${each.may.padEnd(5)}  ${printable(each.tool)}`, saysOf(each)] as const),
        io.columns,
      )}\n`,
    );
  return 0;
}

async function toolsOf(reach: Reach, server: string, asked: readonly string[]): Promise<readonly Seen[]> {
  const registered = serverIn(reach.policy, server).tools ?? {};
  const client = reach.client(server);
  try {
    const listed = new Map((asked.length > 0 ? [] : await client.tools()).map((each) => [each.name, each]));
    const named = Object.keys(registered).filter((name) => !isPattern(name));
    const names = asked.length > 0 ? asked : [...new Set([...listed.keys(), ...named])];
    const { tools: told } = await client.allowed(names);
    return told.map((each) => ({
      ...each,
      action: Object.hasOwn(registered, each.tool) ? (registered[each.tool]?.action ?? null) : null,
      description: listed.get(each.tool)?.description ?? null,
      listed: listed.has(each.tool),
    }));
  } finally {
    await client.close();
  }
}

function saysOf({ may, action, description, reason }: Seen): string {
  const text = printable(description ?? '');
  const short = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
  const why =
    may === 'no' ? reason : may === 'maybe' ? 'it depends on the arguments or the session' : undefined;
  return [action === null ? undefined : `[${action}]`, why, short === '' ? undefined : short]
    .filter((part) => part !== undefined)
    .join(' ');
}
