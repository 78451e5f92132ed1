/** `when` of a rule: a condition in CEL on the call, the same for every call of the same content. */
import type { CelInput, CelResult } from '@bufbuild/cel';
import type { JsonObject } from '../../ground/json.ts';
import type { Attested } from '../../spiffe/attested.ts';
import type { Call } from '../call.ts';
import { Memo } from '../memo.ts';
import { checkCondition, NAMES, type Name, parsed } from './check.ts';
import { engine, planOf, type Variables } from './engine.ts';
import { prepare } from './tree.ts';
import { celOf, isWithinLimits, MAX_CHARACTERS, MAX_VALUES } from './values.ts';

/** A condition on the call. */
export interface When {
  /** As it is written in the rule: conditions with the same text hold for the same calls. */
  readonly text: string;
  readonly reads: ReadonlySet<Name>;
  /** True or false, or a sentence that says why it cannot be decided. Pure. */
  readonly answer: (call: Call) => boolean | string;
}

/** So many different conditions are remembered; what is forgotten is parsed again. */
export const MAX_CONDITIONS = 10_000;
const known = new Memo<string, When>(MAX_CONDITIONS);

/** Throws policy with column and reason. A text is checked once, and planned when it is first asked. */
export function compileWhen(text: string): When {
  return known.get(text, () => {
    const { reads } = checkCondition(text);
    let plan: ((variables: Variables) => CelResult) | undefined;
    const answer = (call: Call): boolean | string => {
      plan ??= plannedBy(text);
      return said(plan(variablesOf(call, reads)));
    };
    return { text, reads, answer };
  });
}

/** What the condition reads that only calls of tools have. */
export const knownForTools = (text: string): Name | undefined =>
  [...compileWhen(text).reads].find((name) => name === 'tool' || name === 'args');

function plannedBy(text: string): (variables: Variables) => CelResult {
  const { expr } = parsed(text);
  const fixed = prepare(expr);
  const plan = planOf(expr);
  return Object.keys(fixed).length === 0 ? plan : (variables) => plan({ ...variables, ...fixed });
}

function said(result: CelResult): boolean | string {
  if (engine().isCelError(result)) return `cannot be decided: ${result.message}`;
  return typeof result === 'boolean' ? result : 'is neither true nor false';
}

/** Without a prototype: the engine looks names up in it. */
function variablesOf(call: Call, reads: ReadonlySet<Name>): Variables {
  const variables: Record<string, CelInput> = Object.create(null);
  for (const name of reads) variables[name] = VALUES[name](call) ?? unknown(`${name} is not known`);
  return variables;
}

/** An error, so that has() cannot take what is unknown for what is not there. One for each sentence: they are slow. */
const unknown = (says: string): CelInput =>
  unknowns.get(says, () => engine().celError(says) as unknown as CelInput);
/** Of a name each, and of arguments that are too large. */
const unknowns = new Memo<string, CelInput>(NAMES.length + 1);

const VALUES: Readonly<Record<Name, (call: Call) => CelInput | undefined>> = {
  caller: ({ caller, certifiedAt, attested, now }) => {
    const fields = new Map<string, CelInput>([['id', caller]]);
    if (certifiedAt !== undefined && now !== undefined)
      fields.set('certificateAge', { $typeName: 'google.protobuf.Duration', ...split(now, certifiedAt) });
    if (attested?.platform !== undefined) fields.set('platform', attested.platform);
    if (attested !== undefined) fields.set('attributes', celOf(byKind(attested)));
    return engine().celMap(fields);
  },
  server: ({ server }) => server,
  tool: ({ what }) => (what.kind === 'tool' ? what.name : undefined),
  args: ({ what, arguments: args }) =>
    what.kind === 'tool' && args !== undefined ? argsOf(args) : undefined,
  session: ({ session }) => (session === undefined ? undefined : engine().celMap(new Map([['id', session]]))),
  now: ({ now }) => now && { $typeName: 'google.protobuf.Timestamp', ...split(now, new Date(0)) },
  source: ({ source }) => source,
};

const read = new WeakMap<JsonObject, CelInput>();

/** Once for a call, however many conditions read it. */
function argsOf(args: JsonObject): CelInput {
  const known = read.get(args);
  if (known !== undefined) return known;
  const value = isWithinLimits(args)
    ? celOf(args)
    : unknown(`args has more than ${MAX_CHARACTERS} characters or ${MAX_VALUES} values`);
  read.set(args, value);
  return value;
}

const nested = new WeakMap<Attested, JsonObject>();

/** `aws.account` is read as `caller.attributes.aws.account`. */
function byKind(attested: Attested): JsonObject {
  const known = nested.get(attested);
  if (known !== undefined) return known;
  const kinds: Record<string, Record<string, string>> = Object.create(null);
  for (const [full, value] of attested.attributes) {
    const [kind = '', name = ''] = full.split('.');
    const own = kinds[kind] ?? Object.create(null);
    own[name] = value;
    kinds[kind] = own;
  }
  nested.set(attested, kinds);
  return kinds;
}

/** The time from one to the other. */
function split(to: Date, from: Date): { readonly seconds: bigint; readonly nanos: number } {
  const ms = to.getTime() - from.getTime();
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: (ms - seconds * 1000) * 1_000_000 };
}
