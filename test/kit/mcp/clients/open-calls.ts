/** Calls that stay open until a test ends them, and claims of them as no client of ours would make them. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { readClaimed, secretOf, writeClaims } from '@chancery/agent/mcp/wire/claims.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { type FakeServer, politely } from '../servers/server.ts';
import type { World } from '../world/world.ts';
import { ask } from './ask.ts';

export const serialOf = ({ chain: [leaf = new Uint8Array()] }: Svid): string =>
  hex(parseCertificate(leaf).serial);

/** Answers of calls of this tool wait; everything else is answered at once. */
export function holdCalls(server: FakeServer, tool = 'echo') {
  const waiting: (() => void)[] = [];
  server.say = (seen, res, req) => {
    const held = seen.json?.method === 'tools/call' && seen.json.params.name === tool;
    if (held) waiting.push(() => politely(seen, res, req));
    else politely(seen, res, req);
  };
  return {
    get open(): number {
      return waiting.length;
    },
    answerAll(): void {
      for (const answer of waiting.splice(0)) answer();
    },
  };
}

const CUT = 'cut' as const;

export interface RawCall {
  /** That of its connection. */
  readonly secret: Uint8Array;
  readonly socket: TLSSocket;
  /** The status of an answer with the tool's result, `failed`, or `cut`. */
  readonly outcome: Promise<number | 'failed' | 'cut'>;
}

/** One request on a connection of its own, with this key. */
export async function openCall(world: World, svid: Svid, tool = 'echo', path = '/mcp'): Promise<RawCall> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool } });
  const tls = { ...clientTls(svid, world.td.bundle.current()), checkServerIdentity: () => undefined };
  const where = {
    host: '127.0.0.1',
    port: world.gateway.port,
    path,
    method: 'POST',
    agent: false as const,
  };
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    connection: 'keep-alive',
  };
  const outgoing = request({ ...tls, ...where, headers });
  const outcome = new Promise<number | 'failed' | 'cut'>((resolve) => {
    outgoing.on('error', () => resolve(CUT));
    outgoing.on('response', (response: IncomingMessage) => {
      text(response).then(
        (body) => resolve(body.includes('"result"') ? (response.statusCode ?? 0) : 'failed'),
        () => resolve(CUT),
      );
    });
  });
  outgoing.end(body);
  const [socket] = (await once(outgoing, 'socket')) as [TLSSocket];
  await once(socket, 'secureConnect');
  return { secret: secretOf(socket), socket, outcome };
}

/** Which of them go on. */
export async function claim(
  world: World,
  svid: Svid,
  ...secrets: readonly Uint8Array[]
): Promise<readonly boolean[]> {
  const { status, text } = await ask(world, svid, { path: '/chancery/claims', body: writeClaims(secrets) });
  if (status !== 200) throw new Error(`claims gave HTTP ${status}: ${text}`);
  return readClaimed(Buffer.from(text));
}
