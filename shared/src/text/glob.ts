/** Globs, in which `*` is any run of characters. Matching takes time linear in the text, for any pattern. */

/** Of whole texts. */
export const matchGlob = (pattern: string, text: string): boolean => compileGlob(pattern)(text);

/** For a pattern that is asked about many texts. */
export function compileGlob(pattern: string): (text: string) => boolean {
  const [head = '', ...rest] = pattern.split('*');
  const tail = rest.pop();
  if (tail === undefined) return (text) => pattern === text;
  return (text) => {
    const end = text.length - tail.length;
    if (end < head.length || !text.startsWith(head) || !text.endsWith(tail)) return false;
    let at = head.length;
    // Leftmost is enough: if the pieces fit in order anywhere, they fit at their first places.
    for (const piece of rest) {
      const found = text.indexOf(piece, at);
      if (found === -1 || found + piece.length > end) return false;
      at = found + piece.length;
    }
    return true;
  };
}
