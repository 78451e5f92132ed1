/** Which gateway a connection is made with: the one of the McpServer, with a certificate that is good. */
import { once } from 'node:events';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import { revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { serverTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { live, TOOLS, TRIAGE, TrustDomainInMemory } from '../../../../test/kit/mcp/world/world.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { Claims } from './claims.ts';
import { DialAgent, type OnConnection } from './pool.ts';

let td: TrustDomainInMemory;
let server: https.Server | undefined;
let pool: DialAgent | undefined;
beforeEach(() => {
  td = new TrustDomainInMemory();
});
afterEach(async () => {
  pool?.destroy();
  server?.close();
  server?.closeAllConnections();
  if (server?.listening) await once(server, 'close');
});

/** What a connection to a gateway with the certificate of `shown` of this trust domain comes to. */
async function connecting(shown: typeof TOOLS, by = td, list: readonly Revocation[] = []): Promise<unknown> {
  server = https.createServer({ ...serverTls(by.svid(shown)) });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const to = McpServer.parse({ kind: 'McpServer', name: 'everything', identity: TOOLS, address });
  const claims = new Claims({
    links: new Map(),
    clock: systemClock,
    log: silentLog,
    closed: new AbortController().signal,
    svid: live(td.svid(TRIAGE)),
    gateway: () => undefined,
    ask: () => Promise.reject(new Error('nothing is claimed here')),
  });
  const revocations = live(revocationSet(list, 1n));
  const sources = { svid: live(td.svid(TRIAGE)), bundle: td.bundle, revocations, clock: systemClock };
  const made = new DialAgent(to, sources, claims);
  pool = made;
  return new Promise((resolve) => {
    const onConnection: OnConnection = (outcome) => resolve(outcome);
    made.take({ onConnection, isClaim: false });
  });
}

test('the gateway of the McpServer is taken', async () => {
  expect(await connecting(TOOLS)).toBe('ready');
});

test('another workload of the trust domain at its address is not', async () => {
  expect(await connecting(TRIAGE)).toEqual(refusal('wrong_peer', /^the gateway at \S+ is \S+, not \S+$/));
});

test('a gateway whose identity is revoked is not', async () => {
  const target = { kind: 'id', value: TOOLS } as const;
  const revoked = { number: 1, target, serials: [], reason: 'keyCompromise', until: undefined } as const;
  expect(await connecting(TOOLS, td, [revoked])).toEqual(refusal('revoked_peer', /revocation 1/));
});

test('a gateway of another trust domain is not', async () => {
  expect(await connecting(TOOLS, new TrustDomainInMemory())).not.toBe('ready');
});
