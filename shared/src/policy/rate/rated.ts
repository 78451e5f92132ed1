/** The rates of rules, and which of them are about one thing. */
import type { Kind, What } from '../call.ts';
import type { When } from '../condition/when.ts';
import type { ByName } from '../lookup/by-name.ts';
import type { Pattern } from '../patterns/pattern.ts';
import type { Rate } from './rate.ts';

/** What one line of a rule allows, if its condition holds. */
interface Allowing {
  readonly kind: Kind;
  readonly pattern: Pattern;
  readonly when?: When;
}

/** A rule that has a rate, for one caller at one server. */
export interface RatedRule {
  readonly rule: string;
  readonly calls: Rate | undefined;
  readonly tools: readonly { readonly pattern: Pattern; readonly rate: Rate }[];
  /** What the rule allows. */
  readonly lines: ByName<Allowing>;
}

/** The rates of a rule that allows one thing, if one of the conditions holds. */
export interface RatesOn {
  readonly rule: string;
  readonly calls: Rate | undefined;
  readonly ofTool: Rate | undefined;
  readonly whens: readonly (When | undefined)[];
}

/** Lists and log messages are not counted. */
const COUNTED: ReadonlySet<Kind> = new Set(['tool', 'resource', 'prompt', 'completion']);

/** Of the rules whose own allow covers the thing, in their order. */
export function ratesOn(rated: readonly RatedRule[], { kind, name }: What): readonly RatesOn[] {
  if (!COUNTED.has(kind)) return [];
  return rated.flatMap(({ rule, calls, tools, lines }) => {
    const whens = lines.about(kind, name).map(({ when }) => when);
    const ofTool = kind === 'tool' ? slowest(tools, name) : undefined;
    return whens.length === 0 ? [] : [{ rule, calls, ofTool, whens }];
  });
}

const slowest = (tools: RatedRule['tools'], tool: string): Rate | undefined =>
  tools
    .flatMap(({ pattern, rate }) => (pattern.matches(tool) ? [rate] : []))
    .toSorted((a, b) => a.perSecond - b.perSecond)[0];
