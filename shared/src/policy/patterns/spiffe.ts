/** Patterns over SPIFFE IDs. Segments match whole, so that `/app` can never mean `/app-evil`. */
import { ensure } from '../../ground/errors.ts';
import { parseSpiffeId, type SpiffeId } from '../../spiffe/id.ts';
import { isReserved } from '../../spiffe/reserved.ts';

/**
 * `*` stands for exactly one segment, `**` for one or more and only at the end; everything else is itself. The trust
 * domain is always literal. No pattern matches a reserved name (spiffe/reserved.ts). Throws `policy` or `spiffe_id`.
 */
export function compileSpiffePattern(text: string): (id: SpiffeId) => boolean {
  const segments = text.split('/');
  const open = segments.at(-1) === '**';
  const wanted = open ? segments.slice(0, -1) : segments;
  ensure(!wanted.includes('**'), 'policy', `in ${text}, ** is not the last segment`);
  ensure(!wanted.slice(0, PATH_AT).includes('*'), 'policy', `in ${text}, the trust domain is a wildcard`);
  // With the wildcards filled in, what is left must be a SPIFFE ID; so `tri*` or an empty segment refuses here.
  parseSpiffeId(
    [...wanted.map((segment) => (segment === '*' ? 'x' : segment)), ...(open ? ['x'] : [])].join('/'),
  );

  if (!open && !wanted.includes('*')) return (id) => id === text && !isReserved(id);
  return (id) => {
    if (isReserved(id)) return false;
    const given = id.split('/');
    if (open ? given.length <= wanted.length : given.length !== wanted.length) return false;
    return wanted.every((segment, index) => segment === '*' || segment === given[index]);
  };
}

/** `spiffe:`, nothing, the trust domain: the path starts at the fourth piece. */
const PATH_AT = 3;

/** Whether every SPIFFE ID that matches the other pattern matches this one, or some of them, or none. */
export type Reach = 'all' | 'some' | 'none';

/** How a pattern reaches others. It is taken apart once, for many others. Both must compile. */
export function compareSpiffePattern(text: string): (other: string) => Reach {
  const own = piecesOf(text);
  return (other) => {
    const given = piecesOf(other);
    if (covers(own, given)) return 'all';
    return overlaps(own, given) ? 'some' : 'none';
  };
}

interface Pieces {
  readonly fixed: readonly string[];
  /** `**` follows. */
  readonly open: boolean;
}

function covers(outer: Pieces, inner: Pieces): boolean {
  const fits = outer.open
    ? inner.fixed.length + (inner.open ? 1 : 0) > outer.fixed.length
    : !inner.open && outer.fixed.length === inner.fixed.length;
  return fits && outer.fixed.every((segment, at) => segment === '*' || segment === inner.fixed[at]);
}

function overlaps(a: Pieces, b: Pieces): boolean {
  const longer = a.fixed.length - b.fixed.length;
  const fits = a.open ? b.open || longer < 0 : b.open ? longer > 0 : longer === 0;
  const common = a.fixed.slice(0, Math.min(a.fixed.length, b.fixed.length));
  return (
    fits && common.every((segment, at) => [segment, b.fixed[at]].includes('*') || segment === b.fixed[at])
  );
}

function piecesOf(text: string): Pieces {
  const segments = text.split('/');
  const open = segments.at(-1) === '**';
  return { fixed: open ? segments.slice(0, -1) : segments, open };
}
