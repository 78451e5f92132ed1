import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import type { Connections } from '@chancery/shared/door/connections.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import { type RevocationSet, revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls, serverTls } from '@chancery/shared/tls/options.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { live, revoked, TOOLS, TRIAGE, TrustDomainInMemory } from '../../../../../test/kit/mcp/world.ts';
import { secretOf } from '../../wire/claims.ts';
import type { OpenCall } from './open-call.ts';
import { Peers } from './peers.ts';

const td = new TrustDomainInMemory();
let clock: ManualClock;
let revocations: LiveValue<RevocationSet>;
let peers: Peers;
let server: tls.Server;
let clients: TLSSocket[];
let refused: string[];
beforeEach(async () => {
  clock = new ManualClock(new Date());
  revocations = live(revocationSet<Revocation>([], 0n));
  clients = [];
  refused = [];
  peers = new Peers({
    bundle: td.bundle,
    revocations,
    clock,
    connections: { of: () => ({ certify: () => true, answer: () => () => {} }) } as unknown as Connections,
    successions: { follows: () => true, onChange: () => () => {} },
    maxCallSeconds: 86_400,
    onRefused: ({ code }) => void refused.push(code),
  });
  server = tls.createServer({ ...serverTls(td.svid(TOOLS)), requestCert: true, rejectUnauthorized: false });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(async () => {
  for (const client of clients) client.destroy();
  await new Promise((resolve) => server.close(resolve));
});

/** An admitted connection, as the server sees it. */
async function connect(svid: Svid): Promise<TLSSocket> {
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'secureConnection');
  const own = { ...clientTls(svid, td.bundle.current()), checkServerIdentity: () => undefined };
  const client = tls.connect({ ...own, host: '127.0.0.1', port });
  client.on('error', () => {});
  clients.push(client);
  const [socket] = (await accepted) as [TLSSocket];
  socket.on('error', () => {});
  socket.resume();
  peers.admit(socket);
  return socket;
}

const open = (): OpenCall => ({ recordId: undefined, tool: undefined });
const code = (refusal: string) => expect.objectContaining({ code: refusal });

test('a request stands while its certificate does', async () => {
  const svid = td.svid(TRIAGE, 600);
  const socket = await connect(svid);
  peers.begin(socket, open());
  peers.ensureStands(socket);
  clock.jump(addSeconds(svid.notAfter, -1));
  peers.ensureStands(socket);
  clock.jump(svid.notAfter);
  expect(() => peers.ensureStands(socket)).toThrow(code('expired_peer'));
});

test('a request does not stand once its caller is revoked, or its connection has ended', async () => {
  const socket = await connect(td.svid(TRIAGE));
  peers.begin(socket, open());
  revocations.publish(revoked('id', TRIAGE));
  expect(() => peers.ensureStands(socket)).toThrow(code('revoked_peer'));
  socket.destroy();
  await once(socket, 'close');
  expect(() => peers.ensureStands(socket)).toThrow(code('no_peer'));
});

test('a request that is claimed with a newer certificate stands by that one, and no new one comes', async () => {
  const [old, newer] = [td.svid(TRIAGE, 600), td.svid(TRIAGE, 1_200)];
  const [socket, next] = [await connect(old), await connect(newer)];
  peers.begin(socket, open());
  peers.claim(next, secretOf(socket), { allows: () => true, record: () => {} });
  expect(() => peers.begin(socket, open())).toThrow(code('expired_peer'));
  clock.jump(old.notAfter);
  peers.ensureStands(socket);
  clock.jump(newer.notAfter);
  expect(() => peers.ensureStands(socket)).toThrow(code('expired_peer'));
});

test('a call knows why its connection was cut', async () => {
  const socket = await connect(td.svid(TRIAGE));
  const call = open();
  peers.begin(socket, call);
  peers.judgeAgain(() => false);
  expect([call.cut, refused]).toEqual([`no rule lets ${TRIAGE} reach this server any more`, ['mcp_call']]);
});
