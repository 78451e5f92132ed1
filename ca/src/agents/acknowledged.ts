/** What the CA has sent on one trust stream, and what the agent has acknowledged: whole snapshots and single parts. */
import { ensure } from '@chancery/shared/ground/errors.ts';

/** The parts of a snapshot, each by its own number. The numbers only grow. */
export interface Parts {
  readonly bundle: bigint;
  readonly policy: bigint;
  readonly revocations: bigint;
}

/** In the order in which they are listed. */
export const PARTS = ['bundle', 'policy', 'revocations'] as const satisfies readonly (keyof Parts)[];
const NOTHING: Parts = { bundle: 0n, policy: 0n, revocations: 0n };

interface Current<T> {
  current(): T;
}

export interface InForce {
  readonly authorities: { readonly bundle: Current<{ readonly sequence: bigint }> };
  readonly registry: { readonly sets: Current<{ readonly version: number }> };
  readonly revocations: { readonly sets: Current<{ readonly sequence: bigint }> };
}

/** The parts that are in force now. */
export const partsInForce = ({ authorities, registry, revocations }: InForce): Parts => ({
  bundle: authorities.bundle.current().sequence,
  policy: BigInt(registry.sets.current().version),
  revocations: revocations.sets.current().sequence,
});

/** As an agent sends it. Older agents name no parts. */
export interface Acknowledgement {
  readonly sequence: bigint;
  readonly parts?: Parts | undefined;
}

/** Snapshots that are remembered. Acknowledging one that was dropped here moves no part forward. */
const MAX_SENT = 64;

/** The acknowledgements of one trust stream. Remembers the last 64 snapshots. */
export class Acknowledged {
  #sequence = 0n;
  #parts = NOTHING;
  #lastSent = 0n;
  #sentParts = NOTHING;
  /** By sequence, ascending. */
  readonly #sent = new Map<bigint, Parts>();

  /** The newest snapshot that is wholly in force; 0 before the first. */
  get sequence(): bigint {
    return this.#sequence;
  }

  /** At least the parts of that snapshot; the agent may have acknowledged a part of a later one. */
  get parts(): Parts {
    return this.#parts;
  }

  /** Call this before sending: the answer may come before the send resolves. */
  sending(sequence: bigint, parts: Parts): void {
    this.#lastSent = sequence;
    this.#sentParts = parts;
    this.#sent.set(sequence, parts);
    const [oldest] = this.#sent.keys();
    if (this.#sent.size > MAX_SENT && oldest !== undefined) this.#sent.delete(oldest);
  }

  /**
   * Takes an acknowledgement. Without parts, it acknowledges every part of that snapshot. Throws out_of_order for
   * what was not sent, and for less than before: a rotation of the root will depend on these.
   */
  take({ sequence, parts }: Acknowledgement): void {
    const before = this.#sequence;
    const moves = sequence > before || (parts !== undefined && sequence === before && this.#isMore(parts));
    ensure(moves, 'out_of_order', `acknowledged ${sequence} after ${before}`);
    ensure(sequence <= this.#lastSent, 'out_of_order', `acknowledged ${sequence}, which was not sent`);
    const next = this.#after(sequence, parts);
    for (const part of PARTS) {
      const said = parts?.[part] ?? next[part];
      ensure(
        said >= this.#parts[part],
        'out_of_order',
        `acknowledged ${part} ${said} after ${this.#parts[part]}`,
      );
      ensure(
        said <= this.#sentParts[part],
        'out_of_order',
        `acknowledged ${part} ${said}, which was not sent`,
      );
    }
    this.#sequence = sequence;
    this.#parts = next;
  }

  /** For the audit log. */
  numbers() {
    const { bundle, policy, revocations } = this.#parts;
    const parts = { bundle: Number(bundle), policy: Number(policy), revocations: Number(revocations) };
    return { sequence: Number(this.#sequence), ...parts };
  }

  /** True if the agent has each wanted part, or a newer one. */
  has(wanted: Partial<Parts>): boolean {
    return PARTS.every((part) => this.#parts[part] >= (wanted[part] ?? 0n));
  }

  #isMore(parts: Parts): boolean {
    return PARTS.some((part) => parts[part] > this.#parts[part]);
  }

  #after(sequence: bigint, said: Parts | undefined): Parts {
    const whole = this.#sent.get(sequence) ?? NOTHING;
    const most = (part: keyof Parts): bigint =>
      [whole[part], said?.[part] ?? 0n].reduce(larger, this.#parts[part]);
    return { bundle: most('bundle'), policy: most('policy'), revocations: most('revocations') };
  }
}

/** The larger of two. Math.max takes no bigint. */
export function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}
