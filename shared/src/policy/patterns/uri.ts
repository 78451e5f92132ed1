/**
 * Patterns over URIs of resources: a literal, a glob (`*` is any run of characters), a template of RFC 6570 level 1
 * (`{name}` is one or more characters that need no encoding, or are encoded), or `/regex/` in RE2 syntax, matched
 * against the whole URI always. A URI comes from a peer and a pattern from an operator, so matching takes time linear
 * in the URI whatever either of them wrote.
 */
import { ensure } from '../../ground/errors.ts';
import { compileGlob } from '../../text/glob.ts';
import { compiledRegex, type Pattern, regexPattern } from './pattern.ts';

/** It bounds the work of a pattern, too. */
const MAX_URI = 2_048;
/** An operator does not write a longer one by hand. */
const MAX_LENGTH = 512;

/**
 * A deny matches whatever a server may read as a URI that the pattern covers: with its escapes decoded, without its
 * query or user information, with or without a slash at its end, in either case. An allow is exact, and matches only
 * what it covers also with escapes decoded and without the query. Throws `policy` with the reason, also for a pattern
 * that no canonical URI can match.
 */
export function compileUriPattern(text: string, effect: 'allow' | 'deny' = 'allow'): Pattern {
  ensure(text.length <= MAX_LENGTH, 'policy', `a pattern of URIs is longer than ${MAX_LENGTH} characters`);
  const [plain, loose] = text.startsWith('/') ? twice(regexPattern(text)) : compileBoth(text, effect);
  const matches = effect === 'deny' ? anyReading(plain, loose) : eachReading(plain, loose, asksQuery(text));
  return { text, head: headOf(text), matches };
}

type Matches = Pattern['matches'];

const twice = ({ matches }: Pattern): [Matches, Matches] => [matches, matches];

/** For URIs as they are written, and for what `decoded` makes of them. */
function compileBoth(text: string, effect: 'allow' | 'deny'): [Matches, Matches] {
  const pieces = text.split(/(\*|\{[A-Za-z0-9_.]+\})/);
  const literals = pieces.filter((_, at) => at % 2 === 0);
  ensure(
    !literals.some((each) => /[{}]/.test(each)),
    'policy',
    `${text}: a template has {name} only, of letters, digits, _ and . (RFC 6570 level 1)`,
  );
  ensure(
    !/%2A/i.test(text),
    'policy',
    `${text}: * is a wildcard also where it is encoded: write a /regex/ for a URI that has one`,
  );
  if (!text.startsWith('*')) ensureReachable(text, pieces);
  const inCase = (literal: string): string => (effect === 'deny' ? literal.toLowerCase() : literal);
  const read = pieces.map((piece, at) => (at % 2 === 0 ? inCase(decoded(piece)) : piece));
  return [compiled(text, pieces, EXPANDED), compiled(text, read, DECODED)];
}

function compiled(text: string, pieces: readonly string[], expanded: string): Matches {
  if (!text.includes('{')) return compileGlob(pieces.join(''));
  const source = pieces.map((piece, at) =>
    at % 2 === 0 ? escaped(piece) : piece === '*' ? '(?s:.*)' : expanded,
  );
  return compiledRegex(text, source.join('')).matches;
}

function eachReading(plain: Matches, loose: Matches, withQuery: boolean): Matches {
  return (uri) => {
    if (!plain(uri)) return false;
    const read = decoded(uri);
    return loose(read) && (withQuery || loose(withoutQuery(read)));
  };
}

function anyReading(plain: Matches, loose: Matches): Matches {
  return (uri) => plain(uri) || readingsOf(uri).some(loose);
}

/** Of the URI that was asked about last: a page of a list asks each deny about each of its URIs. */
let latest: { readonly uri: string; readonly readings: readonly string[] } | undefined;

/** What servers may read a URI as. */
function readingsOf(uri: string): readonly string[] {
  if (latest?.uri === uri) return latest.readings;
  const read = decoded(uri).replace(USER, '$1');
  const ends = [read, withoutQuery(read)].flatMap((each) => [each, each.replace(/\/+$/, ''), `${each}/`]);
  const readings = [...new Set([...ends, ...ends.map((each) => each.toLowerCase())])];
  latest = { uri, readings };
  return readings;
}

const USER = /^([^:/?]*:\/\/)[^/?]*@/;

/** Whether the one who wrote the pattern thought of a query. */
const asksQuery = (text: string): boolean =>
  text.startsWith('/') ? text.includes('\\?') : decoded(text).includes('?');

/** Many servers read a resource by its path alone. */
const withoutQuery = (uri: string): string => uri.split('?', 1)[0] ?? '';

/** As a server reads it that decodes before it looks. What is no UTF-8 stays: no URI that has it can be allowed. */
function decoded(uri: string): string {
  if (!uri.includes('%')) return uri;
  try {
    return decodeURIComponent(uri).normalize('NFC').replaceAll('\\', '/');
  } catch {
    return uri;
  }
}

/** What a level 1 expression expands to, but the empty text and an encoded separator (RFC 6570 section 3.2.2). */
const EXPANDED = '(?:[A-Za-z0-9._~-]|%[0-9A-F][0-9A-F])+';
const DECODED = '[^/?#]+';

const escaped = (literal: string): string => literal.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** With its wildcards filled in, in one of the ways that change nothing, the pattern must be a canonical URI. */
function ensureReachable(text: string, pieces: readonly string[]): void {
  const reasons = ['x', '/x', '/', 'x/x'].map((filling) =>
    whyNoUri(pieces.map((piece, at) => (at % 2 === 0 ? piece : filling)).join('')),
  );
  const [why] = reasons;
  ensure(reasons.includes(undefined), 'policy', `${text}: no URI that a rule can allow matches it: ${why}`);
}

/**
 * Whether what a template of a server expands to can match a pattern: where that cannot be told, it can. A pattern that
 * is the template itself always can.
 */
export function canExpandTo(template: string): (pattern: Pattern) => boolean {
  const start = headOf(template);
  return ({ text, head = '' }) =>
    text === template ||
    text.startsWith('/') ||
    text.startsWith(start) ||
    (head !== text && start.startsWith(head));
}

/** Whether everything that a template of a server expands to matches a pattern. */
export function alwaysExpandsTo(template: string): (pattern: Pattern) => boolean {
  const start = headOf(template);
  return ({ text, head = '' }) => text === template || (text === `${head}*` && start.startsWith(head));
}

/** The text before the first wildcard or expression. */
function headOf(text: string): string {
  const [wildcard, expression] = [text.indexOf('*'), text.indexOf('{')];
  if (wildcard === -1 || expression === -1) return text.slice(0, Math.max(wildcard, expression) >>> 0);
  return text.slice(0, Math.min(wildcard, expression));
}

/** Why no rule can allow this URI; undefined if one can: only one of its spellings (RFC 3986 section 6) can be. */
export function whyNoUri(uri: string): string | undefined {
  if (uri.length > MAX_URI) return `the URI has ${uri.length} characters, at most ${MAX_URI} can be allowed`;
  const found = SPELLINGS.find(([isOther]) => isOther.test(uri));
  if (found !== undefined) return `the URI ${found[1]}`;
  const [, scheme = '', authority, path = ''] = PARTS.exec(uri) ?? [];
  const why =
    whyNoAuthority(scheme, authority) ??
    whyNoPath(scheme, authority, path) ??
    (scheme === 'file' && uri.includes('?') ? 'has a query, which a file does not have' : whyNoText(uri));
  return why === undefined ? undefined : `the URI ${why}`;
}

/** Servers look resources up by what the URL standard makes of a URI: one address of `127.1` and `127.0.0.1`. */
function whyNoText(uri: string): string | undefined {
  try {
    decodeURIComponent(uri);
    return new URL(uri).href === uri ? undefined : 'is written in another way by the URL standard';
  } catch {
    return 'has escapes that are no UTF-8, or a host or port of no meaning';
  }
}

/** RFC 3986 appendix B, for a URI without a fragment. */
const PARTS = /^([^:]*):(?:\/\/([^/?]*))?([^?]*)/;

/** Each is another spelling of a URI, or of none. What matches is refused, with what is said of it. */
const SPELLINGS: readonly (readonly [RegExp, string])[] = [
  [/#/, 'has a fragment'],
  [/[^A-Za-z0-9._~:/?[\]@!$&'()*+,;=%-]/, 'has characters that no URI has (RFC 3986)'],
  [/^(?![A-Za-z][A-Za-z0-9+.-]*:)/, 'has no scheme'],
  [/^[a-z0-9+.-]*[A-Z][A-Za-z0-9+.-]*:/, 'has a scheme with upper-case letters'],
  [/%(?![0-9A-F]{2})/, 'has a % without two upper-case hexadecimal digits'],
  [/%(?:2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])/, 'encodes characters that need no encoding'],
  [/%(?:[01][0-9A-F]|7F)/, 'encodes characters that cannot be seen'],
  [/%25[0-9A-Fa-f]{2}/, 'is encoded twice'],
  [/\?$/, 'has an empty query'],
];

/** Of the URL standard: their hosts are those of the network. */
const SPECIAL: readonly string[] = ['http', 'https', 'ws', 'wss', 'ftp', 'file'];
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443', ws: '80', wss: '443' };

function whyNoAuthority(scheme: string, authority: string | undefined): string | undefined {
  if (authority === undefined) return undefined;
  const isSpecial = SPECIAL.includes(scheme);
  if (isSpecial && authority.includes('@')) return 'has user information';
  // In other schemes it is often a name of the server's own, as the owner in `repo://Acme/x`.
  if (authority.includes('%') || (isSpecial && /[A-Z]/.test(authority)))
    return 'has a host with upper-case letters or in another encoding';
  const [, host = '', port] = /^(?:.*@)?(.*?)(?::([^:\]]*))?$/.exec(authority) ?? [];
  if (host.endsWith('.')) return 'has a host with a dot at its end';
  if (!/^(?:[^[\]:]*|\[[0-9a-f:.]+\])$/.test(host)) return 'has no valid host';
  if (port === undefined) return undefined;
  const isDefault = Object.hasOwn(DEFAULT_PORTS, scheme) && DEFAULT_PORTS[scheme] === port;
  return /^[1-9][0-9]{0,4}$/.test(port) && !isDefault
    ? undefined
    : 'has a port that is left out, or not written so';
}

function whyNoPath(scheme: string, authority: string | undefined, path: string): string | undefined {
  // A server may decode a path before it cuts it, and on Windows `\` separates, too.
  if (path.split(/\/|%2F|%5C/).some((segment) => segment === '.' || segment === '..'))
    return 'has a dot segment';
  if (/[[\]]/.test(path)) return 'has brackets in its path';
  if (scheme === 'file' && (authority !== '' || !/^\/(?!\/)/.test(path) || path.includes('//')))
    return 'is not file:/// with a path without empty segments';
  if (Object.hasOwn(DEFAULT_PORTS, scheme) && (authority === undefined || authority === '' || path === ''))
    return `is not ${scheme}:// with a host and a path`;
  return undefined;
}
