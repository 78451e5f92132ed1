/**
 * The names under which one endpoint shows what several MCP servers have. Each begins with the name of its server, and
 * no name of one server can be that of another: what stands before the first `__` (or `+`) is fixed by the registry.
 * Decisions are about the server and its own name, never about these.
 */
import { createHash } from 'node:crypto';

/** Some clients refuse a tool with a longer name, or the whole session that has one. */
export const MAX_SHOWN = 64;
const BETWEEN = '__';
/** A longer name of a server is cut, so that there is room for the tool. */
const MAX_SERVER = 24;
const SERVER_DIGEST = 8;
const OWN_DIGEST = 10;
const PLAIN = /^[A-Za-z0-9_-]+$/;

/**
 * What stands for a server before `__`. Names of resources have no `_`, so a cut one, which has one, is not the name of
 * another server.
 */
export function serverPart(server: string): string {
  if (server.length <= MAX_SERVER) return server;
  const digest = digestOf(server).slice(0, SERVER_DIGEST);
  return `${server.slice(0, MAX_SERVER - SERVER_DIGEST - 1)}_${digest}`;
}

/**
 * `SERVER__NAME` for a tool or a prompt. Where that has more than 64 characters, or others than letters, digits, `_`
 * and `-`, the end is a digest of the whole name. It depends on nothing else, so it stays.
 */
export function shownName(server: string, name: string): string {
  const part = serverPart(server) + BETWEEN;
  const room = MAX_SHOWN - part.length;
  if (name.length <= room && PLAIN.test(name)) return part + name;
  const digest = digestOf(`${server}\0${name}`).slice(0, OWN_DIGEST);
  const kept = name.replace(/[^A-Za-z0-9_-]/g, '-').slice(0, room - OWN_DIGEST - 1);
  return `${part}${kept}_${digest}`;
}

/** What `shownName` begins with, which is `serverPart`. Undefined if it is no such name. */
export function partOf(shown: string): string | undefined {
  const end = shown.indexOf(BETWEEN);
  return end > 0 ? shown.slice(0, end) : undefined;
}

/**
 * The URI of a resource, or of a template, at a server: `mcp-SERVER+URI`, whose scheme is valid (RFC 3986 section 3.1).
 * Clients look for the scheme `ui:`, so there the server stands before the host: `ui://SERVER__HOST`.
 */
export function shownUri(server: string, uri: string): string {
  if (uri.startsWith(UI)) return `${UI}${server}${BETWEEN}${uri.slice(UI.length)}`;
  return `${SCHEME}${server}+${uri}`;
}

/** The server of a shown URI, and its own URI there. Undefined if it is no such URI. */
export function ownUri(shown: string): { readonly server: string; readonly uri: string } | undefined {
  const ui = shown.startsWith(UI);
  const [begin, mark] = ui ? [UI, BETWEEN] : [SCHEME, '+'];
  const end = shown.indexOf(mark, begin.length);
  if (!shown.startsWith(begin) || end < 0) return undefined;
  const [server, rest] = [shown.slice(begin.length, end), shown.slice(end + mark.length)];
  return SERVER.test(server) ? { server, uri: ui ? UI + rest : rest } : undefined;
}

/** Two servers, or two tools of a server, of which one endpoint could show one only. */
export interface Twins {
  readonly server: string;
  readonly tool: string | undefined;
  /** What has the same shown name. */
  readonly says: string;
}

/** Finds shown names that are not unique among these servers and the names of their tools. */
export function twinsAmong(servers: readonly { name: string; tools: readonly string[] }[]): readonly Twins[] {
  const parts = new Map<string, string>();
  const found: Twins[] = [];
  for (const { name: server, tools } of servers) {
    const part = serverPart(server);
    const other = parts.get(part);
    if (other === undefined) parts.set(part, server);
    else if (other !== server)
      found.push({ server, tool: undefined, says: `${server} and ${other} are both shown as ${part}` });
    const own = new Map<string, string>();
    for (const tool of tools) {
      const shown = shownName(server, tool);
      const twin = own.get(shown);
      if (twin === undefined) own.set(shown, tool);
      else found.push({ server, tool, says: `${tool} and ${twin} are both shown as ${shown}` });
    }
  }
  return found;
}

const UI = 'ui://';
const SCHEME = 'mcp-';
const SERVER = /^[a-z0-9-]+$/;

function digestOf(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}
