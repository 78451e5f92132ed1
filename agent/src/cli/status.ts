/** `status` and `mcp config`: the state of the agent, and the entry for an MCP client. */
import { resolve } from 'node:path';
import { type Command, type ExitStatus, JSON_FLAG, MisuseError } from '@chancery/shared/cli/program.ts';
import { readAgentConfig } from '../config/read.ts';
import { paths } from '../config/schema.ts';
import { describeSkew } from '../svid/skew.ts';
import { readStatus } from '../workload/attach.ts';
import type { StatusReport } from '../workload/local-messages.ts';
import { CONFIG_FLAG, configFile, ensureServerName } from './flags.ts';
import type { Self } from './self.ts';

export const status: Command = {
  says:
    'Shows the running agent: SPIFFE ID, certificate, the CA, servers it may reach, outputs. ' +
    'Exits 1 if none answers, or if it has a problem for an operator.',
  flags: { ...CONFIG_FLAG, ...JSON_FLAG },
  async run(invocation, io) {
    const { dataDir } = readAgentConfig(configFile(invocation));
    const report = await readStatus(paths(dataDir).socket);
    if (invocation.has('json')) {
      io.out(`${JSON.stringify(report, null, 2)}\n`);
      return exitStatus(report);
    }
    io.out(`${linesOf(report).join('\n')}\n`);
    return exitStatus(report);
  },
};

function linesOf(report: StatusReport): readonly string[] {
  const {
    gateway,
    gatewayServers = [gateway?.server ?? ''],
    connect,
    servers,
    renewalFailure,
    outputs,
    trustStream,
    skewSeconds,
    problems,
  } = report;
  if (report.spiffeId === null) return problems.map((each) => `PROBLEM       ${each}`);
  return [
    `SPIFFE ID     ${report.spiffeId}`,
    `certificate   ${report.serial}`,
    report.expired
      ? `expired       ${report.notAfter}`
      : `valid until   ${report.notAfter}, renewed about ${report.renewAfter}`,
    ...(renewalFailure === null ? [] : [`renewal       fails: ${renewalFailure}`]),
    ...(trustStream === null ? [] : [`CA            ${heard(trustStream)}`]),
    ...(skewSeconds === null || Math.abs(skewSeconds) <= ROUNDING_SECONDS
      ? []
      : [`clock         ${describeSkew(skewSeconds)}`]),
    `policy        ${report.policyVersion === null ? 'none yet' : `version ${report.policyVersion}`}`,
    `MCP servers   ${servers.join(', ') || 'none that this workload may reach'}`,
    ...(gateway === null ? [] : [`gateway       before ${gatewayServers.join(', ')}, port ${gateway.port}`]),
    ...connect.map(({ server, listen }) => `connect       ${server} at ${listen}`),
    ...outputs.map(({ dir, failure }) =>
      failure === null ? `output        ${dir}` : `output        ${dir} is not up to date: ${failure}`,
    ),
    ...problems.map((each) => `PROBLEM       ${each}`),
  ];
}

/** The error of whole seconds and of the message's way. */
const ROUNDING_SECONDS = 2;

const heard = ({ since, failure }: NonNullable<StatusReport['trustStream']>): string =>
  failure === null ? `heard since ${since}` : `not heard since ${since}: ${failure}`;

/** 1 if an operator has to act. */
const exitStatus = ({ problems }: StatusReport): ExitStatus => (problems.length > 0 ? 1 : 0);

/** The entries that MCP clients read, by their documentation. */
const CLIENTS = {
  claude: (name: string, entry: StdioEntry) => ({ mcpServers: { [name]: entry } }),
  cursor: (name: string, entry: StdioEntry) => ({ mcpServers: { [name]: entry } }),
  vscode: (name: string, entry: StdioEntry) => ({ servers: { [name]: { type: 'stdio', ...entry } } }),
} as const;

interface StdioEntry {
  readonly command: string;
  readonly args: readonly string[];
}

/** `self` names this program in full, since an MCP client may have another PATH. */
export const mcp = (self: () => Self): Command => ({
  says: "`mcp config NAME` prints the entry for an MCP client's own config.",
  positionals: 'config NAME',
  flags: {
    client: {
      type: 'string',
      value: Object.keys(CLIENTS).join('|'),
      says: 'Whose config (default: claude).',
    },
    ...CONFIG_FLAG,
  },
  async run(invocation, io) {
    const [verb, name, ...more] = invocation.positionals;
    if (verb !== 'config' || name === undefined || more.length > 0)
      throw new MisuseError('expected: mcp config NAME');
    ensureServerName(name);
    const client = invocation.text('client') ?? 'claude';
    if (!isClient(client)) throw new MisuseError(`--client is one of ${Object.keys(CLIENTS).join(', ')}`);
    const [command, ...program] = self();
    const entry = {
      command,
      args: [...program, 'connect', name, '--config', resolve(configFile(invocation))],
    };
    io.out(`${JSON.stringify(CLIENTS[client](name, entry), null, 2)}\n`);
    return 0;
  },
});

function isClient(name: string): name is keyof typeof CLIENTS {
  return Object.hasOwn(CLIENTS, name);
}
