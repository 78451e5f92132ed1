/** What the union says of itself. */
import type { JsonObject } from '@chancery/shared/ground/json.ts';
import { MODERN_VERSIONS } from '@chancery/shared/mcp/era.ts';
import type { Member } from './member.ts';
import { joinedInstructions } from './shown.ts';
import type { Hello } from './speech.ts';

const SERVER_INFO = { name: 'chancery', title: 'All MCP servers of this identity', version: '1' };
const CHANGES = { listChanged: true };
/** A server that has one of these may come later, so all are there from the beginning. */
const CAPABILITIES = { tools: CHANGES, prompts: CHANGES, resources: CHANGES, completions: {}, logging: {} };

/** The result of `initialize`, or of `server/discover`. */
export function aboutUnion({ era, version }: Hello, members: readonly Member[]): JsonObject {
  const told = members
    .flatMap(({ server, up }) =>
      up === undefined || up.instructions === '' ? [] : [{ server, instructions: up.instructions }],
    )
    .toSorted((a, b) => (a.server < b.server ? -1 : 1));
  const common = {
    serverInfo: SERVER_INFO,
    ...(told.length === 0 ? {} : { instructions: joinedInstructions(told) }),
  };
  if (era === 'legacy') {
    const capabilities = { ...CAPABILITIES, resources: { ...CHANGES, subscribe: true } };
    return { protocolVersion: version, ...common, capabilities };
  }
  const { logging: _, ...capabilities } = CAPABILITIES;
  return {
    supportedVersions: [...MODERN_VERSIONS],
    ...common,
    capabilities,
    _meta: { 'io.modelcontextprotocol/serverInfo': SERVER_INFO },
  };
}
