/** `status`: the state of the agent. */
import { type Command, type ExitStatus, JSON_FLAG } from '@chancery/shared/cli/program.ts';
import { readAgentConfig } from '../config/read.ts';
import { paths } from '../config/schema.ts';
import { describeSkew } from '../svid/skew.ts';
import { readStatus } from '../workload/attach.ts';
import type { StatusReport } from '../workload/local-messages.ts';
import { CONFIG_FLAG, configFile } from './flags.ts';

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
