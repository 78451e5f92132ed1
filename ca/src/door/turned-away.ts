/**
 * Logs that callers are turned away for lack of places or for their rate: one line at once, and then one per minute
 * with their number. The audit log has none of them: a flood must not fill the disk.
 */
import { type Folded, Folder } from '@chancery/shared/audit/folder.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';

/** What was refused, and to whom. Both are short lists, because they are labels of a metric. */
export interface TurnedAway {
  readonly what: 'connections' | 'calls';
  readonly whose: 'strangers' | 'others' | 'anyone';
}

export interface TurnedAwayOptions {
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
  readonly count: (of: TurnedAway) => void;
}

interface TurnedAwayAt extends TurnedAway {
  readonly id: string;
  readonly detail: string;
}

export interface TurnedAwayLog {
  /** Counts it and logs it; repeats are folded into one line. */
  tell(of: TurnedAway, detail: string): void;
  /** Writes the count of those that are not written yet. */
  close(): void;
}

/** The caller closes it, which writes what is counted and not yet written. */
export function turnedAwayLog({ clock, log, count }: TurnedAwayOptions): TurnedAwayLog {
  const write = ({ what, whose, detail }: TurnedAwayAt, folded: Folded | undefined): void =>
    log.warn({ what, whose, detail, ...folded }, 'callers are turned away: too many, or too fast');
  const folder = new Folder<TurnedAwayAt>({ clock, write, onLost: () => {} });
  return {
    tell: (of, detail) => {
      count(of);
      const id = `${of.what} of ${of.whose}`;
      folder.add({ source: '', kind: id }, { ...of, id, detail });
    },
    close: () => folder.close(),
  };
}
