/** What the rules of one policy say of one caller at one server. */
import type { ToolCall } from './call.ts';
import type { Decision } from './decision.ts';
import { Memo } from './memo.ts';
import type { ToolPattern } from './patterns/tool.ts';

/** One tool pattern of one rule. */
export interface Line {
  readonly rule: string;
  readonly pattern: ToolPattern;
  /** The rule's condition. A line without one holds for each tool that the pattern matches. */
  readonly when?: When;
}

/** A condition on the call. */
export interface When {
  /** As it is written in the rule: conditions with the same text hold for the same calls. */
  readonly text: string;
  /** Pure. Undefined if it cannot be decided: it needs a field that the call does not have, or it fails. */
  readonly holds: (call: ToolCall) => boolean | undefined;
}

/** Decides by the lines that match the tool. Pure. */
export type DecideBy = (lines: Lines, call: ToolCall) => Decision;

/** In the order of the rules' names. */
export interface Lines {
  readonly allow: readonly Line[];
  /** These allow a call once somebody approves it. */
  readonly ask: readonly Line[];
  readonly deny: readonly Line[];
}

interface Known {
  readonly lines: Lines;
  readonly isConditional: boolean;
  /** Where no line has a condition: the last answer, and what it was made by. */
  decided?: { readonly by: DecideBy; readonly decision: Decision };
}

/** So many tools are remembered for one caller at one server; what is forgotten is computed again. */
const TOOLS = 512;

/** The rules of one policy for one caller at one server. It remembers its answers. */
export class Rules {
  readonly #lines: Lines;
  readonly #byTool = new Memo<string, Known>(TOOLS);

  constructor(lines: Lines) {
    this.#lines = lines;
  }

  /** The first rule that may allow any tool at all. */
  get entrance(): string | undefined {
    const { allow, ask } = this.#lines;
    return (allow[0] ?? ask[0])?.rule;
  }

  /** The lines whose pattern matches the tool. */
  about(tool: string): Lines {
    return this.#known(tool).lines;
  }

  /**
   * What `decideBy` makes of the lines about the tool, for a call of the caller and server of these rules. Where no
   * line has a condition, it gets the names only, and its answer is remembered: pass the same function each time.
   */
  decide(call: ToolCall, decideBy: DecideBy): Decision {
    const { caller, server, tool } = call;
    const known = this.#known(tool);
    if (known.isConditional) return decideBy(known.lines, call);
    if (known.decided?.by !== decideBy)
      known.decided = { by: decideBy, decision: decideBy(known.lines, { caller, server, tool }) };
    return known.decided.decision;
  }

  #known(tool: string): Known {
    return this.#byTool.get(tool, () => {
      const matching = (lines: readonly Line[]) => lines.filter(({ pattern }) => pattern.matches(tool));
      const { allow, ask, deny } = this.#lines;
      const lines = { allow: matching(allow), ask: matching(ask), deny: matching(deny) };
      const isConditional = Object.values(lines)
        .flat()
        .some(({ when }) => when !== undefined);
      return { lines, isConditional };
    });
  }

  /** Equal for two sets of rules by which a caller sees the same list of tools, whatever the server has. */
  get listing(): string {
    const { allow, ask, deny } = this.#lines;
    const textsOf = ({ pattern, when }: Line) => (when ? [pattern.text, when.text] : [pattern.text]);
    return JSON.stringify([allow, ask, deny].map((lines) => lines.map(textsOf)));
  }
}
