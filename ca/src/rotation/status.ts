/** What a rotation waits for, and whether its next step may be made: a verdict about what was found, and pure. */
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { AllAuthorities } from '../store/jwt-store.ts';
import type { Stage, Standing } from './stage.ts';

/** A connected agent that has not acknowledged the bundle with the new root. */
export interface Straggler {
  readonly id: SpiffeId;
  readonly platform: string;
  readonly node: string;
  readonly address: string;
  readonly version: string;
  /** Since when it could have: the later of its connection and the publication. */
  readonly since: Date;
}

/** Unexpired certificates of one SPIFFE ID. */
export interface Held {
  readonly id: SpiffeId;
  readonly certificates: number;
  /** When the last of them ends. */
  readonly until: Date;
  /** Of holders without a stream: their last one; not there if this CA process has seen none end. */
  readonly last?: { readonly address: string; readonly endedAt: Date };
}

/** What the store and the streams say. */
export interface Found {
  /** What peers that trust only a CA above refuse: a sentence each. */
  readonly above: readonly string[];
  /** What else an operator should look at: a sentence each. */
  readonly warnings: readonly string[];
  /** Of roots that are offline: a sentence for each signature that the next step needs and that has not come. */
  readonly missing: readonly string[];
  /** Connected agents, without those that are revoked. */
  readonly agents: number;
  /** While a root is published. */
  readonly stragglers: readonly Straggler[];
  /**
   * While a root is published: certificates that came without it, of holders that have no trust stream. They cannot
   * acknowledge; when their certificates end, nothing relies on their bundle.
   */
  readonly unheard: readonly Held[];
  /** While a root retires: certificates that chain to it. */
  readonly chained: readonly Held[];
}

/** What `rotate next` does, or `rotate` where nothing is under way. */
export type NextStep = 'prepare' | 'publish' | 'activate' | 'remove';

export interface RotationStatus extends Standing, Found {
  readonly next: NextStep;
  /** A sentence for each thing that the next step waits for. Empty if it may be made. */
  readonly waits: readonly string[];
  /** The step that was made, of an answer to `next`. */
  readonly made?: NextStep;
  /** A sentence for each that this step did not wait for. */
  readonly leftBehind?: readonly string[];
  /** What the step would do, of an answer to a dry run. */
  readonly would?: string;
}

/** Whom an operator does not wait for. */
export interface Waiver {
  /** SPIFFE IDs. */
  readonly without: readonly string[];
  /** Nobody at all. */
  readonly everybody: boolean;
}

/** How an operator asks for a step. */
export interface StepOrder extends Waiver {
  /** Why the operator does not wait; may be empty. */
  readonly reason: string;
  /** Looks whether the step may be made, and does not make it. */
  readonly dryRun: boolean;
}

/** Called before a step, of what it will begin from; none comes between. What it throws ends the step. */
export type Agree = (all: AllAuthorities) => Promise<void>;

/** By the stage. */
export const NEXT: Readonly<Record<Stage, NextStep>> = {
  idle: 'prepare',
  prepared: 'publish',
  published: 'activate',
  retiring: 'remove',
};

const NOBODY: Waiver = { without: [], everybody: false };

/** The waiver counts for agents and holders only: what a root still carries or signs is not an operator's opinion. */
export function statusOf(standing: Standing, found: Found, waiver: Waiver = NOBODY): RotationStatus {
  const next = NEXT[standing.stage];
  const heard = unheardOf(found, waiver);
  const waits = { prepare: [], publish: [], activate: heard, remove: carriedBy(found) }[next];
  return { ...standing, ...found, next, waits: [...found.missing, ...waits] };
}

function unheardOf(
  { agents, stragglers, unheard }: Found,
  { without, everybody }: Waiver,
): readonly string[] {
  if (everybody) return [];
  const isWaited = ({ id }: { readonly id: SpiffeId }): boolean => !without.includes(id);
  const [behind, silent] = [stragglers.filter(isWaited), unheard.filter(isWaited)];
  return [
    ...(behind.length === 0
      ? []
      : [
          `not acknowledged by ${behind.length} of ${agents} connected agents: the bundle with the new root ` +
            `(${named(behind)})`,
        ]),
    ...sentence(silent, 'of holders without a trust stream, issued before the new root was published'),
  ];
}

/** Whom a step leaves behind: a sentence each. */
export const leftBehindBy = ({
  stragglers,
  unheard,
}: Pick<Found, 'stragglers' | 'unheard'>): readonly string[] => [
  ...stragglers.map(({ id }) => `${id}, which is connected and has not acknowledged it`),
  ...unheard.map(({ id, ...held }) => `${id}, ${totalText(held)}`),
];

const carriedBy = ({ chained }: Found): readonly string[] => sentence(chained, 'under the retiring root');

function sentence(held: readonly Held[], what: string): readonly string[] {
  if (held.length === 0) return [];
  const { certificates, until } = totalOf(held);
  const many = certificates === 1 ? '1 unexpired certificate' : `${certificates} unexpired certificates`;
  return [`${many} ${what}; the last ends at ${until?.toISOString()} (${named(held)})`];
}

const totalText = ({ certificates, until }: Omit<Held, 'id'>): string =>
  `${certificates === 1 ? '1 certificate' : `${certificates} certificates`} until ${until.toISOString()}`;

const MAX_NAMES = 3;

/** Some of the SPIFFE IDs, and how many more there are. */
function named(list: readonly { readonly id: SpiffeId }[]): string {
  const ids = [...new Set(list.map(({ id }) => id))];
  const more = ids.length > MAX_NAMES ? [`${ids.length - MAX_NAMES} more`] : [];
  return [...ids.slice(0, MAX_NAMES), ...more].join(', ');
}

/** Of all together; `until` is undefined if there are none. */
export function totalOf(held: readonly Held[]): { readonly certificates: number; readonly until?: Date } {
  const [first, ...more] = held;
  if (first === undefined) return { certificates: 0 };
  return more.reduce(
    (sum, { certificates, until }) => ({
      certificates: sum.certificates + certificates,
      until: later(until, sum.until),
    }),
    { certificates: first.certificates, until: first.until },
  );
}

/** The later of two instants. */
export const later = (a: Date, b: Date): Date => new Date(Math.max(a.getTime(), b.getTime()));
