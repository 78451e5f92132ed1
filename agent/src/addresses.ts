/** Addresses as the config writes them. */
import type { LocalEndpoint } from './mcp/connect/listener.ts';

/** `host:port`; an IPv6 host stands in brackets. */
export function hostAndPort(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}

/** `unix:PATH` or `127.0.0.1:PORT`. */
export function localEndpoint(text: string): LocalEndpoint {
  if (text.startsWith('unix:')) return { kind: 'unix', path: text.slice('unix:'.length) };
  return { kind: 'tcp', port: hostAndPort(text).port };
}
