/** The MCP servers that a client's config names: how the client reaches each, and which keys are written out there. */
import { masked } from '@chancery/shared/audit/masked.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '@chancery/shared/ground/json.ts';
import { getNodeValue, type Node } from 'jsonc-parser';
import { fieldOf, type JsonText } from './json-text.ts';
import { keysIn } from './keys.ts';

export interface ClientEntry {
  readonly server: string;
  /** Of Claude Code: the folder that it is for. */
  readonly project: string | null;
  /** A program's name or a URL's origin: arguments and paths may have keys in them. */
  readonly to: string;
  /** Whether it is `connect`, by name or by an address of this agent. */
  readonly guarded: boolean;
  /** Where keys are written out. */
  readonly keys: readonly string[];
}

/** What is known of `connect` here. */
export interface Guards {
  /** Names of this program, besides chancery-agent. */
  readonly programs: ReadonlySet<string>;
  /** Of 127.0.0.1, where connect listens by the agent's config. */
  readonly ports: ReadonlySet<number>;
}

/** Entries of one file. */
const MAX_ENTRIES = 1_000;
const MAX_NAME = 200;

/** All entries of a file, also those of Claude Code's projects. Throws file for more than 1,000. */
export function entriesIn({ root }: JsonText, servers: string, guards: Guards): readonly ClientEntry[] {
  const projects = fieldsOf(fieldOf(root, 'projects')).flatMap(([folder, project]) =>
    fieldsOf(fieldOf(project, servers)).map((field) => [folder, field] as const),
  );
  const all = [...fieldsOf(fieldOf(root, servers)).map((field) => [null, field] as const), ...projects];
  ensure(all.length <= MAX_ENTRIES, 'file', `${all.length} MCP servers, at most ${MAX_ENTRIES}`);
  return all.map(([project, [name, node]]) => {
    const value: Json = getNodeValue(node);
    return entryOf(name, project, isJsonObject(value) ? value : {}, guards);
  });
}

/** All of an object, also those that have one name: readers differ on which counts. */
function fieldsOf(object: Node | undefined): readonly (readonly [string, Node])[] {
  if (object?.type !== 'object') return [];
  return (object.children ?? []).flatMap(({ children: [key, value] = [] }) =>
    key === undefined || value === undefined ? [] : [[String(key.value), value] as const],
  );
}

function entryOf(name: string, project: string | null, value: JsonObject, guards: Guards): ClientEntry {
  const words = wordsOf(value);
  const url = typeof value['url'] === 'string' ? value['url'] : undefined;
  return {
    server: shown(name),
    project: project === null ? null : shown(project),
    to: shown(url === undefined ? `the program ${baseOf(words[0] ?? '')}` : originOf(url)),
    guarded: url === undefined ? isConnect(words, guards) : isOwnPort(url, guards),
    keys: keysIn(value),
  };
}

const shown = (text: string): string => masked(text).slice(0, MAX_NAME);

function wordsOf({ command, args }: JsonObject): readonly string[] {
  const given = [command, ...(Array.isArray(args) ? args : [])];
  return given.map((each) => (typeof each === 'string' ? each : ''));
}

const baseOf = (path: string): string => path.split(/[/\\]/).at(-1) ?? '';
const NODE = /^node(\.exe)?$/;
const AGENT = /^chancery-agent(\.(cmd|exe|js))?$/;

/** `chancery-agent connect ...`, or the same by Node. */
function isConnect(words: readonly string[], { programs }: Guards): boolean {
  const [program = '', verb] = NODE.test(baseOf(words[0] ?? '')) ? words.slice(1) : words;
  return (AGENT.test(baseOf(program)) || programs.has(program)) && verb === 'connect';
}

function isOwnPort(text: string, { ports }: Guards): boolean {
  const url = URL.parse(text);
  const isLoopback = url?.hostname === '127.0.0.1' || url?.hostname === 'localhost';
  return url?.protocol === 'http:' && isLoopback && ports.has(Number(url.port));
}

/** `null` is the origin of what has none, such as a file. */
function originOf(text: string): string {
  const origin = URL.parse(text)?.origin;
  return origin === undefined || origin === 'null' ? 'a URL that cannot be read' : origin;
}
