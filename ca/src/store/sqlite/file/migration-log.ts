/** Says in the log how far a database is on its way to the schema of today. */
import type { Log } from '@chancery/shared/ground/log.ts';
import { openSqliteThread } from '../sqlite.ts';
import type { Migrating, OnMigrating } from './migrating.ts';

const EVERY_MS = 2_000;

/** `told` is called at each step, `ended` when the database is open or refused. A line at once, and one every 2 s. */
export function migrationLog(log: Log): { readonly told: OnMigrating; readonly ended: () => void } {
  let [at, begun]: [Migrating | undefined, number] = [undefined, 0];
  let timer: NodeJS.Timeout | undefined;
  const seconds = (): number => Math.round((performance.now() - begun) / 1000);
  return {
    told: (next) => {
      if (at === undefined) {
        begun = performance.now();
        const says =
          'the database is brought to the schema of this release; what is interrupted begins again';
        log.warn({ from: next.from, to: next.to }, says);
        timer = setInterval(
          () => log.info({ step: at?.step, to: at?.to, seconds: seconds() }, 'the schema is being changed'),
          EVERY_MS,
        );
      }
      at = next;
    },
    ended: () => {
      clearInterval(timer);
      if (at !== undefined)
        log.info({ to: at.to, seconds: seconds() }, 'the changes of the schema have ended');
    },
  };
}

export interface ToldDeps {
  readonly log: Log;
  readonly onMigrating?: OnMigrating;
}

/** Opens as `openSqliteThread`, and says how far it is. */
export const openTold =
  ({ log, onMigrating }: ToldDeps): typeof openSqliteThread =>
  (path, clock, generation) => {
    const { told, ended } = migrationLog(log);
    const tell: OnMigrating = (at) => {
      told(at);
      onMigrating?.(at);
    };
    return openSqliteThread(path, clock, generation, tell).finally(ended);
  };
