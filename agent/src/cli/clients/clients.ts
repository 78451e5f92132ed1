/** The MCP clients whose configs are known: where each keeps its file on which system, and how an entry looks in it. */
import { posix, win32 } from 'node:path';
import type { Io } from '@chancery/shared/cli/program.ts';

/** A command that an MCP client starts and speaks to over standard input and output. */
export interface StdioEntry {
  readonly command: string;
  readonly args: readonly string[];
}

export interface McpClient {
  /** For people. */
  readonly called: string;
  /** The object in its file whose fields are the servers, by name. */
  readonly servers: 'mcpServers' | 'servers';
  /** Whether it reads comments and commas before a closing bracket. */
  readonly hasComments: boolean;
  /** As its file has it under the server's name. */
  entry(entry: StdioEntry): Readonly<Record<string, unknown>>;
  /** The absolute path of the user's own file. */
  file(home: Home): string;
}

/** The folders that these clients look at. All are absolute. */
export interface Home {
  readonly platform: NodeJS.Platform;
  readonly home: string;
  /** Where programs with windows keep their settings; each has a folder of its own there. */
  readonly settings: string;
  /** Undefined if it is not set. */
  readonly claudeCode: string | undefined;
}

const join = (platform: NodeJS.Platform, ...parts: readonly string[]): string =>
  (platform === 'win32' ? win32 : posix).join(...parts);

/** By what --client says; as their documentation has it in November 2026. */
export const CLIENTS = {
  claude: {
    called: 'Claude Desktop',
    servers: 'mcpServers',
    hasComments: false,
    entry: (entry) => ({ ...entry }),
    file: ({ platform, settings }) => join(platform, settings, 'Claude', 'claude_desktop_config.json'),
  },
  'claude-code': {
    called: 'Claude Code',
    servers: 'mcpServers',
    hasComments: false,
    entry: (entry) => ({ type: 'stdio', ...entry }),
    file: ({ platform, home, claudeCode }) => join(platform, claudeCode ?? home, '.claude.json'),
  },
  cursor: {
    called: 'Cursor',
    servers: 'mcpServers',
    hasComments: true,
    entry: (entry) => ({ ...entry }),
    file: ({ platform, home }) => join(platform, home, '.cursor', 'mcp.json'),
  },
  vscode: {
    called: 'VS Code',
    servers: 'servers',
    hasComments: true,
    entry: (entry) => ({ type: 'stdio', ...entry }),
    file: ({ platform, settings }) => join(platform, settings, 'Code', 'User', 'mcp.json'),
  },
} as const satisfies Readonly<Record<string, McpClient>>;

export type ClientName = keyof typeof CLIENTS;

/** Undefined without a home folder in the environment. A path that is not absolute counts as none. */
export function homeOf(env: Io['env'], platform: NodeJS.Platform): Home | undefined {
  const absolute = (name: string): string | undefined => {
    const path = env[name];
    const { isAbsolute } = platform === 'win32' ? win32 : posix;
    return path !== undefined && isAbsolute(path) ? path : undefined;
  };
  const home = absolute(platform === 'win32' ? 'USERPROFILE' : 'HOME');
  if (home === undefined) return undefined;
  const settings: Partial<Record<NodeJS.Platform, string>> = {
    darwin: posix.join(home, 'Library', 'Application Support'),
    win32: absolute('APPDATA') ?? win32.join(home, 'AppData', 'Roaming'),
  };
  const others = absolute('XDG_CONFIG_HOME') ?? join(platform, home, '.config');
  return {
    platform,
    home,
    settings: settings[platform] ?? others,
    claudeCode: absolute('CLAUDE_CONFIG_DIR'),
  };
}

/** Whether it is a name that --client takes. */
export function isClient(name: string): name is ClientName {
  return Object.hasOwn(CLIENTS, name);
}
