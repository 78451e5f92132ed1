import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import type { CertifiedPeer, Connections } from '@chancery/shared/door/connections.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import { type RevocationSet, revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { clientTls, serverTls } from '@chancery/shared/tls/options.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { serialOf } from '../../../../../test/kit/mcp/clients/open-calls.ts';
import {
  id,
  live,
  revoked,
  TOOLS,
  TRIAGE,
  TrustDomainInMemory,
} from '../../../../../test/kit/mcp/world/world.ts';
import { secretOf } from '../../wire/claims.ts';
import type { OpenCall } from './open-call.ts';
import { Peers } from './peers.ts';

const td = new TrustDomainInMemory();
const OTHER = id('agents/other');
let bundle: LiveValue<Bundle>;
/** Whether there is a place for one more, and whether the CA has linked the certificates of a caller. */
let hasPlace: boolean;
let isLinked: boolean;
let maxCallSeconds: number;
/** What tells a connection that its place went to another. */
let lose: CertifiedPeer['onLost'];
/** Answers that are owed, as the places of the connections know it. */
let owed: number;
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
  bundle = live(td.bundle.current());
  [hasPlace, isLinked, owed, maxCallSeconds] = [true, true, 0, 86_400];
  const answer = () => {
    owed += 1;
    return () => {
      owed -= 1;
    };
  };
  const certify = ({ onLost }: CertifiedPeer): boolean => {
    lose = onLost;
    return hasPlace;
  };
  peers = new Peers({
    bundle,
    revocations,
    clock,
    connections: { of: () => ({ certify, answer }) } as unknown as Connections,
    successions: { follows: () => isLinked, onChange: () => () => {} },
    get maxCallSeconds() {
      return () => maxCallSeconds;
    },
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
async function connect(svid: Svid | undefined): Promise<TLSSocket> {
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

const ECHO = { kind: 'tool', name: 'echo' } as const;
const open = (): OpenCall => ({
  server: 'everything',
  recordId: undefined,
  what: undefined,
  session: undefined,
  source: undefined,
});
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

describe('a connection', () => {
  test.each<[string, () => Svid | undefined]>([
    ['without a certificate', () => undefined],
    ['with one of another authority', () => new TrustDomainInMemory().svid(TRIAGE)],
  ])('%s is refused, and nothing is asked on it', async (_name, svid) => {
    const socket = await connect(svid());
    expect([refused.length, socket.destroyed, clock.sleeping]).toEqual([1, true, 0]);
    expect(() => peers.of(socket)).toThrow(code('no_peer'));
    expect(() => peers.begin(socket, open())).toThrow(code('no_peer'));
    expect(peers.whoIs(socket)).toEqual({ address: expect.any(String) });
  });

  test('of a caller that is revoked is refused', async () => {
    revocations.publish(revoked('id', TRIAGE));
    const socket = await connect(td.svid(TRIAGE));
    expect([refused, socket.destroyed]).toEqual([['revoked_peer'], true]);
  });

  test('without a place is not admitted', async () => {
    hasPlace = false;
    const socket = await connect(td.svid(TRIAGE));
    expect(() => peers.of(socket)).toThrow(code('no_peer'));
    expect(clock.sleeping).toBe(0);
  });

  test('is its caller’s for as long as the certificate is valid and not revoked', async () => {
    const svid = td.svid(TRIAGE, 600);
    const socket = await connect(svid);
    expect([peers.of(socket).id, peers.whoIs(socket)]).toEqual([TRIAGE, peers.of(socket)]);
    clock.jump(svid.notAfter);
    expect(() => peers.of(socket)).toThrow(code('expired_peer'));
    clock.jump(addSeconds(svid.notAfter, -1));
    revocations.publish(revoked('serial', serialOf(svid)));
    expect(() => peers.of(socket)).toThrow(code('revoked_peer'));
  });

  test('is cut when its certificate ends, without a refusal', async () => {
    const svid = td.svid(TRIAGE, 600);
    const socket = await connect(svid);
    const call = open();
    peers.begin(socket, call);
    const closed = once(socket, 'close');
    clock.advanceTo(svid.notAfter);
    await closed;
    expect([call.cut, refused]).toEqual([`the certificate of ${TRIAGE} has expired`, []]);
    expect(clock.sleeping).toBe(0);
  });

  test('that loses its place is refused', async () => {
    const socket = await connect(td.svid(TRIAGE));
    lose?.(new IdentityError('rate', 'gave way'));
    expect([refused, socket.destroyed]).toEqual([['rate'], true]);
  });

  test('is owed an answer from the beginning of a request to its end', async () => {
    const socket = await connect(td.svid(TRIAGE));
    const ended = peers.begin(socket, open());
    expect(owed).toBe(1);
    ended();
    expect([owed, socket.destroyed]).toEqual([0, false]);
  });
});

describe('of all connections', () => {
  let mine: TLSSocket;
  let theirs: TLSSocket;
  beforeEach(async () => {
    [mine, theirs] = [await connect(td.svid(TRIAGE)), await connect(td.svid(OTHER))];
  });
  const isCut = (): readonly boolean[] => [mine.destroyed, theirs.destroyed];

  test('a revocation cuts those of its target', () => {
    revocations.publish(revoked('id', TRIAGE));
    peers.cutRevoked();
    expect([isCut(), refused]).toEqual([[true, false], ['revoked_peer']]);
  });

  test('a policy cuts those of callers that it does not let in', () => {
    peers.judgeAgain((caller) => caller.id === OTHER);
    expect([isCut(), refused]).toEqual([[true, false], ['mcp_call']]);
  });

  test('a policy cuts those with a call of a tool that it denies', () => {
    for (const socket of [mine, theirs]) peers.begin(socket, { ...open(), what: ECHO });
    peers.judgeAgain((caller, call) => call === undefined || caller.id === OTHER);
    expect([isCut(), refused]).toEqual([[true, false], ['mcp_call']]);
  });

  test('a bundle cuts those whose authority it does not have', () => {
    peers.verifyAgain();
    expect(isCut()).toEqual([false, false]);
    bundle.publish({ ...new TrustDomainInMemory().bundle.current(), sequence: 2n });
    peers.verifyAgain();
    expect([isCut(), refused.length]).toEqual([[true, true], 2]);
  });

  test('one that has ended already is refused no more', () => {
    mine.destroy();
    revocations.publish(revoked('id', TRIAGE));
    peers.cutRevoked();
    expect(refused).toEqual([]);
  });

  test('the end of the gateway cuts all, and their calls know it', () => {
    const call = open();
    peers.begin(mine, call);
    peers.cutAll();
    expect([isCut(), call.cut, refused]).toEqual([[true, true], 'the gateway stopped', []]);
  });
});

describe('a claim', () => {
  let old: Svid;
  let newer: Svid;
  let socket: TLSSocket;
  let next: TLSSocket;
  let recorded: unknown[];
  const terms = {
    allows: (_: VerifiedSvid, call: OpenCall | undefined) => call?.what?.name !== 'denied',
    record: ({ serial }: { serial: string }, call: OpenCall) => void recorded.push([serial, call.what?.name]),
  };
  beforeEach(async () => {
    [old, newer] = [td.svid(TRIAGE, 600), td.svid(TRIAGE, 1_200)];
    [socket, next, recorded] = [await connect(old), await connect(newer), []];
  });
  const claim = (by = next): void => peers.claim(by, secretOf(socket), terms);

  test('is recorded for each call, before it goes on', () => {
    for (const tool of ['a', 'b']) peers.begin(socket, { ...open(), what: { kind: 'tool', name: tool } });
    claim();
    expect(recorded).toEqual(['a', 'b'].map((tool) => [serialOf(newer), tool]));
    claim();
    expect(recorded).toHaveLength(2);
  });

  test('of a connection without an open call, of another secret or another caller is refused', async () => {
    expect(() => claim()).toThrow(code('mcp_call'));
    peers.begin(socket, open());
    expect(() => peers.claim(next, new Uint8Array(32), terms)).toThrow(code('mcp_call'));
    const other = await connect(td.svid(OTHER));
    expect(() => claim(other)).toThrow(code('mcp_call'));
    expect(recorded).toEqual([]);
  });

  test('on a connection that has ended is refused', async () => {
    peers.begin(socket, open());
    next.destroy();
    await once(next, 'close');
    expect(() => claim()).toThrow(code('no_peer'));
  });

  test.each<[string, () => void, string]>([
    ['the old certificate has ended', () => clock.jump(old.notAfter), 'expired_peer'],
    [
      'the old certificate is revoked',
      () => revocations.publish(revoked('serial', serialOf(old))),
      'revoked_peer',
    ],
    ['the new one is revoked', () => revocations.publish(revoked('serial', serialOf(newer))), 'revoked_peer'],
    ['the CA has not linked them', () => (isLinked = false), 'mcp_call'],
  ])('is refused where %s', (_name, change, refusal) => {
    peers.begin(socket, open());
    change();
    expect(() => claim()).toThrow(code(refusal));
    expect(recorded).toEqual([]);
  });

  test('is refused where the policy denies the tool by now', () => {
    peers.begin(socket, { ...open(), what: { kind: 'tool', name: 'denied' } });
    expect(() => claim()).toThrow(code('mcp_call'));
  });

  test('that came before the link of the CA is judged when that comes', async () => {
    peers.begin(socket, { ...open(), what: ECHO });
    isLinked = false;
    expect(() => claim()).toThrow(code('mcp_call'));
    await peers.claimAgain(() => terms);
    expect(recorded).toEqual([]);
    isLinked = true;
    await peers.claimAgain(() => terms);
    expect(recorded).toEqual([[serialOf(newer), 'echo']]);
  });

  test('that is judged again and refused ends nothing, and a failure of ours is told', async () => {
    peers.begin(socket, { ...open(), what: ECHO });
    isLinked = false;
    expect(() => claim()).toThrow(code('mcp_call'));
    isLinked = true;
    revocations.publish(revoked('serial', serialOf(newer)));
    await peers.claimAgain(() => terms);
    expect([recorded, socket.destroyed]).toEqual([[], false]);
    revocations.publish(revocationSet<Revocation>([], 2n));
    isLinked = false;
    expect(() => claim()).toThrow(code('mcp_call'));
    isLinked = true;
    const failing = { ...terms, record: () => expect.fail('the disk is full') };
    await expect(peers.claimAgain(() => failing)).rejects.toThrow('the disk is full');
  });

  test('is judged again by the bundle of then', async () => {
    peers.begin(socket, open());
    isLinked = false;
    expect(() => claim()).toThrow(code('mcp_call'));
    isLinked = true;
    bundle.publish({ ...new TrustDomainInMemory().bundle.current(), sequence: 2n });
    await peers.claimAgain(() => terms);
    expect(recorded).toEqual([]);
  });

  test('of a call that has ended meanwhile is not judged', async () => {
    const ended = peers.begin(socket, open());
    isLinked = false;
    expect(() => claim()).toThrow(code('mcp_call'));
    ended();
    isLinked = true;
    await peers.claimAgain(() => terms);
    expect(recorded).toEqual([]);
    // Its connection is still that of the old certificate, on which new requests come.
    expect(peers.of(socket).serial).toBe(serialOf(old));
  });

  test.each(['old', 'new'])(
    'puts the end of the call off, and revoking the %s certificate cuts it',
    async (which) => {
      peers.begin(socket, open());
      claim();
      clock.advanceTo(old.notAfter);
      await Promise.resolve();
      expect(socket.destroyed).toBe(false);
      revocations.publish(revoked('serial', serialOf(which === 'old' ? old : newer)));
      peers.cutRevoked();
      expect([socket.destroyed, next.destroyed]).toEqual([true, which === 'new']);
    },
  );

  test('puts it off to the longest time of a call at most', async () => {
    maxCallSeconds = 900;
    const begun = clock.now();
    peers.begin(socket, open());
    claim();
    clock.advanceTo(addSeconds(begun, 899));
    await Promise.resolve();
    expect(socket.destroyed).toBe(false);
    const gone = once(socket, 'close');
    clock.advanceTo(addSeconds(begun, 900));
    await gone;
    expect(refused).toEqual(['mcp_call']);
  });

  test('lets the connection end with its last call', async () => {
    const [one, two] = [peers.begin(socket, open()), peers.begin(socket, open())];
    claim();
    one();
    expect(socket.writableEnded).toBe(false);
    two();
    expect(socket.writableEnded).toBe(true);
  });
});
