/** Where a gateway serves MCP. */

/** The endpoint of a gateway in front of one server; an older release knows no other. */
export const ENDPOINT = '/mcp';

/** The path of one server of a gateway. */
export const endpointOf = (server: string): string => `${ENDPOINT}/${server}`;

/**
 * The header of every answer under the path of a server: its name. A 404 without it comes from a gateway of an older
 * release, which has read nothing of the request but its head.
 */
export const BY_NAME = 'chancery-server';
