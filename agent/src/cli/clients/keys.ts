/** Finds keys that are written out in an entry of an MCP client's config. It gives their places, and never a value. */
import { masked } from '@chancery/shared/audit/masked.ts';
import { isJsonObject, type Json, type JsonObject } from '@chancery/shared/ground/json.ts';

/** Words of a name whose value is a key. */
const SECRET = new RegExp(
  [
    '^(?:(?:api)?keys?|(?:access|auth)?tokens?|secrets?|pass(?:word|wd|phrase|code)?s?|pwd|pat',
    'auth(?:orization)?|credentials?|cookie|bearer|signature)$',
  ].join('|'),
);
/** Words at the end of a name that says where a key is, or who has one. */
const PLACE = /^(file|path|dir|folder|url|uri|id|name|type|mode|method|header|env|var)$/;
/** What the client fills in: `${API_KEY}`, `${env:API_KEY}`, `${input:key}`. A default may be a key. */
const REFERENCE = /\$\{(?:(?:env|input|config):)?[\w.-]{1,200}\}/g;
const NO_KEY = /^(?:true|false|yes|no|none|null|on|off|\d{1,5})?$/i;
const SCHEME = /^(?:bearer|basic|token)(?:\s+|$)/i;
/** A part of a URL's path that somebody has made by chance. */
const RANDOM = /^(?=.*\d)(?=.*[A-Za-z])[\w-]{24,}$/;

/** Places in one entry, in its order: `env.GITHUB_TOKEN`, `args[3]`, `url ?key`. */
export function keysIn(entry: JsonObject): readonly string[] {
  const { args, url, ...rest } = entry;
  const places = [
    ...leavesOf(rest).flatMap(({ at, name, text }) => (isKey(name, text) ? [at] : [])),
    ...(Array.isArray(args) ? keysInArgs(args.map((each) => (typeof each === 'string' ? each : ''))) : []),
    ...(typeof url === 'string' ? keysInUrl(url) : []),
  ];
  return [...new Set(places.map((place) => masked(place)))];
}

interface Leaf {
  readonly at: string;
  readonly name: string;
  readonly text: string;
}

/** The texts of an entry at any depth, with their names. */
function leavesOf(object: JsonObject, above = ''): readonly Leaf[] {
  return Object.entries(object).flatMap(([name, value]) => leavesAt(value, name, `${above}${name}`));
}

function leavesAt(value: Json | undefined, name: string, at: string): readonly Leaf[] {
  if (typeof value === 'string') return [{ at, name, text: value }];
  if (Array.isArray(value)) return value.flatMap((each, n) => leavesAt(each, name, `${at}[${n}]`));
  return isJsonObject(value) ? leavesOf(value, `${at}.`) : [];
}

function keysInArgs(args: readonly string[]): readonly string[] {
  return args.flatMap((arg, n) => {
    const place = `args[${n}]`;
    const [, name, value] = /^(?:--?)?([\w.-]+)\s*[=:]\s*(.*)$/s.exec(arg) ?? [];
    if (isKey(name ?? '', value ?? arg) || hasShape(arg)) return [place];
    const [, flag] = /^--?([\w.-]+)$/.exec(args[n - 1] ?? '') ?? [];
    return flag !== undefined && !arg.startsWith('-') && isKey(flag, arg) ? [place] : [];
  });
}

function keysInUrl(text: string): readonly string[] {
  const url = URL.parse(text);
  if (url === null) return hasShape(text) ? ['url'] : [];
  const queries = [...url.searchParams].filter(([name, value]) => isKey(name, value));
  const path = url.pathname.split('/');
  return [
    ...(url.password === '' ? [] : ['url (password)']),
    ...queries.map(([name]) => `url ?${name}`),
    ...(hasShape(url.pathname) || path.some((part) => RANDOM.test(part)) ? ['url (path)'] : []),
  ];
}

/** By the name or by the shape of the value. What only refers to a key is none. */
function isKey(name: string, value: string): boolean {
  return hasShape(value) || (isSecretName(name) && isWrittenOut(value));
}

const hasShape = (text: string): boolean => masked(text) !== text;

function isWrittenOut(value: string): boolean {
  const literal = value.trim().replaceAll(REFERENCE, '').replace(SCHEME, '').trim();
  return !NO_KEY.test(literal);
}

/** `GITHUB_TOKEN`, `apiKey` and `X-Api-Key`, not `KEY_FILE`. */
function isSecretName(name: string): boolean {
  const words = name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
  return words.some((word) => SECRET.test(word)) && !PLACE.test(words.at(-1) ?? '');
}
