import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { after, NOW } from '../../../../test/kit/certificates.ts';
import { framed } from '../../../../test/kit/flood/stranger.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { guardStreams, type StreamBounds, type StreamPeer } from './streams.ts';

const MIB = 1024 * 1024;
const CALM = http2.constants.NGHTTP2_ENHANCE_YOUR_CALM;
/** With empty SETTINGS, RFC 9113 sections 3.4 and 6.5. */
const PREFACE = Buffer.from(
  `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${'\0'.repeat(3)}\x04${'\0'.repeat(5)}`,
  'latin1',
);
const BOUNDS: StreamBounds = {
  strangers: { total: 64 * MIB, perConnection: 4 * MIB, perAddress: 8 * MIB, perNetwork: 16 * MIB },
  messages: { total: 128 * MIB, perConnection: 8 * MIB, perAddress: 16 * MIB, perNetwork: 32 * MIB },
  calls: {
    total: 160 * MIB,
    perConnection: 8 * MIB,
    perAddress: 16 * MIB,
    perNetwork: 120 * MIB,
    what: 'open call',
  },
  strangerStreams: 32,
  failures: { perSecond: 2, burst: 20 },
  resets: { perSecond: 10, burst: 300 },
  resetsOfAll: { perSecond: 40, burst: 800 },
};
/** By where they come from; all of them count as one address. */
const STRANGER = '127.0.0.2';
const SVIDS: Readonly<Record<string, StreamPeer['svid']>> = Object.fromEntries(
  ['127.0.0.4', '127.0.0.5'].map((from) => [
    from,
    { id: 'spiffe://prod.example/node', serial: `serial of ${from}` },
  ]),
);

let clock: ManualClock;
let server: http2.Http2Server;
let seen: number;
let refused: string[];
let floods: number;
const reasons = new Set<string>();
const sessions: http2.ClientHttp2Session[] = [];

beforeEach(async () => {
  clock = new ManualClock(NOW);
  [seen, floods, refused] = [0, 0, []];
  reasons.clear();
  server = http2.createServer();
  server.on('stream', (stream: http2.ServerHttp2Stream, { ':path': path }) => {
    seen += 1;
    stream.on('error', () => {});
    if (path === '/d') stream.session?.destroy();
    if (path === '/refused') stream.respond({ 'grpc-status': '7' }, { endStream: true });
  });
  guardStreams(server, {
    clock,
    bounds: BOUNDS,
    libraryBytes: 2 * MIB,
    peerOf: (socket) => {
      const address = (socket as net.Socket).remoteAddress ?? '';
      return { keys: { address: 'site' }, isStranger: address === STRANGER, svid: SVIDS[address] };
    },
    boundsOf: (path) => ({ maxBytes: 2 * MIB, unary: path === '/unary' }),
    onRefused: ({ code, message }, _, { isStranger }) => {
      refused.push(`${isStranger ? 'stranger' : 'known'}: ${code}`);
      reasons.add(message);
    },
    onFlood: () => {
      floods += 1;
    },
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  const closed = once(server, 'close');
  server.close();
  await closed;
});

function dial(localAddress: string): net.Socket {
  const { port } = server.address() as net.AddressInfo;
  return net.connect({ host: '127.0.0.1', port, localAddress }).on('error', () => {});
}

function from(localAddress: string, socket = dial(localAddress)): http2.ClientHttp2Session {
  const session = http2.connect('http://ca.example', { createConnection: () => socket });
  sessions.push(session.on('error', () => {}));
  return session;
}

function call(session: http2.ClientHttp2Session, path: string, body?: Uint8Array): http2.ClientHttp2Stream {
  const stream = session.request({ ':method': 'POST', ':path': path }, { endStream: false });
  stream.on('error', () => {}).resume();
  if (body !== undefined) stream.write(body);
  return stream;
}

const connectionsOf = (of: http2.Http2Server): Promise<number> =>
  new Promise((resolve, reject) => {
    of.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  });

/** Messages of 1 MiB without their last byte; the answer says how many are still open. */
function unfinished(address: string, count: number): () => number {
  const session = from(address);
  const body = framed(new Uint8Array(MIB - 64 * 1024), MIB);
  const streams = Array.from({ length: count }, () => call(session, '/stream', body));
  return () => streams.filter(({ closed }) => !closed).length;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('bytes of unfinished messages', () => {
  test('of strangers and of known peers at one address are counted apart', async () => {
    const strangers = [unfinished('127.0.0.2', 6), unfinished('127.0.0.2', 6), unfinished('127.0.0.2', 6)];
    const openStrangers = (): number => strangers.reduce((sum, open) => sum + open(), 0);
    // 8 MiB of an address, which has the whole share of one.
    await vi.waitFor(() => expect(openStrangers()).toBeLessThanOrEqual(8), { timeout: 60_000 });
    const before = openStrangers();
    const known = unfinished('127.0.0.3', 7);
    await vi.waitFor(() => expect(seen).toBe(18 + 7), { timeout: 60_000 });
    const [ping] = [from('127.0.0.3')];
    await new Promise((resolve) => ping?.ping(resolve));
    expect([openStrangers(), known()]).toEqual([before, 7]);
    expect(new Set(refused)).toEqual(new Set(['stranger: rate']));
  });

  test('of a known peer may be twice those of a stranger, on one connection', async () => {
    const [stranger, known] = [unfinished('127.0.0.2', 12), unfinished('127.0.0.3', 12)];
    await vi.waitFor(() => expect([stranger(), known()]).toEqual([4, 8]), { timeout: 60_000 });
  });
});

describe('time', () => {
  const at = async (seconds: number): Promise<void> => {
    clock.advanceTo(after(seconds));
    await turn();
  };

  test('a message has 10 s to be whole, by the clock that is given', async () => {
    const unary = call(from('127.0.0.2'), '/unary');
    const stream = call(from('127.0.0.2'), '/stream', framed(new Uint8Array(5), 10));
    await vi.waitFor(() => expect(seen).toBe(2));
    await vi.waitFor(() => expect(clock.sleeping).toBeGreaterThan(0));
    await at(9.9);
    expect(refused).toEqual([]);
    await vi.waitFor(async () => {
      await at(10);
      expect([unary.rstCode, stream.rstCode]).toEqual([CALM, CALM]);
    });
    expect(refused).toEqual(['stranger: deadline', 'stranger: deadline']);
  });

  test('a connection on which nothing was ever asked ends after 10 s', async () => {
    const session = from('127.0.0.3');
    const farewell = vi.fn();
    session.on('goaway', farewell);
    await vi.waitFor(() => expect(clock.sleeping).toBe(1));
    await at(9.9);
    expect(farewell).not.toHaveBeenCalled();
    await at(10);
    await vi.waitFor(() => expect(farewell).toHaveBeenCalledOnce());
    await at(11);
    await vi.waitFor(() => expect(session.closed).toBe(true));
  });

  test('a stranger’s connection ends 10 s after its last call, and not while another is open', async () => {
    const session = from(STRANGER);
    const farewell = vi.fn();
    session.on('goaway', farewell);
    const open = call(session, '/stream');
    const ended = call(session, '/refused');
    ended.end();
    await once(ended, 'close');
    await new Promise((resolve) => session.ping(resolve));
    await at(20);
    await new Promise((resolve) => session.ping(resolve));
    expect(farewell).not.toHaveBeenCalled();
    open.close(http2.constants.NGHTTP2_CANCEL);
    await new Promise((resolve) => session.ping(resolve));
    await at(29.9);
    await new Promise((resolve) => session.ping(resolve));
    expect(farewell).not.toHaveBeenCalled();
    await at(30);
    await vi.waitFor(() => expect(farewell).toHaveBeenCalledOnce());
  });

  test('a call that was answered is closed 1 s later, though its request never ends', async () => {
    const answered = call(from('127.0.0.3'), '/refused');
    await once(answered, 'end');
    await vi.waitFor(() => expect(clock.sleeping).toBe(2));
    await at(0.9);
    await turn();
    expect(answered.closed).toBe(false);
    await at(1);
    await vi.waitFor(() => expect(answered.closed).toBe(true));
    expect(answered.rstCode).toBe(http2.constants.NGHTTP2_NO_ERROR);
  });

  test('and one whose peer ignores the goodbye ends 1 s after it', async () => {
    const peer = dial('127.0.0.3');
    peer.write(PREFACE);
    const said: Buffer[] = [];
    peer.on('data', (chunk) => void said.push(Buffer.from(chunk)));
    const closed = new Promise((resolve) => peer.once('close', resolve));
    await vi.waitFor(() => expect(clock.sleeping).toBe(1));
    const before = (): number => Buffer.concat(said).length;
    await vi.waitFor(() => expect(before()).toBeGreaterThan(9));
    const bytes = before();
    await at(10);
    await vi.waitFor(() => expect(before()).toBeGreaterThan(bytes));
    await at(11);
    await closed;
  });
});

test('a peer that opens streams only to reset them is disconnected, and reported once', async () => {
  const session = from('127.0.0.2');
  const closed = new Promise((resolve) => session.once('close', resolve));
  const more = (): void => {
    if (session.destroyed || session.closed) return;
    for (let n = 0; n < 50; n += 1) call(session, '/stream').close(http2.constants.NGHTTP2_CANCEL);
    session.ping(more);
  };
  session.once('connect', more);
  await closed;
  expect(floods).toBe(1);
});

describe('streams of one read', () => {
  const frame = (type: number, stream: number, payload: readonly number[]): Buffer => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head.writeUInt8(type, 3);
    head.writeUInt8(type === HEADERS ? END_HEADERS : 0, 4);
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, Buffer.from(payload)]);
  };
  const [HEADERS, RST_STREAM, END_HEADERS] = [1, 3, 4];
  /** :method POST, :scheme http, :authority "a" and a path of one letter (RFC 7541 section 6 and appendix A). */
  const opened = (stream: number, path = 'a'): Buffer =>
    frame(HEADERS, stream, [0x83, 0x86, 0x41, 1, 0x61, 0x44, 2, 0x2f, path.charCodeAt(0)]);
  const reset = (stream: number): Buffer => frame(RST_STREAM, stream, [0, 0, 0, 8]);
  async function sent(frames: readonly Buffer[]): Promise<void> {
    const peer = dial(STRANGER).resume();
    const closed = once(peer, 'close');
    peer.write(Buffer.concat([PREFACE, ...frames]));
    await closed;
  }

  const numbers = Array.from({ length: 25 }, (_, n) => 2 * n + 1);
  test.each([
    ['each before the next one', numbers.flatMap((n) => [opened(n), reset(n)]), 21],
    ['all together', [...numbers.map((n) => opened(n)), ...numbers.map(reset)], 25],
  ])(
    'I87 are refused after too many that were reset, %s, and none fails the process',
    async (_, frames, shown) => {
      await sent([...frames, opened(101)]);
      expect([floods, refused, seen]).toEqual([1, ['stranger: rate'], shown]);
    },
  );

  test('are not shown to the server after one that ended the connection', async () => {
    await sent([opened(1, 'd'), opened(3)]);
    expect([floods, seen]).toEqual([0, 1]);
  });
});

test('a peer that leaves with calls open resets none of them', async () => {
  const socket = dial(STRANGER);
  const session = from(STRANGER, socket);
  for (let n = 0; n < 30; n += 1) call(session, '/stream');
  await vi.waitFor(() => expect(seen).toBe(30));
  socket.resetAndDestroy();
  await vi.waitFor(async () => expect(await connectionsOf(server)).toBe(0));
  expect([floods, refused]).toEqual([0, []]);
});

test.each([
  ['a stranger', 20, '127.0.0.2'],
  ['a known peer', 300, '127.0.0.3'],
])('%s may reset %i streams at once on one connection', async (_, allowed, address) => {
  const session = from(address);
  const closed = new Promise((resolve) => session.once('close', resolve));
  const reset = async (): Promise<void> => {
    call(session, '/stream').close(http2.constants.NGHTTP2_CANCEL);
    await new Promise((resolve) => session.ping(resolve));
  };
  for (let n = 0; n < allowed; n += 1) await reset();
  expect([floods, session.closed]).toEqual([0, false]);
  void reset().catch(() => {});
  await closed;
  expect(floods).toBe(1);
});

test('an address may reset 800 streams at once and 40 in each second, over however many connections', async () => {
  const reset = async (session: http2.ClientHttp2Session): Promise<void> => {
    call(session, '/stream').close(http2.constants.NGHTTP2_CANCEL);
    await new Promise((resolve) => session.ping(resolve));
  };
  const resetMany = async (count: number): Promise<void> => {
    const session = from('127.0.0.3');
    for (let n = 0; n < count; n += 1) await reset(session);
  };
  const oneMore = async (): Promise<void> => {
    const session = from('127.0.0.3');
    const closed = new Promise((resolve) => session.once('close', resolve));
    void reset(session).catch(() => {});
    await closed;
  };
  for (const count of [290, 290, 220]) await resetMany(count);
  expect(floods).toBe(0);
  await oneMore();
  expect(floods).toBe(1);
  // What is spent there is nothing to a certified node of the same address.
  const node = from('127.0.0.4');
  await once(node, 'connect');
  for (let n = 0; n < 5; n += 1) await reset(node);
  await turn();
  expect([floods, node.closed]).toEqual([1, false]);
  clock.jump(after(1));
  await resetMany(40);
  expect(floods).toBe(1);
  await oneMore();
  expect(floods).toBe(2);
});

test.each([
  ['a stranger', 1, '127.0.0.2'],
  ['a known peer', 0, '127.0.0.3'],
])('failed calls of %s: its connection is closed %i times after 20 of them', async (_, times, address) => {
  const session = from(address);
  for (let n = 0; n <= 20; n += 1) {
    const answered = call(session, '/refused').end();
    await new Promise((resolve) => answered.once('close', resolve));
  }
  await turn();
  expect(floods).toBe(times);
});

describe('open calls', () => {
  const CONNECTIONS = 3;
  /** With their headers, three times as many are more than the share of one address or certificate. */
  const CALLS = 400;
  const openFrom = (address: string): void => {
    for (let n = 0; n < CONNECTIONS; n += 1) {
      const session = from(address);
      session.settings({ maxConcurrentStreams: CALLS });
      for (let each = 0; each < CALLS; each += 1) call(session, '/stream');
    }
  };

  test('I98 of one certificate have one share, whatever its connections', async () => {
    openFrom('127.0.0.4');
    await vi.waitFor(() => expect(seen + refused.length).toBe(CONNECTIONS * CALLS), { timeout: 60_000 });
    expect(seen).toBeGreaterThan(900);
    expect(seen).toBeLessThan(1_024);
    expect([...reasons]).toEqual(['the open calls of serial of 127.0.0.4 take too many bytes']);
  });

  test('I98 of other certificates at one address are counted apart', async () => {
    openFrom('127.0.0.4');
    await vi.waitFor(() => expect(seen + refused.length).toBe(CONNECTIONS * CALLS), { timeout: 60_000 });
    const before = seen;
    const session = from('127.0.0.5');
    for (let each = 0; each < CALLS; each += 1) call(session, '/stream');
    await vi.waitFor(() => expect(seen).toBe(before + CALLS), { timeout: 60_000 });
  });
});
