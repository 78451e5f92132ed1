/** What differs between the eras of MCP, for a client of one and a server of the other. */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject } from '@chancery/shared/ground/json.ts';
import {
  CAPABILITIES_KEY,
  claimedVersion,
  type Era,
  LEGACY_VERSIONS,
  MODERN_VERSIONS,
  VERSION_KEY,
} from '@chancery/shared/mcp/era.ts';
import { errorResponse, type Id, type Request, type Response } from '@chancery/shared/mcp/message.ts';
import type { Asked } from './link.ts';

const CLIENT_KEY = 'io.modelcontextprotocol/clientInfo';
/** Keys under `_meta` that only the modern era has. */
const MODERN_KEYS = 'io.modelcontextprotocol/';
const NEWEST_LEGACY = LEGACY_VERSIONS.at(-1) ?? '';
const MODERN = MODERN_VERSIONS.at(-1) ?? '';

/** What a client says of itself, as each server is told it. */
export interface Hello {
  readonly era: Era;
  /** Of the client's era. */
  readonly version: string;
  readonly clientInfo: JsonObject;
  readonly capabilities: JsonObject;
}

/** From the first request of a client. */
export function helloOf(request: Request): Hello {
  const { params = {} } = request;
  const meta = params['_meta'];
  const [era, from, names] =
    claimedVersion(request) === undefined
      ? (['legacy', params, ['clientInfo', 'capabilities']] as const)
      : (['modern', isJsonObject(meta) ? meta : {}, [CLIENT_KEY, CAPABILITIES_KEY]] as const);
  const [clientInfo, capabilities] = names.map((name) => from[name]);
  const asked = era === 'legacy' ? params['protocolVersion'] : claimedVersion(request);
  const known: readonly string[] = era === 'legacy' ? LEGACY_VERSIONS : MODERN_VERSIONS;
  return {
    era,
    version: typeof asked === 'string' && known.includes(asked) ? asked : (known.at(-1) ?? ''),
    clientInfo: isJsonObject(clientInfo) ? clientInfo : { name: 'chancery-agent', version: '0' },
    capabilities: isJsonObject(capabilities) ? capabilities : {},
  };
}

/** The request that greets a server of this era. A server of the other era cannot ask this client for anything. */
export function greeting(hello: Hello, era: Era): Asked {
  if (era === 'modern') return { method: 'server/discover', params: inEra(undefined, hello, era) };
  const same = hello.era === era;
  return {
    method: 'initialize',
    params: {
      protocolVersion: same ? hello.version : NEWEST_LEGACY,
      capabilities: same ? hello.capabilities : {},
      clientInfo: hello.clientInfo,
    },
  };
}

/** The parameters of a client's request, or of our own, for a server of `era`. */
export function inEra(params: JsonObject | undefined, hello: Hello, era: Era): JsonObject | undefined {
  const given = params?.['_meta'];
  const meta = isJsonObject(given) ? given : {};
  if (era === 'modern') {
    const own = {
      [VERSION_KEY]: MODERN,
      [CAPABILITIES_KEY]: hello.era === era ? (meta[CAPABILITIES_KEY] ?? hello.capabilities) : {},
      [CLIENT_KEY]: meta[CLIENT_KEY] ?? hello.clientInfo,
    };
    return { ...params, _meta: { ...meta, ...own } };
  }
  if (given === undefined) return params;
  const kept = Object.entries(meta).filter(([key]) => !key.startsWith(MODERN_KEYS));
  return { ...params, _meta: Object.fromEntries(kept) };
}

/** The answer to a request of another version (2026-07-28, "Protocol Version Negotiation"). */
export function refused(id: Id, requested: string): Response {
  const data = { supported: [...MODERN_VERSIONS], requested };
  return errorResponse(id, { code: -32022, message: 'the protocol version is not supported', data });
}

const CACHEABLE = /^(resources\/read|server\/discover)$|\/list$/;
const CACHE = ['resultType', 'ttlMs', 'cacheScope'];

/** A result for a client of `era`. Throws mcp_upstream where a legacy client cannot go on. */
export function resultInEra(result: JsonObject, method: string, era: Era): JsonObject {
  if (era === 'modern') {
    const cached = CACHEABLE.test(method) ? { ttlMs: 0, cacheScope: 'private' } : {};
    return { resultType: 'complete', ...cached, ...result };
  }
  const { resultType = 'complete' } = result;
  if (resultType !== 'complete')
    throw new IdentityError(
      'mcp_upstream',
      `the MCP server answers with ${JSON.stringify(resultType)}, which this client's revision of MCP lacks`,
    );
  return Object.fromEntries(Object.entries(result).filter(([key]) => !CACHE.includes(key)));
}

/** Our own codes, and the gateway's: nothing that the other era could change. */
export function isOfOtherEra({ error }: Response): boolean {
  if (error === undefined) return false;
  const { code, message } = error;
  return code > OWN_CODES[0] || code < OWN_CODES[1] || /\bHTTP 4\d\d\b/.test(message);
}

/** Whether an error says that no answer of the server came. */
export const isAway = ({ error }: Response): boolean => error !== undefined && AWAY.has(error.code);
/** mcp_upstream and mcp_outcome, unavailable, server_unknown, no valid certificate. */
const AWAY = new Set([-31_502, -31_503, -31_404, -31_401]);
const OWN_CODES = [-31_000, -31_999] as const;
