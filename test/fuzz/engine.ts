/**
 * Looks for inputs on which a parser breaks a law: it throws nothing but a typed refusal, what it accepts is written
 * back byte for byte, and 64 KiB take no longer than 100 ms. Seeded, so that every run can be repeated.
 *
 * What guides it is free here: every check has a sentence of its own, so an input that is refused with a new sentence
 * has come further than the ones before, and is kept to be mutated itself.
 */
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { type Random, seeded } from '../kit/random.ts';
import { minimise } from './minimise.ts';
import { mutate, type Shape } from './mutate/mutate.ts';

export interface Target {
  readonly name: string;
  readonly says: string;
  /** What inputs look like, so that mutations get past the outermost check. */
  readonly shape: Shape;
  /** How far an input may grow: 64 KiB, or what the parser reads. */
  readonly maxBytes?: number;
  open(): Subject | Promise<Subject>;
}

export interface Subject {
  /** At least one of them is accepted. */
  readonly seeds: readonly Uint8Array[];
  /** Returns what the writer makes of what was read, where there is one; throws what the parser throws. */
  run(input: Uint8Array): Written | Promise<Written>;
  close?(): Promise<void> | void;
}

type Written = Uint8Array | undefined;
export type Law = 'refusals' | 'rewrite' | 'time';

export interface Finding {
  readonly law: Law;
  readonly says: string;
  /** The smallest that breaks the law in the same way. */
  readonly input: Uint8Array;
  /** Which execution found it. */
  readonly at: number;
}

export interface Outcome {
  readonly executions: number;
  readonly accepted: number;
  /** Of the genuine inputs. */
  readonly seedsAccepted: number;
  /** Different things that the parser said. */
  readonly sentences: number;
  readonly seconds: number;
  readonly findings: readonly Finding[];
}

export interface Budget {
  readonly seed: number;
  readonly executions?: number;
  readonly seconds?: number;
  /** End at the first finding. */
  readonly once?: boolean;
  readonly tell?: (executions: number, findings: number) => void;
  /** False keeps the genuine inputs only, to measure what keeping others is worth. */
  readonly guided?: boolean;
}

const DEFAULT_MAX_BYTES = 64 * 1024;
const SLOW_MS = 100;
/** Refused ones, and accepted ones beside the genuine. */
const MAX_KEPT = 2_000;
const MAX_ACCEPTED = 200;
/** Details that quote the input would else be new for ever. */
const MAX_SENTENCES_A_CODE = 100;
const MAX_FINDINGS = 10;

/** What a target's own checks throw where a law of it does not hold. */
export class LawBroken extends Error {
  override readonly name = 'LawBroken';
}

export function law(holds: boolean, says: string): asserts holds {
  if (!holds) throw new LawBroken(says);
}

export async function fuzz(target: Target, budget: Budget): Promise<Outcome> {
  const subject = await target.open();
  try {
    return await new Run(target, subject, budget).all();
  } finally {
    await subject.close?.();
  }
}

class Run {
  readonly #target: Target;
  readonly #subject: Subject;
  readonly #budget: Budget;
  readonly #random: Random;
  /** Genuine ones and what is accepted of their kind: what the law of writing back is about. */
  readonly #good: Uint8Array[];
  /** Refused, each for a reason of its own. */
  readonly #refused: Uint8Array[] = [];
  readonly #maxKeptBytes: number;
  /** By code, then by sentence: where in `#refused` its input is, if it is kept. */
  readonly #sentences = new Map<string, Map<string, number | undefined>>();
  readonly #findings = new Map<string, Finding>();
  readonly #start = performance.now();
  #executions = 0;
  #accepted = 0;

  constructor(target: Target, subject: Subject, budget: Budget) {
    this.#target = target;
    this.#subject = subject;
    this.#budget = budget;
    this.#random = seeded(budget.seed);
    this.#good = [...subject.seeds];
    this.#maxKeptBytes = 512 + 2 * Math.max(...subject.seeds.map(({ length }) => length));
  }

  async all(): Promise<Outcome> {
    const { once = false, tell } = this.#budget;
    for (const seed of this.#subject.seeds) await this.#try(seed);
    const seedsAccepted = this.#accepted;
    while (this.#goesOn()) {
      if (once && this.#findings.size > 0) break;
      await this.#try(this.#next());
      if (this.#executions % 1024 !== 0) continue;
      tell?.(this.#executions, this.#findings.size);
      // Timers and sockets of the subject, and Ctrl-C.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return {
      executions: this.#executions,
      accepted: this.#accepted,
      seedsAccepted,
      sentences: [...this.#sentences.values()].reduce((sum, { size }) => sum + size, 0),
      seconds: this.#seconds(),
      findings: [...this.#findings.values()],
    };
  }

  #goesOn(): boolean {
    const { executions, seconds } = this.#budget;
    if (this.#findings.size >= MAX_FINDINGS) return false;
    if (executions !== undefined && this.#executions >= executions) return false;
    return seconds === undefined || this.#seconds() < seconds;
  }

  #seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  #next(): Uint8Array {
    const { shape, maxBytes = DEFAULT_MAX_BYTES } = this.#target;
    return mutate(this.#pick(), this.#pick(), { shape, maxBytes, random: this.#random });
  }

  #pick(): Uint8Array {
    const from = this.#refused.length === 0 || this.#random.int(2) === 0 ? this.#good : this.#refused;
    // The newest are the furthest.
    const newest = this.#random.int(3) === 0 ? Math.max(0, from.length - 8) : 0;
    return from[newest + this.#random.int(from.length - newest)] ?? new Uint8Array();
  }

  async #try(input: Uint8Array): Promise<void> {
    this.#executions += 1;
    const verdict = await judge(this.#subject, input);
    if (verdict.broken !== undefined) await this.#record(verdict.broken, input);
    else if (verdict.says === undefined) this.#accept(input);
    else this.#refuse(verdict.says, input);
  }

  #accept(input: Uint8Array): void {
    this.#accepted += 1;
    const { seeds } = this.#subject;
    if (!this.#mayKeep(input) || this.#accepted <= seeds.length) return;
    const at = seeds.length + (this.#accepted % MAX_ACCEPTED);
    this.#good[Math.min(at, this.#good.length)] = input;
  }

  #mayKeep({ length }: Uint8Array): boolean {
    return this.#budget.guided !== false && length <= this.#maxKeptBytes;
  }

  /** One input a sentence, not always the same: the first may be a dead end, cut short before the next check. */
  #refuse(says: string, input: Uint8Array): void {
    const code = says.split(':', 1)[0] ?? '';
    const known = this.#sentences.get(code) ?? new Map<string, number | undefined>();
    this.#sentences.set(code, known);
    if (!known.has(says) && known.size >= MAX_SENTENCES_A_CODE) return;
    const at = known.get(says);
    if (at !== undefined && this.#random.int(8) > 0) return;
    const kept = this.#mayKeep(input) && this.#refused.length < MAX_KEPT;
    known.set(says, kept ? (at ?? this.#refused.length) : at);
    if (kept) this.#refused[at ?? this.#refused.length] = input;
  }

  async #record({ law: broken, says, key }: Broken, input: Uint8Array): Promise<void> {
    if (this.#findings.has(key)) return;
    const at = this.#executions;
    const same = async (smaller: Uint8Array): Promise<boolean> =>
      (await judge(this.#subject, smaller)).broken?.key === key;
    this.#findings.set(key, { law: broken, says, at, input: await minimise(input, same) });
  }
}

export interface Verdict {
  /** The refusal, without what it quotes of the input; undefined for what is accepted. */
  readonly says?: string | undefined;
  readonly broken?: Broken | undefined;
}

interface Broken {
  readonly law: Law;
  readonly says: string;
  /** Two breaches of one key are one. */
  readonly key: string;
}

export async function judge(subject: Subject, input: Uint8Array): Promise<Verdict> {
  const start = performance.now();
  const verdict = await outcomeOf(subject, input);
  const ms = performance.now() - start;
  if (verdict.broken !== undefined || ms < SLOW_MS || !(await isSlow(subject, input))) return verdict;
  const says = `${Math.round(ms)} ms for ${input.length} bytes, at most ${SLOW_MS} ms`;
  return { broken: { law: 'time', says, key: 'time' } };
}

async function outcomeOf({ run }: Subject, input: Uint8Array): Promise<Verdict> {
  try {
    const written = await run(Uint8Array.from(input));
    if (written === undefined || Buffer.compare(written, input) === 0) return {};
    const says = `written back as ${written.length} other bytes: ${printed(written)}`;
    return { broken: { law: 'rewrite', says, key: 'rewrite' } };
  } catch (error) {
    if (isRefusal(error)) return { says: sentenceOf(`${error.code}: ${error.message}`) };
    if (error instanceof LawBroken)
      return { broken: { law: 'rewrite', says: error.message, key: sentenceOf(error.message) } };
    const says = error instanceof Error ? (error.stack ?? error.message) : `threw ${String(error)}`;
    const [first = '', second = ''] = says.split('\n');
    return { broken: { law: 'refusals', says, key: sentenceOf(`${first} ${second}`) } };
  }
}

/** In time of this process, not of others: the best of three, unless there is no doubt. */
async function isSlow(subject: Subject, input: Uint8Array): Promise<boolean> {
  for (let round = 0; round < 3; round += 1) {
    const before = process.cpuUsage();
    await outcomeOf(subject, input);
    const { user, system } = process.cpuUsage(before);
    const ms = (user + system) / 1000;
    if (ms < SLOW_MS) return false;
    if (ms > 10 * SLOW_MS) return true;
  }
  return true;
}

/** Without numbers and quotations. */
const sentenceOf = (text: string): string =>
  text
    .slice(0, 300)
    .replace(/"[^"]*"?/g, '""')
    .replace(/[0-9a-f]*[0-9][0-9a-f]*/gi, '0')
    .slice(0, 120);

const printed = (bytes: Uint8Array): string =>
  JSON.stringify(Buffer.from(bytes).toString('latin1')).slice(0, 200);
