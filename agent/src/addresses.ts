/** Addresses as the config writes them. */
import { hostAndPort } from '@chancery/shared/text/address.ts';
import type { LocalEndpoint } from './mcp/connect/listener.ts';

/** `unix:PATH` or `127.0.0.1:PORT`. */
export function localEndpoint(text: string): LocalEndpoint {
  if (text.startsWith('unix:')) return { kind: 'unix', path: text.slice('unix:'.length) };
  return { kind: 'tcp', port: hostAndPort(text).port };
}
