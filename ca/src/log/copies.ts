/**
 * Copies of checkpoints in a folder elsewhere: what they cover cannot be rewritten by somebody who has the CA's machine
 * and not the copies. Each copy is a new file, so that the folder may refuse every change of a file that it has.
 */
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, isRecent } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { LogCheckpoint } from '../store/log-store.ts';

export interface CopiesDeps {
  /** It is not made: a mount that is missing is an error. */
  readonly folder: string;
  readonly everySeconds: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** At most one copy in the given time; the first at once. */
export class Copies {
  readonly #deps: CopiesDeps;
  #copied: { readonly size: number; readonly at: Date } | undefined;
  #failing: string | undefined;

  constructor(deps: CopiesDeps) {
    this.#deps = deps;
  }

  /** Copies the newest checkpoint if it is time. Logs once what fails and does not throw: the next call tries again. */
  async keep({ size, note }: LogCheckpoint): Promise<void> {
    const { folder, everySeconds, clock, log } = this.#deps;
    const now = clock.now();
    if (this.#copied?.size === size) return;
    if (this.#copied !== undefined && isRecent(this.#copied.at, everySeconds, now)) return;
    const path = join(folder, `${size}.checkpoint`);
    try {
      await writeNew(path, note);
      if (this.#failing !== undefined) log.info({ path }, 'checkpoints are copied again');
      this.#copied = { size, at: now };
      this.#failing = undefined;
    } catch (error) {
      const says = error instanceof Error ? error.message : String(error);
      if (says !== this.#failing)
        log.error({ err: error, path }, 'a checkpoint could not be copied; it is tried again');
      this.#failing = says;
    }
  }
}

/** Durable when it resolves; a file that is there already stays as it is. */
async function writeNew(path: string, text: string): Promise<void> {
  try {
    const file = await fs.open(path, 'wx', 0o644);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    // Made before a restart; or torn then, and the next size has a copy of its own.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}
