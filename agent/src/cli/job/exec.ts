/** `exec -- COMMAND`: an agent for as long as a command runs, and nothing of it afterwards. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { atEnd } from '@chancery/shared/cli/process-io.ts';
import { type Command, type ExitStatus, type Io, MisuseError } from '@chancery/shared/cli/program.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { cannotRun } from '@chancery/shared/text/system-sentence.ts';
import type { AgentSettings } from '../../config/schema.ts';
import type { Running } from '../../run.ts';
import type { RunCommandDeps } from '../run.ts';
import { JOB_FLAGS, jobSettings, timeoutOf } from './settings.ts';
import { within } from './within.ts';

/** Exits with the command's own status, as a shell does: 127 if it is not found, 126 if it cannot be run. */
export const exec = (deps: RunCommandDeps): Command => ({
  says:
    'Runs a command with a certificate in files that SPIFFE_*_FILE name, renewed while it runs, removed afterwards. ' +
    'Joins as the config says, and ignores its outputs, gateway, connect and http.',
  positionals: '-- COMMAND [ARGUMENT...]',
  flags: JOB_FLAGS,
  async run(invocation, io) {
    const [program, ...args] = invocation.positionals;
    if (program === undefined) throw new MisuseError('expected: exec -- COMMAND [ARGUMENT...]');
    const seconds = timeoutOf(invocation);
    const folder = makeFolder(io.env);
    const remove = (): void => rmSync(folder, { recursive: true, force: true });
    const removed = atEnd(remove);
    try {
      const settings = jobSettings(invocation, join(folder, 'data'));
      const running = await startFor(settings, { deps, io, folder, seconds });
      try {
        return await runCommand([program, ...args], environmentOf(folder, running, io), io);
      } finally {
        await running.close();
      }
    } finally {
      remove();
      removed();
    }
  },
});

/** A folder that only this user can read, in memory if the system offers that (XDG Base Directory Specification). */
function makeFolder(env: Io['env']): string {
  const folder = mkdtempSync(join(env['XDG_RUNTIME_DIR'] ?? tmpdir(), 'chancery-'));
  mkdirSync(join(folder, 'svid'), { mode: 0o700 });
  return folder;
}

interface Starting {
  readonly deps: RunCommandDeps;
  readonly io: Io;
  readonly folder: string;
  readonly seconds: number;
}

/** Leaves out what belongs to `run`, which may run at the same time: its ports, its records, its outputs. */
const joinOnly = ({ gateway: _gateway, http: _http, ...settings }: AgentSettings): AgentSettings => ({
  ...settings,
  connect: [],
});

async function startFor(settings: AgentSettings, { deps, io, folder, seconds }: Starting): Promise<Running> {
  const outputs = [{ dir: join(folder, 'svid'), mode: '0600' }];
  const log = deps.logAt('warn');
  const { runAgent } = await import('../../run.ts');
  return within(seconds, io.signal, (until, givesUp) =>
    runAgent({ ...joinOnly(settings), outputs }, { ...deps, log, env: io.env, givesUp }, until),
  );
}

/** The names are those of files of spiffe-helper and other SPIFFE tools; no standard names such variables. */
function environmentOf(folder: string, { agent }: Running, { env }: Io): NodeJS.ProcessEnv {
  const file = (name: string): string => join(folder, 'svid', name);
  ensure(existsSync(file('svid.pem')), 'file', `the certificate could not be written to ${folder}`);
  return {
    ...env,
    SPIFFE_ID: agent.svid.current().id,
    SPIFFE_SVID_FILE: file('svid.pem'),
    SPIFFE_KEY_FILE: file('key.pem'),
    SPIFFE_BUNDLE_FILE: file('bundle.pem'),
  };
}

/** The statuses of a shell: not found, and found but not executable. */
const NOT_FOUND = 127;
const NOT_RUNNABLE = 126;
const BY_SIGNAL = 128;

/**
 * A signal to this process ends the command by SIGTERM, and this process ends after it: the command may have work to
 * finish. If this process must end at once, so does the command: its files are gone.
 */
function runCommand(
  [program, ...args]: readonly [string, ...string[]],
  env: NodeJS.ProcessEnv,
  { signal, err }: Io,
): Promise<ExitStatus> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { env, stdio: 'inherit' });
    const stop = (): void => void child.kill('SIGTERM');
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const ended = atEnd(() => void child.kill('SIGKILL'));
    child.once('error', (error: NodeJS.ErrnoException) => {
      ended();
      err(`chancery-agent: ${program} cannot be run: ${cannotRun(program, error)}\n`);
      resolve(error.code === 'ENOENT' ? NOT_FOUND : NOT_RUNNABLE);
    });
    child.once('exit', (code, by) => {
      ended();
      signal.removeEventListener('abort', stop);
      resolve(code ?? BY_SIGNAL + (by === null ? 0 : constants.signals[by]));
    });
  });
}
