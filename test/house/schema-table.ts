/** A zod schema as a table of keys: what an operator may write, what it means, and what happens without it. */
import { z } from 'zod';

/** The part of JSON Schema (2020-12) that our schemas use. */
export interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

/** As a file is written: before defaults and transforms. */
export const schemaOf = (schema: z.ZodType): Schema =>
  z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Schema;

export function keyTable(schema: Schema): string {
  const rows = keysOf(schema, '').map(({ key, type, fallback, meaning }) =>
    [`\`${key}\``, type, fallback, meaning].map((cell) => cell.replaceAll('|', '\\|')).join(' | '),
  );
  return ['| key | type | default | meaning |', '|---|---|---|---|', ...rows.map((row) => `| ${row} |`)].join(
    '\n',
  );
}

interface Row {
  readonly key: string;
  readonly type: string;
  readonly fallback: string;
  readonly meaning: string;
}

function keysOf(schema: Schema, prefix: string): readonly Row[] {
  const forms = schema.anyOf ?? [];
  if (forms.length > 0)
    return forms.flatMap((form) =>
      keysOf(form, prefix).map((row) =>
        row.fallback === 'required' ? { ...row, fallback: 'one form' } : row,
      ),
    );
  return Object.entries(schema.properties ?? {}).flatMap(([name, value]) => {
    const key = `${prefix}${name}`;
    const row = {
      key,
      type: typeOf(value),
      fallback: fallbackOf(schema, name, value),
      meaning: meaningOf(key, value),
    };
    return [row, ...inside(value, key)];
  });
}

function inside(value: Schema, key: string): readonly Row[] {
  if (value.items !== undefined) return keysOf(value.items, `${key}[].`);
  const { additionalProperties: each } = value;
  if (typeof each === 'object') return keysOf(each, `${key}.NAME.`);
  return keysOf(value, `${key}.`);
}

function typeOf(schema: Schema): string {
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${value}\``).join(', ');
  if (schema.anyOf !== undefined) return 'one of its forms';
  if (schema.type === 'array')
    return `list of ${schema.items === undefined ? 'values' : plural(schema.items)}`;
  if (schema.type === 'integer') return `whole number${rangeOf(schema)}`;
  if (schema.type !== 'object') return schema.type ?? 'value';
  const { additionalProperties: each } = schema;
  return typeof each === 'object' ? `map to ${plural(each)}` : 'keys';
}

function plural(schema: Schema): string {
  if (schema.type === 'object') return 'keys';
  return schema.type === 'array' ? `lists of ${plural(schema.items ?? {})}` : `${typeOf(schema)}s`;
}

function rangeOf({ minimum, maximum }: Schema): string {
  if (minimum === undefined) return '';
  return maximum === undefined || maximum === Number.MAX_SAFE_INTEGER
    ? `, at least ${minimum}`
    : `, ${minimum} to ${maximum}`;
}

function fallbackOf({ required }: Schema, name: string, value: Schema): string {
  if (required?.includes(name)) return 'required';
  const { default: fallback } = value;
  // The keys below have defaults of their own.
  if (fallback === undefined || ((value.properties ?? value.anyOf) !== undefined && isEmpty(fallback)))
    return '';
  if (isEmpty(fallback)) return 'none';
  return `\`${typeof fallback === 'string' ? fallback : JSON.stringify(fallback)}\``;
}

const isEmpty = (value: unknown): boolean => JSON.stringify(value) === '{}' || JSON.stringify(value) === '[]';

/** A key without a sentence would be a row that explains nothing. */
function meaningOf(key: string, { description }: Schema): string {
  if (description === undefined && !['kind', 'tools'].includes(key))
    throw new Error(`${key} has no describe()`);
  return description ?? '';
}
