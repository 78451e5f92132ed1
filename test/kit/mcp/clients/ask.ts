/** One request straight to a gateway, over mutual TLS, by a client that follows no rules of ours. */
import { type RequestOptions, request } from 'node:https';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import type { RpcJson } from '../servers/server.ts';
import type { World } from '../world/world.ts';

export interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
  readonly json: RpcJson;
}

/** One HTTPS request straight to the gateway, as `svid`. */
export function ask(
  world: World,
  svid: Svid | undefined,
  {
    body,
    headers = {},
    ...options
  }: RequestOptions & { body?: string | Uint8Array; headers?: Record<string, string | string[]> },
): Promise<Answer> {
  const own = () => ({ ...clientTls(svid, world.td.bundle.current()), checkServerIdentity: () => undefined });
  // A test that brings its agent has put its certificate there: Node keeps no connection alive for one given here.
  const tls = options.agent === undefined ? own() : {};
  const where = {
    host: '127.0.0.1',
    port: world.gateway.port,
    path: '/mcp',
    method: 'POST',
    agent: false as const,
  };
  const standard = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...tls, ...where, headers: { ...standard, ...headers }, ...options });
    outgoing.on('error', reject);
    outgoing.on('response', async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString();
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: jsonOf(text) });
    });
    outgoing.end(body);
  });
}

/** The JSON of a body, or of an event stream's last message. */
function jsonOf(text: string): RpcJson {
  const data =
    text
      .match(/^data: (\{.*)$/gm)
      ?.at(-1)
      ?.slice('data: '.length) ?? text;
  try {
    return JSON.parse(data);
  } catch {
    // Not JSON: a test that reads on fails there.
    return undefined as unknown as RpcJson;
  }
}
