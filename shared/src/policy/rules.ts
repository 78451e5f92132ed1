/** What the rules of one policy say of one caller at one server. */
import { ASK_KINDS, type Call, type Kind, type What } from './call.ts';
import { Answers } from './condition/answers.ts';
import type { When } from './condition/when.ts';
import type { Decision } from './decision.ts';
import { ByName } from './lookup/by-name.ts';
import { Memo } from './memo.ts';
import type { Pattern } from './patterns/pattern.ts';
import { type RatedRule, type RatesOn, ratesOn } from './rate/rated.ts';

/** One pattern of one rule, over names of one kind. */
export interface Line {
  readonly rule: string;
  readonly kind: Kind;
  readonly pattern: Pattern;
  /** How it is named in decisions, instead of the pattern. */
  readonly says?: string;
  /** The rule's condition. A line without one holds for each name that the pattern matches. */
  readonly when?: When;
}

/** Decides by the lines that match the name. Pure. */
export type DecideBy = (lines: Lines, call: Call, answers: Answers) => Decision;

/** In the order of the rules' names. */
export interface Lines {
  readonly allow: readonly Line[];
  /** These allow a call once somebody approves it. */
  readonly ask: readonly Line[];
  readonly deny: readonly Line[];
}

/** What stands beside the lines. */
interface Beside {
  /** Until when the server lets pass what these rules deny. */
  readonly observe?: string | undefined;
  readonly rates?: readonly RatedRule[];
}

interface Known {
  readonly lines: Lines;
  readonly isConditional: boolean;
  readonly rates: readonly RatesOn[];
  /** Where no line has a condition: the last answer, and what it was made by. */
  decided?: { readonly by: DecideBy; readonly decision: Decision };
}

/** What is only good for something with another rule: it is no reason to come in. */
const BESIDES: ReadonlySet<Kind> = new Set(['subscription', 'task', 'logging', ...ASK_KINDS]);

/** So many names are remembered for one caller at one server; what is forgotten is computed again. */
const NAMES = 512;

/** The rules of one policy for one caller at one server. It remembers its answers. */
export class Rules {
  readonly #lines: Lines;
  readonly #observe: string | undefined;
  /** The first rule that may allow anything that a caller can come for. */
  readonly entrance: string | undefined;
  /** The rules that have a rate. */
  readonly rates: readonly RatedRule[];
  readonly #lookup: { readonly [Answer in keyof Lines]: ByName<Line> };
  readonly #byName = new Memo<string, Known>(NAMES);
  readonly #byKind = new Map<Kind, Lines>();

  constructor(lines: Lines, { observe, rates = [] }: Beside = {}) {
    this.#lines = lines;
    this.#observe = observe;
    this.rates = rates;
    const { allow, ask, deny } = lines;
    const opens = ({ kind }: Line): boolean => !BESIDES.has(kind);
    this.entrance = (allow.find(opens) ?? ask.find(opens))?.rule;
    this.#lookup = { allow: new ByName(allow), ask: new ByName(ask), deny: new ByName(deny) };
  }

  /** All lines of a kind. */
  of(kind: Kind): Lines {
    const known = this.#byKind.get(kind);
    if (known !== undefined) return known;
    const { allow, ask, deny } = this.#lines;
    const ofKind = (lines: readonly Line[]) => lines.filter((line) => line.kind === kind);
    const lines = { allow: ofKind(allow), ask: ofKind(ask), deny: ofKind(deny) };
    this.#byKind.set(kind, lines);
    return lines;
  }

  /** The first rule that may allow anything of a kind. */
  entranceOf(kind: Kind): string | undefined {
    const { allow, ask } = this.of(kind);
    return (allow[0] ?? ask[0])?.rule;
  }

  /** The lines of the kind whose pattern matches the name. */
  about(what: What): Lines {
    return this.#known(what).lines;
  }

  /** The rates of the rules that allow the thing. */
  ratesOn(what: What): readonly RatesOn[] {
    return this.#known(what).rates;
  }

  /**
   * What `decideBy` makes of the lines about the name, for a call of the caller and server of these rules. Where no
   * line has a condition, it gets the names only, and its answer is remembered: pass the same function each time.
   */
  decide(call: Call, decideBy: DecideBy, answers = new Answers()): Decision {
    const { caller, scope, server, what } = call;
    const known = this.#known(what);
    if (known.isConditional) return decideBy(known.lines, call, answers);
    if (known.decided?.by !== decideBy)
      known.decided = {
        by: decideBy,
        decision: decideBy(known.lines, { caller, scope, server, what }, answers),
      };
    return known.decided.decision;
  }

  #known({ kind, name }: What): Known {
    return this.#byName.get(`${kind} ${name}`, () => {
      const { allow, ask, deny } = this.#lookup;
      const about = (lines: ByName<Line>) => lines.about(kind, name);
      const lines = { allow: about(allow), ask: about(ask), deny: about(deny) };
      const isConditional = Object.values(lines).some((each) => each.some(({ when }) => when !== undefined));
      return { lines, isConditional, rates: ratesOn(this.rates, { kind, name }) };
    });
  }

  /** Equal for two sets of rules by which a caller sees the same list of this kind, whatever the server has. */
  listing(kind: Kind): string {
    const { allow, ask, deny } = this.of(kind);
    const textsOf = ({ pattern: { text, by = '' }, when }: Line) =>
      when ? [text, by, when.text] : [text, by];
    return JSON.stringify([[allow, ask, deny].map((lines) => lines.map(textsOf)), this.#observe]);
  }
}
