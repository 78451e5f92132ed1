/** Patterns over names of platforms, whose segments `:` and `/` divide: ARNs, branches, workflow files. */
import { matchGlob } from '@chancery/shared/text/glob.ts';

/** `*` is any number of characters of one segment: it crosses neither `:` nor `/`. */
export function matchesSegments(pattern: string, text: string): boolean {
  const [wanted, given] = [pattern.split(/([:/])/), text.split(/([:/])/)];
  return wanted.length === given.length && wanted.every((each, at) => matchGlob(each, given[at] ?? ''));
}
