/**
 * Secrets that must not enter the audit log, whatever text they come in: a peer's words, the reason of a refusal, a
 * name. They are known by their shapes, so a secret of no known shape is not found.
 */

import type { CallRecord } from './call-record.ts';
import type { AuditEvent } from './event.ts';

const KEY = '[A-Z ]*PRIVATE KEY(?: BLOCK)?-----';

/** Behind a letter it is a part of a longer word, unless that letter ends an escape: `%2F`, or `\n` in quoted JSON. */
const BEGINS = String.raw`(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2}|\\[nrtbf]|\\u[0-9A-Fa-f]{4}))`;

/** What RFC 3986 section 3.2 lets stand before a host, and some spell wrongly; not the end of a text in quotes. */
const AUTHORITY = String.raw`[^\s/?#"\\<>]`;

/** In base64 wherever it stands among three bytes: the colon between a name and its password (RFC 7617). */
const COLON = String.raw`(?:[\w+/]{4})*(?:O[g-v]|[\w+/][DTjz][o-r]|[\w+/]{2}[AEIMQUYcgkosw048]6)`;

/** What stands behind `password=` where there is none, or where one was masked before: the whole of it, to `end`. */
const noPassword = (end: string): string =>
  String.raw`(?!(?:\[masked:[^\]\n]{0,40}\]|(?i:null|none|true|false|undefined|required|missing|empty)|\*{3,})${end})`;

/** In quotes of one kind to the closing one, or to the end of the line: as they are, and as quoted JSON has them. */
const quoted = (quote: string): readonly string[] => [
  String.raw`${quote}${noPassword(quote)}(?:[^${quote}\\\n]|\\[^\n]){4,}`,
  String.raw`\\${quote}${noPassword(`\\\\${quote}`)}(?:[^${quote}\\\n]|\\\\\\${quote}|\\[^${quote}\n]){4,}`,
];
const QUOTED = [...quoted('"'), ...quoted("'")].join('|');
const UNQUOTED = String.raw`${noPassword(String.raw`(?:[.)\]}]?(?:[\s&;,"'<>\\]|$))`)}[^\s&;,"'<>\\]{4,}`;

/**
 * By name. Each is looked for at every place of a string, and takes time in proportion to its length. A JSON Web Token
 * is looked for once in a run of its characters, and takes what is before it in the run along. It has three parts
 * (RFC 7515, section 7.1) or five (RFC 7516, section 7.1), and the second may be empty.
 */
const SHAPES: Readonly<Record<string, string>> = {
  'URL password': String.raw`(?<=://)[^\s/?#"\\<>@:]*:${AUTHORITY}+(?=@)`,
  'private key': `-----BEGIN ${KEY}[^]*?(?:-----END ${KEY}|$)`,
  'age key': 'AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]{10,}',
  'JSON Web Token': String.raw`(?<![\w-])(?=[\w-]+\.[\w-]*\.)[\w-]*?eyJ[\w-]{8,}\.[\w-]*\.[\w-]*(?:\.[\w-]*){0,2}`,
  'bearer token': String.raw`(?i:bearer|basic)(?:\s|%20)+[\w.~+/=-]{20,}`,
  // A word behind `bearer` is no token; one with a digit may be.
  'short bearer token': String.raw`(?i:bearer)(?:\s|%20)+(?=[A-Za-z_.~+/=-]*\d)[\w.~+/=-]{8,}`,
  'basic credentials': String.raw`(?i:basic)(?:\s|%20)+(?=[\w+/=]{8})(?=${COLON})[\w+/=]+`,
  'AWS access key': '(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])',
  'AWS secret key': String.raw`(?i:(?:aws_)?secret[_ ]?access[_ ]?key)\W{1,8}[\w+/=]{16,}`,
  'session token': String.raw`(?i:(?:aws_)?session[_ ]?token)\W{1,8}[\w+/=%-]{16,}`,
  'Azure key': '(?i:AccountKey|SharedAccessKey)=[A-Za-z0-9+/=]{20,}',
  'URL signature': String.raw`(?:(?<=[?&;])sig|X-(?:Amz|Goog)-Signature)=[\w%+/=-]{40,}`,
  password: String.raw`(?i:pass(?:word|wd|phrase))(?:=${UNQUOTED}|(?:\\?["'])?\s{0,8}[:=]\s{0,8}(?:${QUOTED}))`,
  'GitHub token': String.raw`(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,})`,
  'GitLab token': String.raw`gl(?:pat|ptt|rt|ft|soat)-[\w-]{20,}`,
  'Slack token': String.raw`xox[abeprs]-[\w-]{10,}`,
  'Slack webhook': String.raw`hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{20,}`,
  'Google API key': String.raw`AIza[\w-]{35}`,
  'Google access token': String.raw`ya29\.[\w.-]{20,}`,
  'API key': String.raw`${BEGINS}(?:sk-[\w-]{32,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,})`,
  'Hugging Face token': `${BEGINS}hf_[A-Za-z0-9]{30,}`,
  'Vault token': String.raw`${BEGINS}hv[sbr]\.[\w-]{20,}`,
  'SendGrid key': String.raw`${BEGINS}SG\.[\w-]{16,}\.[\w-]{16,}`,
  'npm token': 'npm_[A-Za-z0-9]{36}',
  'PyPI token': String.raw`pypi-AgE[\w-]{16,}`,
  'Docker token': String.raw`dckr_(?:pat|oat)_[\w-]{20,}`,
};

const NAMES = Object.keys(SHAPES);
const ANY = new RegExp(
  Object.values(SHAPES)
    .map((shape) => `(${shape})`)
    .join('|'),
  'g',
);

/** Most texts have none of these: a cheap look first. JSON writes all of them as they are. */
const HINT = new RegExp(
  [
    'eyJ|-----BEGIN|AGE-SECRET|bearer|basic|AKIA|ASIA|secret[_ ]?access|session[_ ]?token|AccountKey=|AccessKey=',
    String.raw`gh[pousr]_|github_pat_|gl[a-z]+-|xox|hooks\.slack|AIza|ya29|sk-|[sr]k_(?:live|test)_`,
    'pass(?:word|wd|phrase)|[?&;]sig=|X-(?:Amz|Goog)-Sig',
    String.raw`hf_|hv[sbr]\.|SG\.|npm_|pypi-|dckr_|://${AUTHORITY}*@`,
  ].join('|'),
  'i',
);

/**
 * What the CA itself has made, found or verified. Some of it is read again, such as by a restore with the log: another
 * value would be another certificate, or the revocation of another node. The rest says whom an event is about. Who
 * chooses a part of a node's name must not choose that the log has another one than the record.
 */
const OWN = {
  type: true,
  id: true,
  serial: true,
  platform: true,
  node: true,
  identity: true,
  origin: true,
  succeeds: true,
  reporter: true,
  spool: true,
  target: true,
  moves: true,
  voucher: true,
  standby: true,
} as const;

/** A caller is who its certificate said, to the gateway; what is no SPIFFE ID is none. */
const SPIFFE_ID = /^spiffe:\/\/[a-z0-9._-]+(?:\/[\w.-]+)*$/;

/** An event, whose JSON is `json`, without these secrets. What the CA itself wrote stays, whatever it looks like. */
export function maskedEvent(event: AuditEvent, json: string): AuditEvent {
  if (!HINT.test(json)) return event;
  const kept = Object.entries(event).map(([name, value]) => {
    if (Object.hasOwn(OWN, name)) return [name, value];
    return [name, name === 'record' ? maskedRecord(value) : masked(value)];
  });
  return Object.fromEntries(kept) as AuditEvent;
}

function maskedRecord(record: CallRecord): CallRecord {
  const caller = record['caller'];
  const isOwn = typeof caller === 'string' && SPIFFE_ID.test(caller);
  return { ...masked(record), ...(isOwn && { caller }) };
}

/**
 * The value without these secrets, as JSON reads and writes it: `[masked: NAME]` stands in their place in each string
 * and each name of a field. It is masked before it is written as JSON, where a line feed ends with a letter.
 */
export function masked<T>(value: T): T {
  if (typeof value === 'string') return maskedText(value) as T;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(masked) as T;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [maskedText(name), masked(each)]),
  ) as T;
}

function maskedText(text: string): string {
  if (!HINT.test(text)) return text;
  return text.replace(ANY, (all: string, ...found: unknown[]) => {
    const at = found.slice(0, NAMES.length).findIndex((group) => group !== undefined);
    return at < 0 ? all : `[masked: ${NAMES[at]}]`;
  });
}
