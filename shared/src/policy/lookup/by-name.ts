/** Finds the lines of rules about a name: by the name itself, and only then by patterns. */
import type { Pattern } from '../patterns/pattern.ts';

interface Patterned {
  readonly kind: string;
  readonly pattern: Pattern;
}

/** Lines in the order that they were given in. */
export class ByName<T extends Patterned> {
  readonly #named = new Map<string, [at: number, line: T][]>();
  readonly #others: [at: number, line: T][] = [];

  constructor(lines: readonly T[]) {
    for (const [at, line] of lines.entries()) {
      const { isLiteral = false, text } = line.pattern;
      const key = keyOf(line.kind, text);
      const beside = isLiteral ? (this.#named.get(key) ?? []) : this.#others;
      beside.push([at, line]);
      if (isLiteral) this.#named.set(key, beside);
    }
  }

  /** Those of the kind whose pattern matches the name. */
  about(kind: string, name: string): readonly T[] {
    const named = this.#named.get(keyOf(kind, name)) ?? [];
    const others = this.#others.filter(([, line]) => line.kind === kind && line.pattern.matches(name));
    const all = named.length === 0 ? others : [...named, ...others].toSorted(([a], [b]) => a - b);
    return all.map(([, line]) => line);
  }
}

const keyOf = (kind: string, name: string): string => `${kind} ${name}`;
