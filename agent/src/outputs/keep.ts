/** Keeps the outputs in step with the SVID and the bundle, one change after the other. */
import type { Clock } from '@chancery/shared/clock.ts';
import type { Log } from '@chancery/shared/log.ts';
import type { Source } from '@chancery/shared/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { OutputSettings } from '../config.ts';
import { type Holding, notifyReader, writeOutput } from './files.ts';

export interface KeepOutputsOptions {
  readonly outputs: readonly OutputSettings[];
  readonly svid: Source<Holding>;
  readonly bundle: Source<Bundle>;
  readonly kill: typeof process.kill;
  readonly clock: Clock;
  readonly log: Log;
}

/** Writes at once and after every change. A failure is logged and leaves the last good files. */
export function keepOutputs({ outputs, svid, bundle, kill, clock, log }: KeepOutputsOptions): {
  close(): Promise<void>;
} {
  let last: Promise<void> = Promise.resolve();
  const writeAll = async (): Promise<void> => {
    for (const output of outputs)
      try {
        writeOutput(output, svid.current(), bundle.current(), clock.now());
        await notifyReader(output, kill);
      } catch (error) {
        log.error({ err: error, dir: output.dir }, 'an output is not up to date');
      }
  };
  const write = (): void => {
    last = last.then(writeAll);
  };
  const stops = [svid.onChange(write), bundle.onChange(write)];
  write();
  return {
    close: async () => {
      for (const stop of stops) stop();
      await last;
    },
  };
}
