/** The CEL engine: its standard functions, with the work of each counted. */
import { createRequire } from 'node:module';
import type { CelFunc, CelInput, CelResult, CelValue } from '@bufbuild/cel';
import type { RE2JS } from '@bufbuild/re2';
import { Memo } from '../memo.ts';
import { spend, withinSteps } from './work.ts';

type Cel = typeof import('@bufbuild/cel');
type Parsed = ReturnType<Cel['parse']>;
/** A node of a parsed expression (cel.expr.Expr of the CEL specification). */
export type Expr = NonNullable<Parsed['expr']>;
export type Variables = Readonly<Record<string, CelInput>>;

let loaded: Cel | undefined;

/** Loaded at the first condition: it takes 31 MB, and most agents are never sent one. */
export function engine(): Cel {
  loaded ??= createRequire(import.meta.url)('@bufbuild/cel') as Cel;
  return loaded;
}

let made: ReturnType<Cel['celEnv']> | undefined;

/** The functions that expressions may use. */
export function environment(): ReturnType<Cel['celEnv']> {
  made ??= engine().celEnv({ funcs: [...[...engine().celEnv().funcs].map(counted), ...ours()] });
  return made;
}

/** A function of an expression's variables. It throws nothing: an error is a result. */
export function planOf(expr: Expr): (variables: Variables) => CelResult {
  const evaluate = engine().plan(environment(), expr);
  return (variables) => withinSteps(() => evaluate(variables));
}

function counted(func: CelFunc): CelFunc {
  const call: CelFunc['call'] = (id, target, args) => {
    const result = func.call(id, target, args);
    // Undefined: these are not arguments of this overload.
    if (result !== undefined) for (const each of [target, ...args]) spend(1 + weightOf(each));
    return result;
  };
  return Object.assign(Object.create(func), { call });
}

const CHARACTERS = 16;
const ITEMS = 4;

function weightOf(value: CelValue | undefined): number {
  if (typeof value === 'string' || value instanceof Uint8Array) return value.length / CHARACTERS;
  return engine().isCelList(value) ? value.size / ITEMS : 0;
}

/** Those of the standard whose work is not bounded by the length of their arguments, and one that is wrong. */
function ours(): readonly CelFunc[] {
  const { celFunc, celMethod, CelScalar, mapType } = engine();
  const { BOOL, DYN, STRING } = CelScalar;
  return [
    celMethod('contains', STRING, [STRING], BOOL, function (part) {
      spend(1 + (this.length * (1 + part.length / CHARACTERS)) / CHARACTERS);
      return this.includes(part);
    }),
    celMethod('matches', STRING, [STRING], BOOL, function (pattern) {
      const program = programOf(pattern);
      spend(1 + (this.length * program.re2().prog.numInst()) / STEPS_OF_PROGRAM);
      return program.test(this);
    }),
    // The engine's own says that a key with the value null is not there.
    celFunc('@in', [STRING, mapType(DYN, DYN)], BOOL, (key, map) => map.get(key) !== undefined),
  ];
}

const STEPS_OF_PROGRAM = 64;
/** RE2's work per character is bounded by the program's size; `(x{1000}){1000}` is refused by RE2 itself. */
const MAX_INSTRUCTIONS = 1_000;
const programs = new Memo<string, RE2JS>(1_000);

/** Throws an Error with the reason. */
export function programOf(pattern: string): RE2JS {
  return programs.get(pattern, () => {
    const compiled = re2().compile(pattern);
    const size = compiled.re2().prog.numInst();
    if (size > MAX_INSTRUCTIONS)
      throw new Error(`the regex compiles to ${size} steps, at most ${MAX_INSTRUCTIONS}`);
    return compiled;
  });
}

function re2(): typeof RE2JS {
  return (createRequire(import.meta.url)('@bufbuild/re2') as typeof import('@bufbuild/re2')).RE2JS;
}
