/** Patterns over names of platforms, whose segments `:` and `/` divide: ARNs, branches, workflow files. */

/** `*` is any number of characters of one segment: it crosses neither `:` nor `/`. */
export function matchesSegments(pattern: string, text: string): boolean {
  const [wanted, given] = [pattern.split(/([:/])/), text.split(/([:/])/)];
  return wanted.length === given.length && wanted.every((each, at) => matchesSegment(each, given[at] ?? ''));
}

function matchesSegment(pattern: string, text: string): boolean {
  const [first = '', ...others] = pattern.split('*');
  const last = others.pop();
  if (last === undefined) return pattern === text;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length)
    return false;
  let at = first.length;
  for (const part of others) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > text.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}
