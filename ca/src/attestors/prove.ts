/**
 * Verifies the evidence of one exchange, of one platform or several: all must pass, over one nonce. At most one
 * question is sent, which contains those of all platforms. The facts are joined, each under its platform's name.
 */

import { joinNodes, type Node } from '@chancery/shared/evidence/node.ts';
import { type Pieces, packPieces, unpackPieces } from '@chancery/shared/evidence/pieces.ts';
import { attributePrefix, joinPlatforms } from '@chancery/shared/evidence/platform.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Attestor, Facts, Turn } from './attestor.ts';

/** What all platforms of an exchange proved together. */
export interface Proven extends Node {
  /** As `kind.name`. */
  readonly attributes: Readonly<Record<string, string>>;
  /** The nodes that have at most one agent. */
  readonly exclusive: readonly Node[];
}

/** `attestors` are in the order in which the agent named them; `opening` is its first message. Throws IdentityError. */
export async function prove(
  attestors: readonly Attestor[],
  opening: Uint8Array,
  turn: Turn,
): Promise<Proven> {
  const [only] = attestors;
  if (only !== undefined && attestors.length === 1)
    return joined([{ type: only.type, facts: await only.attest(opening, turn) }]);
  const openings = unpackPieces(
    opening,
    attestors.map(({ type }) => type),
  );
  const round = new Round(
    attestors.map(({ type }) => type),
    turn,
  );
  return joined(
    await Promise.all(
      attestors.map((attestor, index) => part(attestor, openings[index], { round, index, turn })),
    ),
  );
}

interface PartTurn {
  readonly round: Round;
  readonly index: number;
  readonly turn: Turn;
}

async function part(attestor: Attestor, opening: Uint8Array | undefined, { round, index, turn }: PartTurn) {
  try {
    const own: Turn = { ...turn, challenge: (question) => round.ask(index, question) };
    const facts = await attestor.attest(opening ?? new Uint8Array(), own);
    round.isSilent(index);
    return { type: attestor.type, facts };
  } catch (error) {
    round.fail(error);
    throw error;
  }
}

/** Joins the platforms' questions into one. It is sent once each platform has asked or has finished without asking. */
class Round {
  readonly #names: readonly string[];
  readonly #turn: Turn;
  readonly #asked = new Map<number, Uint8Array>();
  readonly #silent = new Set<number>();
  readonly #answers = Promise.withResolvers<Pieces>();

  constructor(names: readonly string[], turn: Turn) {
    this.#names = names;
    this.#turn = turn;
    // There may be no waiter when it fails.
    this.#answers.promise.catch(() => {});
  }

  async ask(index: number, question: Uint8Array): Promise<Uint8Array> {
    ensure(!this.#asked.has(index), 'internal', `${this.#names[index]} asked twice`);
    this.#asked.set(index, question);
    this.#sendWhenComplete();
    const answer = (await this.#answers.promise)[index];
    ensure(answer !== undefined, 'evidence_parse', `${this.#names[index]} was asked and says nothing`);
    return answer;
  }

  isSilent(index: number): void {
    if (this.#asked.has(index)) return;
    this.#silent.add(index);
    this.#sendWhenComplete();
  }

  /** One platform's refusal ends the others' wait. */
  fail(error: unknown): void {
    this.#answers.reject(error);
  }

  #sendWhenComplete(): void {
    if (this.#asked.size + this.#silent.size < this.#names.length || this.#asked.size === 0) return;
    this.#exchange().then(this.#answers.resolve, this.#answers.reject);
  }

  async #exchange(): Promise<Pieces> {
    const questions = this.#names.map((_, index) => this.#asked.get(index));
    const said = unpackPieces(await this.#turn.challenge(packPieces(questions)), this.#names);
    for (const index of this.#silent)
      ensure(said[index] === undefined, 'evidence_parse', `${this.#names[index]} was not asked`);
    return said;
  }
}

function joined(parts: readonly { readonly type: string; readonly facts: Facts }[]): Proven {
  const sorted = parts.toSorted((a, b) => (a.type < b.type ? -1 : 1));
  return {
    platform: joinPlatforms(sorted.map(({ type }) => type)),
    node: joinNodes(sorted.map(({ facts }) => facts.node)),
    attributes: Object.fromEntries(
      sorted.flatMap(({ type, facts }) =>
        Object.entries(facts.attributes).map(([name, value]) => [`${attributePrefix(type)}.${name}`, value]),
      ),
    ),
    exclusive: sorted.flatMap(({ type, facts: { exclusive, node } }) =>
      exclusive ? [{ platform: type, node }] : [],
    ),
  };
}
