/**
 * What a mutant is: one check of one file taken away, by changing one word, so that the rest of the file stays as it
 * is, byte for byte. Three kinds of check: a call for its refusal alone, by the verbs that we give such functions; a
 * throw; and the early return of a guard.
 */

export interface Mutant {
  /** From 1. */
  readonly line: number;
  /** The line as a reader finds it. */
  readonly check: string;
  /** The whole file without the check. */
  readonly text: string;
}

/** Takes the arguments, as they may have effects, and lets everything pass. */
const PASS = '((..._: readonly unknown[]): void => {})';
/** Evaluates what would have been thrown or returned, and goes on. */
const GO_ON = 'void ';

interface Cut {
  readonly at: number;
  readonly length: number;
  readonly by: string;
}

/** In the order of the lines. */
export function mutantsOf(text: string): readonly Mutant[] {
  const lines = text.split('\n');
  let inComment = false;
  return lines.flatMap((line, index) => {
    const opens = /^\s*\/\*/.test(line);
    const comment = inComment || opens || /^\s*\/\//.test(line);
    inComment = (inComment || opens) && !line.includes('*/');
    if (comment) return [];
    return cutsOf(line, lines[index - 1] ?? '').map(({ at, length, by }) => {
      const cut = line.slice(0, at) + by + line.slice(at + length);
      return { line: index + 1, check: line.trim(), text: lines.toSpliced(index, 1, cut).join('\n') };
    });
  });
}

function cutsOf(line: string, before: string): readonly Cut[] {
  if (/^\s*(export )?(async )?function /.test(line)) return [];
  return [...callsOf(line), ...throwsOf(line), ...returnsOf(line, before)];
}

/** A method of a class is called through `this`, and what ends in a brace defines one. */
const CALL = /(?<=^\s*|\) |else |await |=> )(?:this\.#?)?(?:ensure|lint|need|refuse|verify)\w*(?=\()/g;

function callsOf(line: string): readonly Cut[] {
  if (/^\s*(async )?\w+\(.*\{$/.test(line)) return [];
  return [...line.matchAll(CALL)].map(({ index, 0: called }) => ({
    at: index,
    length: called.length,
    by: PASS,
  }));
}

function throwsOf(line: string): readonly Cut[] {
  return [...line.matchAll(/(?<=^\s*|\) |else )throw /g)].map(({ index, 0: found }) => ({
    at: index,
    length: found.length,
    by: GO_ON,
  }));
}

/** `if (...) return`, on one line or two. */
function returnsOf(line: string, before: string): readonly Cut[] {
  const guarded = /^\s*(\} )?(else )?if \(.*\)$/.test(before) && /^\s*return\b/.test(line);
  const found = guarded
    ? /return( |(?=;))/.exec(line)
    : /(?<=^\s*(?:else )?if \(.*\) )return( |(?=;))/.exec(line);
  if (found === null) return [];
  return [{ at: found.index, length: found[0].length, by: found[0].endsWith(' ') ? GO_ON : '' }];
}
