import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import { NOT_ATTESTED } from '@chancery/shared/spiffe/attested.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { gatePeer, type OpenGate, openGate } from '../../../../../test/kit/mcp/world/open-gate.ts';
import { STRANGER } from '../../../../../test/kit/mcp/world/world.ts';
import { refusal } from '../../../../../test/kit/refusal.ts';
import type { Peers } from '../peers/peers.ts';
import { type Asking, begunBy, nothingSeen, type Seen, sessionOf } from './inbound.ts';

let seen: Seen;
/** What became of the request, as its connection knows it. */
let known: string[];
const peers = {
  begin(_socket, call) {
    known.push(call === seen ? 'begun' : 'another call');
    return () => void known.push('ended');
  },
  ensureStands: () => void known.push('stands'),
} as Partial<Peers> as Peers;
beforeEach(() => {
  seen = nothingSeen(new Socket());
  known = [];
});

const inboundOn = (socket: Socket) => {
  const req = new IncomingMessage(socket);
  return { req, res: new ServerResponse(req), peer: gatePeer };
};

describe('a request', () => {
  test('is open at its connection until it is closed', async () => {
    const inbound = inboundOn(new TLSSocket(new Socket()));
    begunBy(peers, inbound, seen).begin();
    expect(known).toEqual(['begun']);
    inbound.res.destroy();
    await setImmediate();
    expect(known).toEqual(['begun', 'ended']);
  });

  test('whose client has left already is open no longer', async () => {
    const inbound = inboundOn(new TLSSocket(new Socket()));
    inbound.res.destroy();
    await setImmediate();
    begunBy(peers, inbound, seen).begin();
    expect(known).toEqual(['begun', 'ended']);
  });

  test('stands while its connection does, and was not cut', () => {
    const begun = begunBy(peers, inboundOn(new TLSSocket(new Socket())), seen);
    begun.ensureStands();
    expect(known).toEqual(['stands']);
    seen.cut = 'its caller is revoked';
    expect(() => begun.ensureStands()).toThrow(refusal('mcp_call', /^the connection was cut: its caller is/));
  });

  test('without TLS neither begins nor stands', () => {
    const begun = begunBy(peers, inboundOn(new Socket()), seen);
    for (const ask of [begun.begin, begun.ensureStands])
      expect(ask).toThrow(refusal('no_peer', /without TLS/));
    expect(known).toEqual([]);
  });
});

test('a session is found for the caller that it is of, by its header', async () => {
  const open: OpenGate = await openGate();
  const session = open.session();
  const asking = (named: string | undefined, peer: VerifiedSvid = gatePeer) =>
    ({ peer, head: { session: named } }) as Asking;
  expect(sessionOf(open.gate, asking(session.id))).toBe(session);
  expect(sessionOf(open.gate, asking(undefined))).toBeUndefined();
  const other = { id: STRANGER, serial: '02', attested: NOT_ATTESTED } as VerifiedSvid;
  for (const wrong of [asking('x'), asking(''), asking(session.id, other)])
    expect(() => sessionOf(open.gate, wrong)).toThrow(refusal('mcp_session', /./));
  await open.close();
});
