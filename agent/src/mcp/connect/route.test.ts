import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type PlayedGateway, playGateway } from '../../../../test/kit/mcp/world/played-gateway.ts';
import { id, live, policyFor, TOOLS, TRIAGE } from '../../../../test/kit/mcp/world/world.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { Claims } from './claims.ts';
import { Route, type RouteRequest } from './route.ts';

let gateway: PlayedGateway;
let route: Route | undefined;
beforeEach(async () => {
  gateway = await playGateway();
  route = undefined;
});
afterEach(async () => {
  route?.destroy();
  await gateway.close();
});

function routeTo(server = 'everything'): Route {
  const { td, port } = gateway;
  const svid = live(td.svid(TRIAGE));
  const claims = new Claims({
    links: new Map(),
    clock: systemClock,
    log: silentLog,
    closed: new AbortController().signal,
    svid,
    gateway: () => undefined,
    ask: () => Promise.reject(new Error('nothing is claimed here')),
  });
  const policy = live(policyFor(port, { allow: ['*'] }));
  const revocations = live(revocationSet([], 1n));
  route = new Route({ server, policy, svid, bundle: td.bundle, revocations, clock: systemClock }, claims);
  return route;
}

test('a server that the policy does not have has no route', () => {
  expect(() => routeTo('other')).toThrow(refusal('server_unknown', /^no server is registered as other$/));
});

test('a route leads to one address, where one identity answers', () => {
  const { address, identity } = routeTo();
  expect([address, identity]).toEqual([`127.0.0.1:${gateway.port}`, TOOLS]);
  const server = { kind: 'McpServer', name: 'renamed', identity, address };
  const leads = (changes: object): boolean | undefined =>
    route?.leadsTo(McpServer.parse({ ...server, ...changes }));
  expect(leads({})).toBe(true);
  expect(leads({ address: '127.0.0.1:1' })).toBe(false);
  expect(leads({ identity: id('tools/other') })).toBe(false);
  expect(route?.leadsTo(undefined)).toBe(false);
});

async function arrivedOf(asked: Partial<RouteRequest>): Promise<IncomingMessage> {
  const { method = 'POST', path = '/mcp', headers = {}, body } = asked;
  const outgoing = routeTo().request({ method, path, headers, body });
  const [response] = await once(outgoing.end(body), 'response');
  response.resume();
  const [arrived] = gateway.arrived;
  if (arrived === undefined) throw new Error('a request is expected');
  return arrived;
}

test('a request names the gateway, its headers and the length of its body in bytes', async () => {
  const { method, url, headers } = await arrivedOf({ headers: { accept: 'a/b' }, body: 'é' });
  expect([method, url]).toEqual(['POST', '/mcp']);
  expect(headers).toMatchObject({ host: `127.0.0.1:${gateway.port}`, accept: 'a/b', 'content-length': '2' });
});

test('a request without a body has no length', async () => {
  const { method, headers } = await arrivedOf({ method: 'GET', path: '/other' });
  expect(method).toBe('GET');
  expect(headers).not.toHaveProperty('content-length');
});
