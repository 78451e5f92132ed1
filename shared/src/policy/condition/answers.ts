/** What conditions answered about calls that differ only in what they use, such as the entries of one list. */
import type { Call } from '../call.ts';
import type { When } from './when.ts';

interface Given {
  /** Whether the condition reads neither `tool` nor `args`, so that the answer is that to every call. */
  readonly toAll: boolean;
  readonly tool: string | undefined;
  readonly args: Call['arguments'];
  readonly answer: boolean | string;
}

/**
 * Remembers the last answer of each condition, for as long as calls differ in nothing that it reads. Use another one
 * for another caller, server, session or time.
 */
export class Answers {
  readonly #given = new Map<When, Given>();
  #evaluated = 0;

  /** How many evaluations there were. */
  get evaluated(): number {
    return this.#evaluated;
  }

  /** As `when.answer`. */
  answer(when: When, call: Call): boolean | string {
    const known = this.#given.get(when);
    if (known?.toAll === true) return known.answer;
    const [readsTool, readsArgs] = [when.reads.has('tool'), when.reads.has('args')];
    const tool = readsTool ? toolOf(call) : undefined;
    const args = readsArgs ? argsOf(call) : undefined;
    if (known !== undefined && known.tool === tool && known.args === args) return known.answer;
    this.#evaluated += 1;
    const answer = when.answer(call);
    this.#given.set(when, { toAll: !readsTool && !readsArgs, tool, args, answer });
    return answer;
  }
}

// As conditions know them.
const toolOf = ({ what: { kind, name } }: Call): string | undefined => (kind === 'tool' ? name : undefined);
const argsOf = ({ what: { kind }, arguments: args }: Call): Call['arguments'] =>
  kind === 'tool' ? args : undefined;
