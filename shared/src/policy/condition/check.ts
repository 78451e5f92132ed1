/**
 * What is wrong with a condition can be seen in its text: names and fields that do not exist, functions that do not
 * exist, and work that grows faster than the arguments. A policy with such a condition is refused as a whole.
 */
import { ensure, IdentityError } from '../../ground/errors.ts';
import { nearest } from '../../text/nearest.ts';
import { type Expr, engine, environment, planOf, programOf } from './engine.ts';
import { isFixed, partsOf, textOf } from './tree.ts';

/** What a condition may read of a call. */
export const NAMES = ['caller', 'server', 'tool', 'args', 'session', 'now', 'source'] as const;
export type Name = (typeof NAMES)[number];

/** Names that are read by field only. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  caller: ['id', 'certificateAge', 'platform', 'attributes'],
  session: ['id'],
};
/** As in `type(args.n) == string`. */
const TYPES = ['int', 'uint', 'double', 'bool', 'string', 'bytes', 'list', 'map', 'null_type', 'type'];
/** These have no function of their own in the engine. */
const OPERATORS = ['_&&_', '_||_', '_?_:_', '_[_]', '@not_strictly_false'];

const MAX_CHARACTERS = 1_024;
const MAX_NODES = 200;
/** Parser and engine take a part of the stack for each. */
const MAX_BRACKETS = 32;

/** The names that the condition reads. Throws policy with the column (and the line of several) and the reason. */
export function checkCondition(text: string): { readonly expr: Expr; readonly reads: ReadonlySet<Name> } {
  ensure(text.length <= MAX_CHARACTERS, 'policy', `it is longer than ${MAX_CHARACTERS} characters`);
  ensureFlat(text);
  const { expr, sourceInfo } = parsed(text);
  const checker = new Checker((node, says) => {
    throw refused(text, sourceInfo?.positions[node.id.toString()] ?? 0, says);
  });
  checker.check(expr, new Set());
  checker.ensureMayBeBoolean(expr);
  return { expr, reads: checker.reads };
}

/** The expression of a checked text. */
export function parsed(text: string) {
  try {
    const { expr, sourceInfo } = engine().parse(text);
    ensure(expr !== undefined, 'policy', 'the condition is empty');
    return { expr, sourceInfo };
  } catch (error) {
    if (error instanceof IdentityError) throw error;
    const { message, location } = error as Error & {
      readonly location?: { readonly start: { readonly offset: number } };
    };
    // The engine names the place, too.
    const says = message.replace(/^<input>:\d+:\d+: /, '');
    throw refused(text, location?.start.offset ?? 0, `it is not a CEL expression: ${says}`);
  }
}

function ensureFlat(text: string): void {
  let depth = 0;
  for (const [at, sign] of [...text].entries()) {
    if ('([{'.includes(sign)) depth += 1;
    if (')]}'.includes(sign)) depth -= 1;
    if (depth > MAX_BRACKETS) throw refused(text, at, `brackets are nested more than ${MAX_BRACKETS} deep`);
  }
}

function refused(text: string, offset: number, says: string): IdentityError {
  const before = text.slice(0, offset).split('\n');
  const column = `column ${(before.at(-1)?.length ?? 0) + 1}`;
  const where = text.trimEnd().includes('\n') ? `line ${before.length}, ${column}` : column;
  return new IdentityError('policy', `${where}: ${says}`);
}

class Checker {
  readonly reads = new Set<Name>();
  readonly #refuse: (node: Expr, says: string) => never;
  #nodes = 0;
  #inMacro = false;

  constructor(refuse: (node: Expr, says: string) => never) {
    this.#refuse = refuse;
  }

  /** `variables` are those of the macro around the node. */
  check(node: Expr, variables: ReadonlySet<string>): void {
    this.#nodes += 1;
    if (this.#nodes > MAX_NODES) this.#refuse(node, `it has more than ${MAX_NODES} parts`);
    const { case: kind, value } = node.exprKind;
    if (kind === undefined) this.#refuse(node, 'it is not complete');
    if (kind === 'identExpr') this.#name(node, value.name, variables);
    if (kind === 'selectExpr' && this.#isField(node, value, variables)) return;
    if (kind === 'callExpr') this.#call(node, value);
    if (kind === 'structExpr' && value.messageName !== '')
      this.#refuse(node, `${value.messageName}{} is a message of protobuf: there are none`);
    if (kind === 'comprehensionExpr') this.#macro(node, value.iterVar, variables);
    else for (const part of partsOf(node)) this.check(part, variables);
  }

  /** A condition that gives a number or a text could never hold. */
  ensureMayBeBoolean(node: Expr): void {
    const { case: kind, value } = node.exprKind;
    const { BOOL, DYN } = engine().CelScalar;
    const results = kind === 'callExpr' ? [...(environment().funcs.find(value.function) ?? [])] : [];
    const other = results.length > 0 && results.every(({ result }) => result !== BOOL && result !== DYN);
    const literal = kind === 'constExpr' && value.constantKind.case !== 'boolValue';
    if (other || literal || kind === 'listExpr' || kind === 'structExpr')
      this.#refuse(node, 'it gives something else than true or false');
  }

  #name(node: Expr, name: string, variables: ReadonlySet<string>): void {
    if (variables.has(name) || TYPES.includes(name)) return;
    const known = NAMES.find((each) => each === name);
    if (known === undefined) this.#refuse(node, unknownName(name));
    const fields = FIELDS[known];
    if (fields !== undefined) this.#refuse(node, `${known} is read by field: ${fieldsOf(known)}`);
    this.reads.add(known);
  }

  /** True for a field of a name that is read by field only. */
  #isField(
    node: Expr,
    { operand, field, testOnly }: { operand?: Expr | undefined; field: string; testOnly: boolean },
    variables: ReadonlySet<string>,
  ): boolean {
    const name = operand?.exprKind.case === 'identExpr' ? operand.exprKind.value.name : '';
    const known = NAMES.find((each) => each === name);
    const fields = known === undefined || variables.has(name) ? undefined : FIELDS[known];
    if (known === undefined || fields === undefined) return false;
    if (!fields.includes(field))
      this.#refuse(node, `there is no ${known}.${field} in a condition, but ${fieldsOf(known)}`);
    if (testOnly) this.#refuse(node, `${known}.${field} needs no has()`);
    this.reads.add(known);
    return true;
  }

  #call(node: Expr, call: { function: string; target?: Expr | undefined; args: readonly Expr[] }): void {
    const { function: name, target, args } = call;
    const known = OPERATORS.includes(name) || environment().funcs.find(name) !== undefined;
    if (!known) this.#refuse(node, `there is no function ${name}`);
    if (name === 'matches') this.#regex(node, textOf(target === undefined ? args[1] : args[0]));
    if (!isFixed(node)) return;
    const value = planOf({ ...node })({});
    if (engine().isCelError(value)) this.#refuse(node, value.message);
  }

  #regex(node: Expr, pattern: string | undefined): void {
    if (pattern === undefined) this.#refuse(node, 'the regex of matches must be written out');
    try {
      programOf(pattern);
    } catch (error) {
      this.#refuse(node, error instanceof Error ? error.message : String(error));
    }
  }

  #macro(node: Expr, variable: string, variables: ReadonlySet<string>): void {
    if (this.#inMacro)
      this.#refuse(node, 'a macro (all, exists, exists_one, filter, map) is inside or behind another');
    if (NAMES.some((name) => name === variable) || TYPES.includes(variable))
      this.#refuse(node, `${variable} cannot be the variable of a macro`);
    this.#inMacro = true;
    const inside = new Set([...variables, variable, '@result']);
    for (const part of partsOf(node)) this.check(part, inside);
    this.#inMacro = false;
  }
}

const fieldsOf = (name: string): string => (FIELDS[name] ?? []).map((field) => `${name}.${field}`).join(', ');

function unknownName(name: string): string {
  const meant = nearest(name, NAMES);
  if (meant !== undefined) return `there is no ${name} in a condition: ${meant} may be meant`;
  return `there is no ${name} in a condition, but ${NAMES.join(', ')}`;
}
