/** Notifies the program that reads an output, by a signal to its process or by a command. */
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import { ensureLinks, ensureOwner, type Owners } from '@chancery/shared/unix/files/links.ts';
import { inFile, readWholeFile } from '@chancery/shared/unix/files/whole-file.ts';
import type { HeldProcess, SignalProcess } from '@chancery/shared/unix/pidfd.ts';
import type { OutputSettings } from '../config/schema.ts';
import { type HookBounds, runHook } from './hook.ts';

const COMMAND: HookBounds = { runMs: 30_000, graceMs: 2_000 };
/** The first process of the system or the container: no pid file may name it. */
const INIT = 1;
/** Enough for a pid and white space around it. */
const PID_FILE_BYTES = 32;
const OTHERS_WRITE = 0o002;

export interface NotifyDeps {
  readonly signalProcess: SignalProcess;
  readonly ownPid: number;
  readonly ownUid: number;
  /** Of the command. */
  readonly bounds?: HookBounds;
}

/** `closing` ends a running command. Throws unavailable, file with the reason; the files stay. */
export async function notifyReader(
  output: OutputSettings,
  deps: NotifyDeps,
  closing: AbortSignal,
): Promise<void> {
  const { command, signal } = output;
  try {
    if (signal !== undefined) {
      const pid = pidIn(signal.pidFile, output, deps);
      deps.signalProcess(pid, signal.name, (found) => ensureReader(found, output, deps));
    }
    const [program, ...args] = command ?? [];
    if (program !== undefined) await runHook([program, ...args], deps.bounds ?? COMMAND, closing);
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    throw refusalOf(error, 'unavailable', `the reader of an output could not be told: ${says}`);
  }
}

/**
 * Throws file. The writer of the pid file must not be able to choose any process to signal, nor to keep this reading.
 */
function pidIn(file: string, output: OutputSettings, { ownPid, ownUid }: NotifyDeps): number {
  const text = inFile(file, 'file', () => readPidFile(file, writersOf(output, ownUid)));
  const pid = Number(text);
  // 0 and negative numbers name whole process groups.
  if (!/^[1-9]\d{0,9}$/.test(text))
    throw new IdentityError('file', `${file} does not contain a pid; found "${text.slice(0, 20)}"`);
  ensure(pid !== INIT, 'file', `${file} names process 1; set outputs[].command instead`);
  ensure(pid !== ownPid, 'file', `${file} names this agent's own process ${pid}`);
  return pid;
}

function readPidFile(file: string, writers: Owners): string {
  ensureLinks(file, writers);
  const bytes = readWholeFile(file, { maxBytes: PID_FILE_BYTES, code: 'file' }, ({ uid, mode }) => {
    ensureOwner(uid, 'it', writers);
    ensure((mode & OTHERS_WRITE) === 0, 'file', 'others may write it; give its program a umask of 022');
  });
  return bytes.toString('latin1').trim();
}

/** Users that may signal the process anyway. */
function writersOf({ uid = 0 }: OutputSettings, ownUid: number): Owners {
  const says = `root, uid ${ownUid} (the agent) or the owner of the files`;
  return { uids: [0, ownUid, uid], says, code: 'file' };
}

function ensureReader({ pid, uids, name }: HeldProcess, output: OutputSettings, deps: NotifyDeps): void {
  const wanted = output.uid ?? deps.ownUid;
  const file = output.signal?.pidFile ?? '';
  ensure(
    uids.every((uid) => uid === wanted),
    'file',
    `${file} names process ${pid} (${name}) of uid ${uids[1]}; expected uid ${wanted}, the owner of the files`,
  );
  const program = output.signal?.program;
  ensure(
    program === undefined || name === program.slice(0, 15),
    'file',
    `${file} names process ${pid}, which runs ${name}; expected ${program}`,
  );
}
