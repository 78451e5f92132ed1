/** A started server and what it started in turn: one process group. */
import { kill } from 'node:process';
import { refusalOf } from '@chancery/shared/errors.ts';
import type { Log } from '@chancery/shared/log.ts';

/** `leader` is undefined where nothing could be started. */
export function signalGroup(leader: number | undefined, signal: NodeJS.Signals, log: Log): void {
  if (leader === undefined) return;
  try {
    kill(-leader, signal);
  } catch (error) {
    log.debug({ err: refusalOf(error, 'internal', 'kill') }, 'the process group is gone');
  }
}
