/** One request whose answer a test reads while it comes. */
import { once } from 'node:events';
import { request } from 'node:https';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import type { RpcJson } from '../servers/server.ts';
import type { World } from '../world/world.ts';

export interface OpenStream {
  /** All messages so far. */
  readonly messages: RpcJson[];
  /** The message at this place, once it is there. */
  message(at?: number): Promise<RpcJson>;
  /** When the answer is over, however it ends. */
  readonly closed: Promise<unknown>;
  /** Leaves without a word. */
  leave(): void;
}

/** A POST of `body`, or a GET where there is none. Resolves when the answer has begun. */
export async function openStream(
  world: World,
  svid: Svid,
  headers: Readonly<Record<string, string>>,
  body?: string,
): Promise<OpenStream> {
  const tls = { ...clientTls(svid, world.td.bundle.current()), checkServerIdentity: () => undefined };
  const where = { host: '127.0.0.1', port: world.gateway.port, path: '/mcp', agent: false as const };
  const sent = body === undefined ? {} : { 'content-type': 'application/json' };
  const accept = body === undefined ? 'text/event-stream' : 'application/json, text/event-stream';
  const outgoing = request({
    ...{ ...tls, ...where },
    method: body === undefined ? 'GET' : 'POST',
    headers: { accept, ...sent, ...headers },
  });
  outgoing.on('error', () => {});
  outgoing.end(body);
  const [response] = await once(outgoing, 'response');
  const messages: RpcJson[] = [];
  let text = '';
  response.on('error', () => {});
  response.on('data', (chunk: Buffer) => {
    const lines = (text + chunk).split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      const json = line.replace(/^data: ?/, '').trim();
      if (json.startsWith('{')) messages.push(JSON.parse(json));
    }
  });
  const closed = new Promise((resolve) => response.once('close', resolve));
  const come = async (at: number): Promise<RpcJson> => {
    while (messages[at] === undefined)
      await Promise.race([
        once(response, 'data'),
        closed.then(() => {
          if (messages[at] === undefined)
            throw new Error(`the answer ended after ${messages.length} messages`);
        }),
      ]);
    return messages[at] as RpcJson;
  };
  return { messages, message: (at = 0) => come(at), closed, leave: () => outgoing.destroy() };
}
