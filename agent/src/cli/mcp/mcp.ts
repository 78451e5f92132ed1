/** `mcp`: shows what this identity may do at which MCP servers, calls a tool, and sets up MCP clients. */
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
} from '@chancery/shared/cli/program.ts';
import { CLIENTS } from '../clients/clients.ts';
import { CONFIG_FLAG } from '../flags.ts';
import { call } from './call.ts';
import { config } from './config.ts';
import type { McpCommandDeps } from './deps.ts';
import { ls } from './ls.ts';
import { tools } from './tools.ts';

interface Verb {
  readonly takes: string;
  /** Besides those of all verbs. */
  readonly flags: readonly string[];
  run(invocation: Invocation, deps: McpCommandDeps, io: Io): Promise<ExitStatus>;
}

const VERBS: ReadonlyMap<string, Verb> = new Map<string, Verb>([
  ['ls', { takes: 'ls', flags: [], run: ls }],
  ['tools', { takes: 'tools NAME [TOOL...]', flags: [], run: tools }],
  ['call', { takes: 'call NAME TOOL [JSON | KEY=VALUE... | -]', flags: [], run: call }],
  ['config', { takes: 'config [NAME]', flags: ['client', 'write', 'dry-run'], run: config }],
]);

const SAYS = [
  '`mcp ls` shows the MCP servers that this identity may reach, and their tools by class.',
  '`mcp tools NAME` asks one of them, and says which tools may be called, and why not.',
  '`mcp call NAME TOOL` calls one. Its arguments are one JSON object, KEY=VALUE pairs (a VALUE that is JSON counts as',
  'JSON), or with - what standard input has. It exits 0 for a result, 1 if the call is denied or fails, 3 if the tool',
  'reports an error, 4 if the outcome is unknown.',
  "`mcp config` prints the entry for an MCP client's own config, or writes it there: of all servers, or of NAME.",
].join(' ');

/** One of its verbs. */
export const mcp = (deps: McpCommandDeps): Command => ({
  says: SAYS,
  positionals: 'ls|tools|call|config [NAME] [TOOL] [JSON|KEY=VALUE...|-]',
  words: [...VERBS.keys()],
  flags: {
    client: {
      type: 'string',
      value: Object.keys(CLIENTS).join('|'),
      says: 'With config: whose config (default: claude, which is Claude Desktop).',
    },
    write: {
      type: 'boolean',
      says: "With config: write it into the client's own file, beside a copy of the old one; all else stays as it is.",
    },
    'dry-run': { type: 'boolean', says: 'With --write: show what would change, and change nothing.' },
    ...CONFIG_FLAG,
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const [name = ''] = invocation.positionals;
    const verb = VERBS.get(name);
    if (verb === undefined)
      throw new MisuseError(`expected: mcp ${[...VERBS.values()].map(({ takes }) => takes).join(', mcp ')}`);
    for (const other of VERBS.values())
      for (const flag of other.flags)
        if (other !== verb && (invocation.has(flag) || invocation.text(flag) !== undefined))
          throw new MisuseError(`--${flag} is not for mcp ${name}: mcp ${other.takes}`);
    return verb.run(invocation, deps, io);
  },
});
