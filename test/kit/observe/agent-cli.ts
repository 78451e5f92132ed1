/** The agent's command line in this process: no terminal, no signals, and all that it prints. */
import { PassThrough, type Readable } from 'node:stream';
import { agentProgram } from '@chancery/agent/cli/program.ts';
import { runProgram } from '@chancery/shared/cli/program.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';

export const ownUid = process.getuid?.() ?? 0;

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Of the terminal. */
  readonly columns?: number | undefined;
  /** Standard input of `connect`. */
  readonly input?: Readable;
}

export interface Printed {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Version 1.2.3, started as /usr/bin/node /opt/chancery/main.ts. Ends after a minute. */
export async function agentCli(
  args: readonly string[],
  { env = {}, columns, input = new PassThrough() }: CliOptions = {},
): Promise<Printed> {
  let [out, err] = ['', ''];
  const program = agentProgram(
    {
      clock: systemClock,
      random: () => 0.5,
      randomBytes: (size) => new Uint8Array(size),
      ownUid,
      platform: 'linux',
      ownPid: process.pid,
      signalProcess: () => {},
      logAt: () => silentLog,
      version: '1.2.3',
      self: () => ['/usr/bin/node', '/opt/chancery/main.ts'],
      stdio: () => ({ input, output: new PassThrough() }),
    },
    '1.2.3',
  );
  const status = await runProgram(program, args, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env,
    signal: AbortSignal.timeout(60_000),
    input: async () => '',
    isTerminal: false,
    columns,
  });
  return { status, out, err };
}
