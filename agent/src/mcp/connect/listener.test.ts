import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http, { type IncomingHttpHeaders, type OutgoingHttpHeaders, type RequestListener } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { serverTls } from '@chancery/shared/tls/options.ts';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { live, policyFor, TOOLS, TRIAGE, TrustDomainInMemory } from '../../../../test/kit/mcp/world.ts';
import { Dialler } from './dial.ts';
import { type Listener, startListener } from './listener.ts';

const td = new TrustDomainInMemory();
const directory = mkdtempSync(join(tmpdir(), 'connect-'));
const path = join(directory, 'mcp.sock');
let gateway: https.Server;
let dialler: Dialler;
let listener: Listener;
/** What the gateway was sent. */
let sent: IncomingHttpHeaders;
let answer: RequestListener;
beforeAll(async () => {
  gateway = https.createServer(serverTls(td.svid(TOOLS)), (req, res) => {
    sent = req.headers;
    req.resume().once('end', () => answer(req, res));
  });
  await once(gateway.listen(0, '127.0.0.1'), 'listening');
  const { port } = gateway.address() as AddressInfo;
  dialler = new Dialler({
    server: 'everything',
    svid: live(td.svid(TRIAGE)),
    bundle: td.bundle,
    policy: live(policyFor(port, { allow: ['*'] })),
    revocations: live(revocationSet([], 1n)),
    clock: systemClock,
    log: silentLog,
  });
  listener = await startListener({
    local: { kind: 'unix', path },
    dialler,
    uid: process.getuid?.() ?? 0,
    platform: process.platform,
    clock: systemClock,
    log: silentLog,
    maxRequestBytes: 1024,
  });
});
afterAll(async () => {
  dialler?.close();
  await listener?.close();
  gateway.closeAllConnections();
  await new Promise((resolve) => gateway.close(resolve));
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  sent = {};
  answer = (_req, res) => void res.end('{}');
});

/** The headers of the answer to a client that sends these. */
async function post(headers: OutgoingHttpHeaders): Promise<IncomingHttpHeaders> {
  const outgoing = http.request({ socketPath: path, path: '/mcp', method: 'POST', agent: false, headers });
  outgoing.end('{}');
  const [response] = (await once(outgoing, 'response')) as [http.IncomingMessage];
  response.resume();
  await once(response, 'close');
  return response.headers;
}

const FOR_THE_SERVER = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  'last-event-id': '7',
  'mcp-session-id': 's',
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': 'tools/call',
  'mcp-name': 'echo',
  'mcp-param-city': 'Rome',
};

test('of a client, the gateway gets what the protocol needs and nothing that is secret', async () => {
  await post({
    ...FOR_THE_SERVER,
    authorization: 'Bearer x',
    'proxy-authorization': 'Basic x',
    cookie: 'a=b',
    'chancery-assertion': 'x',
    'x-forwarded-client-cert': 'URI=spiffe://prod.example/admin',
    'x-forwarded-for': '10.0.0.1',
    'user-agent': 'x',
    'accept-encoding': 'gzip',
    'mcp-other': 'x',
  });
  const { host, connection, ...rest } = sent;
  expect(rest).toEqual({ ...FOR_THE_SERVER, 'content-length': '2' });
});

test('of an answer, the client gets what the protocol needs and nothing else', async () => {
  const needed = {
    'content-type': 'application/json',
    'content-length': '2',
    'cache-control': 'no-store',
    'mcp-session-id': 's',
    allow: 'POST',
  };
  answer = (_req, res) => {
    const odd = { 'set-cookie': 'a=b', server: 'x', location: '/x', 'www-authenticate': 'Bearer', date: 'x' };
    res.writeHead(200, { ...needed, ...odd, 'access-control-allow-origin': '*' }).end('{}');
  };
  const { connection, 'keep-alive': _kept, ...rest } = await post(FOR_THE_SERVER);
  expect(rest).toEqual(needed);
});
