/**
 * Which of the two eras of MCP a message belongs to, and what each revision demands of its HTTP request. The body
 * decides, and the headers must agree: otherwise a proxy that trusts `Mcp-Name` could see one tool and pass another.
 */
import { ensure } from '../ground/errors.ts';
import { isJsonObject, type JsonObject } from '../ground/json.ts';
import type { Message } from './message.ts';
import { LISTEN } from './subscription.ts';

/** A later revision may give the same words another meaning, so it is refused until it is known here. */
export const MODERN_VERSIONS: readonly string[] = ['2026-07-28'];
const FIRST_MODERN = '2026-07-28';
export const LEGACY_VERSIONS: readonly string[] = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'];
/**
 * The requests of 2026-07-28. Any other request gets the answer that the revision defines, by which a client learns
 * what it talks to. `initialize` is included because a client of both eras may begin with it.
 */
const MODERN_REQUESTS = new Set([
  'initialize',
  'server/discover',
  'tools/list',
  'tools/call',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'prompts/list',
  'prompts/get',
  'completion/complete',
  LISTEN,
  'tasks/get',
  'tasks/list',
  'tasks/result',
  'tasks/update',
  'tasks/cancel',
]);

export const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion';
export const CAPABILITIES_KEY = 'io.modelcontextprotocol/clientCapabilities';

/** The three headers that repeat the body; undefined if the request has none. */
export interface McpHeaders {
  readonly version: string | undefined;
  readonly method: string | undefined;
  readonly name: string | undefined;
}

export type Era = 'legacy' | 'modern';

/** A message is modern if it says so itself or its header does. Revisions are dates, so they compare as text. */
export function eraOf(message: Message, version: string | undefined): Era {
  const modern = claimedVersion(message) !== undefined || (version !== undefined && isModern(version));
  return modern ? 'modern' : 'legacy';
}

/**
 * The era of a message with these headers, which must be valid in it. Throws mcp_unknown for a request that its
 * revision does not have, before anything else; and mcp_version, mcp_parse, mcp_meta, mcp_headers.
 */
export function readEra(message: Message, headers: McpHeaders): Era {
  const version = claimedVersion(message) ?? headers.version;
  if (version !== undefined && MODERN_VERSIONS.includes(version)) ensureKnown(message);
  const era = eraOf(message, headers.version);
  if (era === 'modern') ensureModern(message, headers);
  else ensureLegacyVersion(headers.version);
  return era;
}

function ensureKnown(message: Message): void {
  const known = message.kind !== 'request' || MODERN_REQUESTS.has(message.method);
  ensure(known, 'mcp_unknown', 'the revision 2026-07-28 has no such method');
}

/** GET and DELETE are of the legacy era; its revisions are all before the first modern one. Throws mcp_method. */
export function ensureLegacyMethod(version: string | undefined): void {
  ensure(version === undefined || version < FIRST_MODERN, 'mcp_method', 'a modern client only posts');
}

/** Throws mcp_version. An absent header means 2025-03-26 (2025-06-18, transports, "Protocol Version Header"). */
export function ensureLegacyVersion(version: string | undefined): void {
  ensure(
    version === undefined || LEGACY_VERSIONS.includes(version),
    'mcp_version',
    'the version header is not known',
  );
}

/** 2026-07-28, transports. Throws mcp_parse, mcp_meta, mcp_version, mcp_headers. */
export function ensureModern(message: Message, headers: McpHeaders): void {
  ensure(message.kind !== 'response', 'mcp_parse', 'a client of this era posts no responses');
  const claimed = claimedVersion(message);
  if (message.kind === 'request') ensureMeta(message.params, claimed);
  const both = claimed !== undefined && headers.version !== undefined;
  ensure(!both || claimed === headers.version, 'mcp_headers', VERSIONS_DIFFER);
  const version = claimed ?? headers.version;
  ensure(
    version !== undefined && MODERN_VERSIONS.includes(version),
    'mcp_version',
    'the version is not known',
  );
  ensure(headers.version === version, 'mcp_headers', VERSIONS_DIFFER);
  if (message.kind === 'request' || headers.method !== undefined)
    ensure(headers.method === message.method, 'mcp_headers', 'Mcp-Method is not the method in the body');
  const name = nameOf(message);
  if (name !== undefined)
    ensure(
      headers.name !== undefined && decodeHeader(headers.name) === name,
      'mcp_headers',
      'Mcp-Name is not the name in the body',
    );
}

/** The headers that a modern message needs, made from the message; none for a legacy one. */
export function headersFor(message: Message): Record<string, string> {
  const claimed = claimedVersion(message);
  if (claimed === undefined || message.kind === 'response') return {};
  const name = nameOf(message);
  return {
    'mcp-protocol-version': claimed,
    'mcp-method': message.method,
    ...(name === undefined ? {} : { 'mcp-name': encodeHeader(name) }),
  };
}

/** The header that a legacy message needs: the client's own, if it sent one. */
export function legacyHeaders(version: string | undefined): Record<string, string> {
  return version === undefined ? {} : { 'mcp-protocol-version': version };
}

/** Undefined also if it is not a string: such a message is not modern, and no legacy server reads the key. */
export function claimedVersion(message: Message): string | undefined {
  const meta = message.kind === 'response' ? undefined : message.params?.['_meta'];
  const version = isJsonObject(meta) ? meta[VERSION_KEY] : undefined;
  return typeof version === 'string' ? version : undefined;
}

function isModern(version: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(version) && version >= FIRST_MODERN;
}

function ensureMeta(params: JsonObject | undefined, claimed: string | undefined): void {
  ensure(claimed !== undefined, 'mcp_meta', `_meta lacks ${VERSION_KEY}`);
  const meta = params?.['_meta'];
  ensure(
    isJsonObject(meta) && isJsonObject(meta[CAPABILITIES_KEY]),
    'mcp_meta',
    `_meta lacks ${CAPABILITIES_KEY}`,
  );
}

const VERSIONS_DIFFER = 'MCP-Protocol-Version is not the version in the body';

const NAMED_BY: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
};

function nameOf(message: Message): string | undefined {
  if (message.kind !== 'request' || !Object.hasOwn(NAMED_BY, message.method)) return undefined;
  const name = message.params?.[NAMED_BY[message.method] ?? ''];
  return typeof name === 'string' ? name : undefined;
}

const SENTINEL = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/;

/** 2026-07-28, transports, "Header values": base64 of UTF-8 where the text is no safe field value. */
function encodeHeader(value: string): string {
  const safe = /^[!-~](?:[\t -~]*[!-~])?$/.test(value) && !SENTINEL.test(value);
  return safe ? value : `=?base64?${Buffer.from(value, 'utf8').toString('base64')}?=`;
}

function decodeHeader(value: string): string | undefined {
  const encoded = SENTINEL.exec(value)?.[1];
  if (encoded === undefined) return value;
  const bytes = Buffer.from(encoded, 'base64');
  // If it is not canonical or not UTF-8, another reader may see another name, so it names no tool.
  return bytes.toString('base64') === encoded && encodeHeader(bytes.toString('utf8')) === value
    ? bytes.toString('utf8')
    : undefined;
}
