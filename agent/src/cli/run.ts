/** `run` and `gateway`: the agent in the foreground until SIGINT, SIGTERM or SIGQUIT. */
import type { Command, ExitStatus, Invocation, Io } from '@chancery/shared/cli/program.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log, LogLevel } from '@chancery/shared/ground/log.ts';
import { giveBackFreedMemory } from '@chancery/shared/unix/freed-memory.ts';
import { readAgentConfig } from '../config/read.ts';
import type { AgentSettings } from '../config/schema.ts';
import type { RunDeps } from '../run.ts';
import { CONFIG_FLAG, configFile } from './flags.ts';

export interface RunCommandDeps extends Omit<RunDeps, 'log' | 'env'> {
  readonly logAt: (level: LogLevel) => Log;
}

/** Serves until SIGINT, SIGTERM or SIGQUIT, and then closes all that the config opened. */
export const run = (deps: RunCommandDeps): Command => ({
  says: 'Runs the agent in the foreground: SVID, trust stream, outputs, gateway and local addresses of its config.',
  flags: CONFIG_FLAG,
  run: (invocation, io) => runUntilTold(settingsOf(invocation), deps, io),
});

/** Serves as `run` does. Throws config if the config has no gateway. */
export const gateway = (deps: RunCommandDeps): Command => ({
  says: 'As run, but refuses a config without a gateway.',
  flags: CONFIG_FLAG,
  async run(invocation, io) {
    const settings = settingsOf(invocation);
    if (settings.gateway === undefined)
      throw new IdentityError(
        'config',
        `${configFile(invocation)}: gateway: server, listen and upstream are expected`,
      );
    return runUntilTold(settings, deps, io);
  },
});

const settingsOf = (invocation: Invocation): AgentSettings => readAgentConfig(configFile(invocation));

async function runUntilTold(settings: AgentSettings, deps: RunCommandDeps, io: Io): Promise<ExitStatus> {
  const log = deps.logAt(settings.logLevel);
  io.serves?.(() => log.info({}, 'SIGHUP ignored: restart to read the config again'));
  giveBackFreedMemory(io.signal);
  // Imported here, since the other commands need no gRPC.
  const { runAgent } = await import('../run.ts');
  const running = await runAgent(settings, { ...deps, log, env: io.env }, io.signal).catch(
    (error: unknown) => {
      if (!io.signal.aborted) throw error;
      return undefined;
    },
  );
  // A signal ended it before it had joined: that is success.
  if (running === undefined) return 0;
  const { id, notAfter } = running.agent.svid.current();
  const before = running.gatewayPort === undefined ? '' : `, gateway on port ${running.gatewayPort}`;
  io.out(`chancery-agent is ${id} until ${notAfter.toISOString()}${before}\n`);
  try {
    await Promise.race([running.agent.ended, aborted(io.signal)]);
  } finally {
    await running.close();
  }
  return 0;
}

/** Resolves when the signal aborts, at once where it has; never rejects. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
