/** Finds what is about a caller without a look at what is about others. */
import type { SpiffeId } from '../../spiffe/id.ts';
import { isReserved } from '../../spiffe/reserved.ts';

interface Node<T> {
  /** By the next segment; `*`, which no SPIFFE ID has, stands for any. */
  readonly next: Map<string, Node<T>>;
  readonly here: T[];
  /** Of `**`: for all that is below. */
  readonly below: T[];
}

const node = <T>(): Node<T> => ({ next: new Map(), here: [], below: [] });

/** Values by patterns of SPIFFE IDs, segment by segment. */
export class ByCaller<T> {
  readonly #root = node<T>();

  /** The pattern must compile (`compileSpiffePattern`). */
  add(pattern: string, value: T): void {
    let at = this.#root;
    for (const segment of pattern.split('/')) {
      if (segment === '**') {
        at.below.push(value);
        return;
      }
      const next = at.next.get(segment) ?? node<T>();
      at.next.set(segment, next);
      at = next;
    }
    at.here.push(value);
  }

  /** Each value with a pattern that matches, once, in no order. */
  find(caller: SpiffeId): ReadonlySet<T> {
    const found = new Set<T>();
    if (isReserved(caller)) return found;
    let level: readonly Node<T>[] = [this.#root];
    for (const segment of caller.split('/')) {
      for (const { below } of level) for (const value of below) found.add(value);
      level = level.flatMap(({ next }) => [next.get(segment) ?? [], next.get('*') ?? []].flat());
    }
    for (const { here } of level) for (const value of here) found.add(value);
    return found;
  }
}
