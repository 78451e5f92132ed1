/** How the parts of one snapshot are read: each by itself, with the reasons why some are refused. */
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';

/** A part of a snapshot, as it is acknowledged. */
export type Part = 'bundle' | 'policy' | 'revocations';

interface Refused {
  readonly parts: readonly Part[];
  readonly error: unknown;
}

/** One for each snapshot. */
export class Reading {
  readonly #taken: Part[] = [];
  readonly #refused: Refused[] = [];

  /** The parts that were read. */
  get taken(): readonly Part[] {
    return this.#taken;
  }

  /** What `read` gives; undefined if it throws, which `ensureWhole` says. */
  take<T>(part: Part, read: () => T): T | undefined {
    try {
      const value = read();
      this.#taken.push(part);
      return value;
    } catch (error) {
      this.#refused.push({ parts: [part], error });
      return undefined;
    }
  }

  /** Whether these parts may be read at all: false if `check` throws, which `ensureWhole` says. */
  mayRead(parts: readonly Part[], check: () => void): boolean {
    try {
      check();
      return true;
    } catch (error) {
      this.#refused.push({ parts, error });
      return false;
    }
  }

  /**
   * Throws why parts are refused, all in one sentence, with the code of the first: of bundle or policy, and then of
   * revocations, since a revoked sender ends its stream.
   */
  ensureWhole(): void {
    const refused = this.#refused.toSorted((a, b) => rank(a) - rank(b));
    const [first] = refused;
    if (first === undefined) return;
    const code = isRefusal(first.error) ? first.error.code : 'internal';
    throw new IdentityError(code, refused.map(says).join('; '), { cause: first.error });
  }
}

const rank = ({ parts }: Refused): number => (parts.includes('revocations') ? 1 : 0);

/** Of revocations only the unreadable ones are left out, and their refusal says so. */
function says({ parts, error }: Refused): string {
  const why = error instanceof Error ? error.message : String(error);
  if (parts.includes('revocations')) return why;
  const [what, before] =
    parts.length === 1
      ? [`${parts.join()} is`, 'the one before stays']
      : ['bundle and policy are', 'those before stay'];
  return `the ${what} not taken and ${before} in force: ${why}`;
}
