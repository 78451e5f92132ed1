/** Walks and rewrites parsed CEL (cel.expr.Expr of the CEL specification). */
import { type Expr, engine, planOf, type Variables } from './engine.ts';

/** The direct parts of a node, in the order of the text. Of a macro, which the parser expands, also what it makes. */
export function partsOf({ exprKind: { case: kind, value } }: Expr): readonly Expr[] {
  if (kind === 'selectExpr') return present(value.operand);
  if (kind === 'callExpr') return present(value.target, ...value.args);
  if (kind === 'listExpr') return value.elements;
  if (kind === 'structExpr')
    return value.entries.flatMap(({ keyKind, value: item }) =>
      present(keyKind.case === 'mapKey' ? keyKind.value : undefined, item),
    );
  if (kind !== 'comprehensionExpr') return [];
  return present(value.iterRange, value.accuInit, value.loopCondition, value.loopStep, value.result);
}

const present = (...parts: readonly (Expr | undefined)[]): readonly Expr[] =>
  parts.filter((part) => part !== undefined);

/** The string of a literal; undefined for anything else. */
export function textOf(expr: Expr | undefined): string | undefined {
  if (expr?.exprKind.case !== 'constExpr') return undefined;
  const { constantKind } = expr.exprKind.value;
  return constantKind.case === 'stringValue' ? constantKind.value : undefined;
}

/** `timestamp('...')` and `duration('...')`, which mean the same each time. */
export function isFixed({ exprKind: { case: kind, value } }: Expr): boolean {
  if (kind !== 'callExpr' || value.target !== undefined || value.args.length !== 1) return false;
  return ['timestamp', 'duration'].includes(value.function) && textOf(value.args[0]) !== undefined;
}

/**
 * Evaluates the fixed parts once: they become variables, which are returned. And it writes `has(a.b)` as `'b' in a`,
 * since the engine says of a field that is null that it is not there. Changes `expr`.
 */
export function prepare(expr: Expr): Variables {
  const fixed: Record<string, Variables[string]> = {};
  const visit = (node: Expr): void => {
    for (const part of partsOf(node)) visit(part);
    if (isFixed(node)) {
      const name = `@${Object.keys(fixed).length}`;
      const value = planOf({ ...node })({});
      if (engine().isCelError(value)) return;
      fixed[name] = value;
      node.exprKind = { case: 'identExpr', value: { $typeName: 'cel.expr.Expr.Ident', name } };
    }
    const { case: kind, value } = node.exprKind;
    if (kind === 'selectExpr' && value.testOnly && value.operand !== undefined)
      node.exprKind = callOf('@in', [constantOf(value.field, node), value.operand]);
  };
  visit(expr);
  return fixed;
}

const callOf = (name: string, args: Expr[]): Expr['exprKind'] => ({
  case: 'callExpr',
  value: { $typeName: 'cel.expr.Expr.Call', function: name, args },
});

const constantOf = (text: string, { id }: Expr): Expr => ({
  $typeName: 'cel.expr.Expr',
  id,
  exprKind: {
    case: 'constExpr',
    value: { $typeName: 'cel.expr.Constant', constantKind: { case: 'stringValue', value: text } },
  },
});
