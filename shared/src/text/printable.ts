/**
 * Text from elsewhere, safe to show: characters that move a cursor, start a line, reorder or hide text become escapes.
 * The escapes are JSON's, so that a line of JSON stays one.
 */

/**
 * C0 and C1 controls (Cc), bidirectional and format controls (Cf), line and paragraph separators, lone surrogates, and
 * what Unicode calls default ignorable: zero width, tags, variation selectors, fillers (UAX 44, DerivedCoreProperties).
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;
const HIDDEN_IN_LINES = /(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** What nearly all text consists of; to find that out costs a fifth of looking for what is hidden. */
const PLAIN = /^[ -~]*$/;

/** One line, whatever `text` holds. */
export const printable = (text: string): string => (PLAIN.test(text) ? text : text.replace(HIDDEN, escaped));

/** As `printable`, but line feeds stay: for text whose lines are ours. */
export const printableLines = (text: string): string => text.replace(HIDDEN_IN_LINES, escaped);

/** Each UTF-16 unit, as JSON writes it. */
const escaped = (character: string): string =>
  Array.from(
    { length: character.length },
    (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
  ).join('');
