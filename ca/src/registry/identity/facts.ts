/** What was proven, as identities see it: as `kind.name`, and as `name` if only one platform is demanded. */
import { attributePrefix } from '@chancery/shared/evidence/platform.ts';

/** What attestors proved together. */
export interface Facts {
  /** One attestor's name, or several joined by "+". */
  readonly platform: string;
  /** As `kind.name`; for a single platform also as `name`. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** The platforms that proved these facts: one, or several in one exchange. */
export const provenBy = ({ platform }: Facts): readonly string[] => platform.split('+');

type Attributes = Readonly<Record<string, string>>;

/** What a condition or a template may name. */
export interface Scope {
  /** `kind.name`, or `name` if only one platform is demanded. */
  valueOf(name: string): string | undefined;
  /** For CEL: `name`, and `kind` with its attributes as a map. */
  readonly variables: Readonly<Record<string, string | Attributes>>;
}

/** `demanded` are the platforms of the identity: it does not see what other platforms proved. */
export function scopeOf(facts: Facts, demanded: readonly string[]): Scope {
  const kinds = demanded.map(attributePrefix);
  const byKind = Object.fromEntries(kinds.map((kind) => [kind, ownOf(facts, kind)]));
  const [only = ''] = kinds;
  const bare = kinds.length === 1 ? (byKind[only] ?? {}) : {};
  return {
    valueOf: (name) => {
      const [kind = '', attribute] = name.split('.');
      const own = attribute === undefined ? bare : byKind[kind];
      const key = attribute ?? name;
      return own !== undefined && Object.hasOwn(own, key) ? own[key] : undefined;
    },
    variables: { ...bare, ...byKind },
  };
}

function ownOf(facts: Facts, kind: string): Attributes {
  const prefix = `${kind}.`;
  const alone = provenBy(facts).length === 1;
  return Object.fromEntries(
    Object.entries(facts.attributes).flatMap(([name, value]) => {
      if (name.startsWith(prefix)) return [[name.slice(prefix.length), value] as const];
      return alone && !name.includes('.') ? [[name, value] as const] : [];
    }),
  );
}
