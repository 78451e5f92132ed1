/**
 * The command of an output: a process group of its own. The group ends when the command exits, when its time is over,
 * or when the agent closes, so that nothing of it stays behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { kill } from 'node:process';
import { atEnd } from '@chancery/shared/cli/process-io.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { cannotRun } from '@chancery/shared/text/system-sentence.ts';

export interface HookBounds {
  /** How long it may run. */
  readonly runMs: number;
  /** How long its group has between SIGTERM and SIGKILL. */
  readonly graceMs: number;
}

/** How much of the end of standard error is kept: the reason is usually there. */
const SAID_CHARACTERS = 1_000;
/** How long output from before the exit is read. A process that left the group may hold standard error open. */
const LAST_WORDS_MS = 500;

/** Runs the command to its end, and ends it when `closing` aborts. Throws unavailable unless its status is 0. */
export async function runHook(
  [program, ...args]: readonly [string, ...string[]],
  { runMs, graceMs }: HookBounds,
  closing: AbortSignal,
): Promise<void> {
  if (closing.aborted) throw new IdentityError('unavailable', `${program} was not run: the agent is ending`);
  const child = spawn(program, args, { detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
  let why: string | undefined;
  let hard: NodeJS.Timeout | undefined;
  const end = (reason: string): void => {
    why ??= reason;
    killGroup(child, 'SIGTERM');
    hard ??= setTimeout(() => killGroup(child, 'SIGKILL'), graceMs);
  };
  const late = setTimeout(() => end(`did not end within ${runMs / 1_000} s`), runMs);
  const close = (): void => end('was ended with the agent');
  closing.addEventListener('abort', close, { once: true });
  const kept = atEnd(() => killGroup(child, 'SIGKILL'));
  try {
    const { status, said } = await ended(child);
    if (why === undefined && status === 0) return;
    const says = said === '' ? '' : `: ${said}`;
    throw new IdentityError('unavailable', `${program} ${why ?? `ended with ${status}`}${says}`);
  } finally {
    kept();
    clearTimeout(late);
    clearTimeout(hard);
    closing.removeEventListener('abort', close);
  }
}

interface Ended {
  readonly status: number | NodeJS.Signals;
  readonly said: string;
}

function ended(child: ChildProcess): Promise<Ended> {
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(-SAID_CHARACTERS);
  });
  return new Promise((resolve, reject) => {
    child.once('error', (error) =>
      reject(
        new IdentityError('unavailable', `${child.spawnfile}: ${cannotRun(child.spawnfile, error)}`, {
          cause: error,
        }),
      ),
    );
    child.once('exit', (code, signal) => {
      // Ends the processes that it started and left behind in its group.
      killGroup(child, 'SIGKILL');
      const last = setTimeout(() => child.stderr?.destroy(), LAST_WORDS_MS);
      child.once('close', () => {
        clearTimeout(last);
        resolve({ status: code ?? signal ?? 'SIGKILL', said: said.trim() });
      });
    });
  });
}

function killGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    kill(-pid, signal);
  } catch {
    // Nothing of the group is left.
  }
}
