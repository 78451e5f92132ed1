/** What nearly every test of a gateway begins with: a server that the test plays, a gateway before it, and a caller. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { PassThrough } from 'node:stream';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { expect } from 'vitest';
import { type FakeServer, startFakeServer } from '../servers/server.ts';
import { connectTo, startWorld, TRIAGE, type World, type WorldOptions } from '../world/world.ts';
import { type Answer, ask } from './ask.ts';

/** The caller closes both, by `stopPlayed`. */
export async function startPlayed(options?: WorldOptions): Promise<{ server: FakeServer; world: World }> {
  const server = await startFakeServer();
  return { server, world: await startWorld(server.target, options) };
}

export async function stopPlayed(world: World, server: FakeServer): Promise<void> {
  await world.close();
  await server.close();
}

/** One message. Without an id it is a notification. */
export const rpc = (method: string, params: object = {}, id?: number | string): string =>
  JSON.stringify({ jsonrpc: '2.0', id, method, params });

export const callOf = (id: number | string, name = 'echo', more: object = {}): string =>
  rpc('tools/call', { name, ...more }, id);

export const INITIALIZE = rpc('initialize', { protocolVersion: '2025-11-25', capabilities: {} }, 0);

/** Under `_meta` of each request of the modern era. */
export const MODERN_META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
};

export const modernHeaders = (method: string, name?: string): Record<string, string> => ({
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': method,
  ...(name === undefined ? {} : { 'mcp-name': name }),
});

type Headers = Readonly<Record<string, string>>;

export interface Caller {
  post(body: string, headers?: Headers, as?: Svid): Promise<Answer>;
  /** GET or DELETE. */
  other(method: 'GET' | 'DELETE', headers?: Headers, as?: Svid): Promise<Answer>;
  /** Begins a session, and returns the header that names it. */
  begin(as?: Svid): Promise<Record<string, string>>;
  /** A GET stream, open until the test or the gateway ends it. */
  listen(
    headers?: Headers,
    as?: Svid,
  ): Promise<{ readonly response: IncomingMessage; readonly closed: Promise<unknown> }>;
}

/** A caller at the gateway of the world that the test has by then; `own` is TRIAGE's unless it is given. */
export function callerOf(world: () => World, own: () => Svid = () => world().td.svid(TRIAGE)): Caller {
  const caller: Caller = {
    post: (body, headers = {}, as = own()) => ask(world(), as, { body, headers }),
    other: (method, headers = {}, as = own()) => ask(world(), as, { method, headers }),
    async begin(as) {
      const { headers } = await caller.post(INITIALIZE, {}, as);
      return { 'mcp-session-id': String(headers['mcp-session-id']) };
    },
    async listen(headers = {}, as = own()) {
      const { td, gateway } = world();
      const tls = { ...clientTls(as, td.bundle.current()), checkServerIdentity: () => undefined };
      const where = { host: '127.0.0.1', port: gateway.port, path: '/mcp', agent: false as const };
      const outgoing = request({ ...tls, ...where, headers: { accept: 'text/event-stream', ...headers } });
      const [response] = (await once(outgoing.end(), 'response')) as [IncomingMessage];
      response.resume();
      response.on('error', () => {});
      return { response, closed: new Promise((resolve) => response.once('close', resolve)) };
    },
  };
  return caller;
}

/** What a connect says on its standard output to these lines, until there are so many answers. */
export async function stdioAnswers(
  world: World,
  written: readonly string[],
  expected: number,
): Promise<readonly string[]> {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const connect = await connectTo(world, { kind: 'stdio', input, output });
  let said = '';
  output.on('data', (chunk) => {
    said += chunk;
  });
  for (const line of written) input.write(`${line}\n`);
  await expect.poll(() => said.split('\n').length - 1).toBe(expected);
  input.end();
  await connect.done;
  return said.trim().split('\n');
}
