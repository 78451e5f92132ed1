/** How fast a caller may use what a rule allows it. */
import { ensure } from '../../ground/errors.ts';
import type { SpiffeId } from '../../spiffe/id.ts';

/** A bucket that holds `burst`, and gets `perSecond`. In any time t no more than burst + perSecond * t pass. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
  /** As it is written in the rule. */
  readonly text: string;
}

const SECONDS = { s: 1, m: 60, h: 3600 } as const;
const FORM = /^([1-9][0-9]{0,5})\/([smh])$/;

/** A part of the number at once, so that several calls in parallel pass. */
const BURST_PART = 10;

/** Of `60/m`, `5/s` or `100/h`. Throws policy. */
export function compileRate(text: string, burst?: number): Rate {
  const [, count, unit] = FORM.exec(text) ?? [];
  ensure(count !== undefined, 'policy', `${text}: a rate is a number in a time, as 60/m, 5/s or 100/h`);
  const perSecond = Number(count) / SECONDS[unit as keyof typeof SECONDS];
  return { perSecond, burst: burst ?? Math.ceil(Number(count) / BURST_PART), text };
}

/** One use that counts against one rate. */
export interface Demand {
  readonly server: string;
  /** The Access resource's name. */
  readonly rule: string;
  readonly caller: SpiffeId;
  /** Set where the rate is of each tool for itself. */
  readonly tool: string | undefined;
  readonly rate: Rate;
}
