/** Which https server gets a request, and on which connection. */
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { type Clock, systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import type { Message } from '@chancery/shared/mcp/message.ts';
import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { serverTls } from '@chancery/shared/tls/options.ts';
import { peerChain } from '@chancery/shared/tls/peer.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { localhostTls } from '../../../../../test/kit/aws/tls.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import {
  live,
  revoked,
  STRANGER,
  TOOLS,
  TRIAGE,
  TrustDomainInMemory,
} from '../../../../../test/kit/mcp/world/world.ts';
import { makeFolder, removeFolder } from '../../../../../test/kit/processes.ts';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { rootsIn } from '../roots.ts';
import type { Back, Upstream, UpstreamTrust } from '../upstream.ts';
import { httpUpstream } from './http.ts';

const closing: (() => unknown)[] = [];
let folder: string;
beforeEach(() => {
  folder = makeFolder();
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  removeFolder(folder);
});

const ping: Message = { kind: 'request', id: 1, method: 'ping', params: undefined };
const pong = JSON.stringify({ jsonrpc: '2.0', id: 1, result: {} });

interface Served {
  readonly server: Server;
  /** The connection of each request. */
  readonly sockets: TLSSocket[];
  /** Stops answering: requests stay open. */
  hang: boolean;
}

async function serve(options: Parameters<typeof createServer>[0]): Promise<Served> {
  const sockets: TLSSocket[] = [];
  const server = createServer({ ...options, keepAliveTimeout: 30_000 }, (req, res) => {
    req.resume();
    sockets.push(req.socket as TLSSocket);
    if (!served.hang) res.writeHead(200, { 'content-type': 'application/json' }).end(pong);
  });
  const served: Served = { server, sockets, hang: false };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return served;
}

function upstreamTo({ server }: Served, trust: UpstreamTrust | undefined, host = 'localhost'): Upstream {
  const { port } = server.address() as AddressInfo;
  const url = new URL(`https://${host}:${port}/mcp`);
  const upstream = httpUpstream({ kind: 'url', url, trust }, silentLog);
  closing.push(() => upstream.close());
  return upstream;
}

/** A status, or the failure. */
function ask(upstream: Upstream): Promise<unknown> {
  return new Promise((resolve) => {
    const none = (): void => {};
    const back: Back = {
      ...{ session: none, answer: resolve, open: none, event: () => true, keepAlive: none, end: none },
      ...{ sent: none, onLost: none, answered: true, fail: resolve, holding: none, cancelled: none },
      ...{ isCancelled: false, onDrain: none, onClose: none },
    };
    upstream.send({ caller: TRIAGE, era: 'legacy', message: ping, session: undefined, headers: {} }, back);
  });
}

/** The answer to a request that the server left open. */
const answerOn = (socket: TLSSocket | undefined): void =>
  void socket?.write(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${pong.length}\r\n\r\n${pong}`,
  );

const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

describe('roots of a file', () => {
  const { ca, tls } = localhostTls();
  const other = localhostTls();
  const file = (pem = ca): string => {
    const path = join(folder, 'roots.pem');
    fs.writeFileSync(path, pem);
    return path;
  };

  test('a server that they certify is reached', async () => {
    const upstream = upstreamTo(await serve(tls), { kind: 'roots', read: rootsIn(file()) });
    expect(await ask(upstream)).toBe(200);
  });

  test.each<[string, () => UpstreamTrust | undefined, string]>([
    ['without roots of its own', () => undefined, 'localhost'],
    ['by others', () => ({ kind: 'roots', read: rootsIn(file(other.ca)) }), 'localhost'],
    ['under another name', () => ({ kind: 'roots', read: rootsIn(file()) }), '127.0.0.1'],
  ])('a server that is known %s gets nothing', async (_, trust, host) => {
    const served = await serve(tls);
    expect(await ask(upstreamTo(served, trust(), host))).toEqual(
      refusal('mcp_upstream', /could not be reached/),
    );
    expect(served.sockets).toEqual([]);
  });

  test('a file that is replaced counts for the next connection, one that is gone is an error', async () => {
    const path = file(other.ca);
    const served = await serve(tls);
    const upstream = upstreamTo(served, { kind: 'roots', read: rootsIn(path) });
    expect(await ask(upstream)).toEqual(refusal('mcp_upstream', /could not be reached/));
    fs.writeFileSync(path, ca);
    expect(await ask(upstream)).toBe(200);
    served.server.closeAllConnections();
    fs.rmSync(path);
    await expect
      .poll(() => ask(upstream))
      .toEqual(refusal('mcp_upstream', /could not be reached: .*roots\.pem: no such file/));
  });

  test.each([
    ['that is missing', undefined, /roots\.pem: no such file/],
    ['without a certificate', 'roots', /no PEM block CERTIFICATE found/],
  ])('a file %s is refused at the start', (_, pem, says) => {
    const path = pem === undefined ? join(folder, 'roots.pem') : file(pem);
    expect(() => rootsIn(path)).toThrow(refusal('config', says));
  });
});

describe('a SPIFFE ID', () => {
  const td = new TrustDomainInMemory();
  const open = async (shown: Svid = td.svid(TOOLS), clock: Clock = systemClock) => {
    const svid = live(td.svid(TRIAGE));
    const bundle = live(td.bundle.current());
    const revocations = live(revocationSet<Revocation>([], 0n));
    const served = await serve({ ...serverTls(shown), requestCert: true, rejectUnauthorized: false });
    const trust: UpstreamTrust = { kind: 'spiffe', identity: TOOLS, svid, bundle, revocations, clock };
    return { svid, bundle, revocations, served, upstream: upstreamTo(served, trust, '127.0.0.1') };
  };

  test('the server that has it is reached, and sees the certificate of the gateway', async () => {
    const { svid, served, upstream } = await open();
    expect(await ask(upstream)).toBe(200);
    const [leaf] = peerChain(served.sockets[0] as TLSSocket);
    expect(hex(leaf as Uint8Array)).toBe(hex(svid.current().chain[0] as Uint8Array));
  });

  test.each([
    [
      'another workload of the trust domain',
      () => td.svid(STRANGER),
      /the MCP server is \S+stranger, not \S+/,
    ],
    [
      'the name in another trust domain of this name',
      () => new TrustDomainInMemory().svid(TOOLS),
      /could not/,
    ],
    ['an expired certificate', () => td.svid(TOOLS, -1), /could not be reached/],
  ])('%s gets nothing', async (_, shown, says) => {
    const { served, upstream } = await open(shown());
    expect(await ask(upstream)).toEqual(refusal('mcp_upstream', says));
    expect(served.sockets).toEqual([]);
  });

  test('a revoked server gets nothing, and is cut off with its open request', async () => {
    const { revocations, served, upstream } = await open();
    served.hang = true;
    const asked = ask(upstream);
    await expect.poll(() => served.sockets.length).toBe(1);
    revocations.publish(revoked('id', TOOLS));
    expect(await asked).toEqual(refusal('mcp_outcome', /revo/));
    expect(await ask(upstream)).toEqual(refusal('mcp_upstream', /revo/));
    expect(served.sockets).toHaveLength(1);
  });

  test('a connection ends with the certificate of the server', async () => {
    const clock = new ManualClock(new Date());
    const { served, upstream } = await open(td.svid(TOOLS, 3600), clock);
    expect(await ask(upstream)).toBe(200);
    await settled();
    expect(served.sockets[0]?.destroyed).toBe(false);
    clock.advanceTo(new Date(Date.now() + 3_601_000));
    await expect.poll(() => served.sockets[0]?.destroyed).toBe(true);
    expect(await ask(upstream)).toEqual(refusal('mcp_upstream', /could not be reached/));
  });

  test('a connection in use at the end of that certificate is not used again', async () => {
    const clock = new ManualClock(new Date());
    const { served, upstream } = await open(td.svid(TOOLS, 3600), clock);
    served.hang = true;
    const asked = ask(upstream);
    await expect.poll(() => served.sockets.length).toBe(1);
    clock.advanceTo(new Date(Date.now() + 3_601_000));
    answerOn(served.sockets[0]);
    expect(await asked).toBe(200);
    await settled();
    expect(await ask(upstream)).toEqual(refusal('mcp_upstream', /could not be reached/));
  });

  test('requests share a connection until the certificate or the bundle changes', async () => {
    const { svid, bundle, served, upstream } = await open();
    const asked = async (): Promise<number> => {
      expect(await ask(upstream)).toBe(200);
      await settled();
      return new Set(served.sockets).size;
    };
    expect([await asked(), await asked()]).toEqual([1, 1]);
    svid.publish(td.svid(TRIAGE));
    expect([await asked(), await asked()]).toEqual([2, 2]);
    bundle.publish({ ...bundle.current(), sequence: 2n });
    expect([await asked(), await asked()]).toEqual([3, 3]);
  });

  test.each(['certificate', 'bundle'])(
    'a connection in use at a change of the %s is not used again',
    async (what) => {
      const { svid, bundle, served, upstream } = await open();
      served.hang = true;
      const asked = ask(upstream);
      await expect.poll(() => served.sockets.length).toBe(1);
      if (what === 'bundle') bundle.publish({ ...bundle.current(), sequence: 2n });
      else svid.publish(td.svid(TRIAGE));
      answerOn(served.sockets[0]);
      expect(await asked).toBe(200);
      await settled();
      served.hang = false;
      expect(await ask(upstream)).toBe(200);
      expect(new Set(served.sockets).size).toBe(2);
    },
  );
});
