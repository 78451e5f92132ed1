/**
 * Secrets that must not enter the audit log, whatever text they come in: a peer's words, the reason of a refusal, a
 * name. They are known by their shapes, so a secret of no known shape is not found.
 */

const BEGIN = '-----BEGIN [A-Z ]*PRIVATE KEY-----';

/** By name. None matches across the end of a JSON string, and each is a whole word. */
const SHAPES: Readonly<Record<string, string>> = {
  'private key': String.raw`${BEGIN}(?:[^"\\]|\\.)*?(?:-----END [A-Z ]*PRIVATE KEY-----|(?="))`,
  'JSON Web Token': String.raw`eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*`,
  'bearer token': String.raw`(?:[Bb]earer|BEARER|[Bb]asic|BASIC) [\w.~+/=-]{20,}`,
  'AWS access key': '(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])',
  'AWS secret key': String.raw`aws_secret_access_key\W{1,4}[\w+/=]{40}`,
  'GitHub token': String.raw`(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,})`,
  'GitLab token': String.raw`gl(?:pat|ptt|rt|ft|soat)-[\w-]{20,}`,
  'Slack token': String.raw`xox[abeprs]-[\w-]{10,}`,
  'Google API key': String.raw`AIza[\w-]{35}`,
  'API key': String.raw`sk-[\w-]{32,}`,
  'npm token': 'npm_[A-Za-z0-9]{36}',
};

const NAMES = Object.keys(SHAPES);
const ANY = new RegExp(
  `(?<![\\w./-])(?:${Object.values(SHAPES)
    .map((shape) => `(${shape})`)
    .join('|')})`,
  'g',
);

/** Most texts have none of these: a cheap look first. */
const HINT =
  /eyJ|-----BEGIN|bearer |basic |AKIA|ASIA|aws_secret|gh[pousr]_|github_pat_|gl[a-z]+-|xox|AIza|sk-|npm_/i;

/** JSON text without these secrets: `[masked: NAME]` stands in their place. It is JSON of the same shape. */
export function masked(text: string): string {
  if (!HINT.test(text)) return text;
  return text.replace(ANY, (_, ...found: unknown[]) => {
    const at = found.slice(0, NAMES.length).findIndex((group) => group !== undefined);
    return `[masked: ${NAMES[at]}]`;
  });
}
