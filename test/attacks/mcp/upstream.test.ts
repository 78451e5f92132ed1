/** An https server behind the gateway that is not the one that the config means: rows M225 and M226. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { UpstreamTrust } from '@chancery/agent/mcp/upstream/upstream.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { serverTls } from '@chancery/shared/tls/options.ts';
import { afterEach, expect, test } from 'vitest';
import { localhostTls } from '../../kit/aws/tls.ts';
import { callerOf, callOf, MODERN_META, modernHeaders } from '../../kit/mcp/clients/caller.ts';
import {
  live,
  revoked,
  STRANGER,
  startWorld,
  TOOLS,
  TrustDomainInMemory,
  type World,
} from '../../kit/mcp/world/world.ts';

let world: World | undefined;
let server: Server | undefined;
afterEach(async () => {
  await world?.close();
  server?.closeAllConnections();
  server?.close();
});
const { post } = callerOf(() => world as World);

let requests = 0;
async function serve(options: Parameters<typeof createServer>[0]): Promise<URL> {
  requests = 0;
  server = createServer(options, (req, res) => {
    requests += 1;
    req.resume();
    const result = { content: [{ type: 'text', text: 'done' }] };
    res.setHeader('content-type', 'application/json').end(JSON.stringify({ jsonrpc: '2.0', id: 7, result }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return new URL(`https://localhost:${(server.address() as AddressInfo).port}/mcp`);
}

async function call(url: URL, trust: UpstreamTrust | undefined, td = new TrustDomainInMemory()) {
  world = await startWorld({ kind: 'url', url, trust }, { td });
  const { json } = await post(callOf(7, 'echo', { _meta: MODERN_META }), modernHeaders('tools/call', 'echo'));
  return { answer: json.error?.message ?? json.result.content[0].text, requests };
}

const own = localhostTls();
const others = localhostTls();
const roots = (pem: string): UpstreamTrust => ({ kind: 'roots', read: () => pem });

test('M225: roots of a file: the server that they certify is called', async () => {
  expect(await call(await serve(own.tls), roots(own.ca))).toEqual({ answer: 'done', requests: 1 });
});

test.each<[string, UpstreamTrust | undefined]>([
  ['whose authority the system does not know', undefined],
  ['of another authority', roots(others.ca)],
])('M225: a server %s', async (_, trust) => {
  const found = await call(await serve(own.tls), trust);
  expect(found).toEqual({ answer: expect.stringMatching(/could not be reached/), requests: 0 });
});

test('M225: a server under another name', async () => {
  const url = await serve(own.tls);
  url.hostname = '127.0.0.1';
  const found = await call(url, roots(own.ca));
  expect(found).toEqual({ answer: expect.stringMatching(/could not be reached/), requests: 0 });
});

const td = new TrustDomainInMemory();
const spiffe = (revocations = live(revoked('serial', '01'))): UpstreamTrust => ({
  ...{ kind: 'spiffe', identity: TOOLS, svid: live(td.svid(TOOLS)), bundle: td.bundle },
  ...{ revocations, clock: systemClock },
});
const mutual = (shown: ReturnType<typeof td.svid>) =>
  serve({ ...serverTls(shown), requestCert: true, rejectUnauthorized: false });

test('M226: a SPIFFE ID: the server that has it is called', async () => {
  expect(await call(await mutual(td.svid(TOOLS)), spiffe(), td)).toEqual({ answer: 'done', requests: 1 });
});

test.each<[string, ReturnType<typeof td.svid>, UpstreamTrust]>([
  ['another workload of the trust domain', td.svid(STRANGER), spiffe()],
  ['its name by another authority', new TrustDomainInMemory().svid(TOOLS), spiffe()],
  ['its certificate after its end', td.svid(TOOLS, -1), spiffe()],
  ['its certificate after a revocation', td.svid(TOOLS), spiffe(live(revoked('id', TOOLS)))],
])('M226: %s', async (_, shown, trust) => {
  const found = await call(await mutual(shown), trust, td);
  expect(found).toEqual({ answer: expect.stringMatching(/could not be reached/), requests: 0 });
});
