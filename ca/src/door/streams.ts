/**
 * Bounds on what a peer can make the CA hold by HTTP/2 streams, before a handler runs: the size of headers, the size of
 * a message by method, the time until it is whole, the bytes of all unfinished ones and of all headers, and streams
 * that are opened only to be reset (RFC 9113 section 10.5).
 */
import type http2 from 'node:http2';
import { Buckets } from '@chancery/shared/door/buckets.ts';
import { Deadlines } from '@chancery/shared/door/deadlines.ts';
import type { ShareKeys } from '@chancery/shared/door/keys.ts';
import { type Weight, Weights } from '@chancery/shared/door/weights.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { headerBytes } from './headers.ts';
import { idleWatcher } from './idle.ts';
import { MessageMeter } from './message-meter.ts';

const MIB = 1024 * 1024;
/** Of peers that have proved nothing: the largest message is an opening with an event log of 1 MiB. */
const STRANGERS = {
  total: 64 * MIB,
  perConnection: 4 * MIB,
  perAddress: 8 * MIB,
  perNetwork: 16 * MIB,
  little: 2 * MIB,
  what: 'open call',
} as const;
/** Unfinished messages of certificates, by address, and of users of this machine. */
const KNOWN = { total: 128 * MIB, perConnection: 8 * MIB, perAddress: 16 * MIB, perNetwork: 32 * MIB };
/** Open streams of a stranger on one connection: an agent that joins needs two. */
const STRANGER_STREAMS = 32;
/** What the CA keeps for a stream beside its headers. */
const STREAM_BYTES = 16 * 1024;
/** Open calls of a certificate, wherever it comes from, or of a user of this machine. */
const KNOWN_CALLS = { perConnection: 8 * MIB, perAddress: 16 * MIB, what: 'open call' } as const;
/** An agent keeps one trust stream open, and now and then renews beside it. */
const CALLS_OF_CONNECTION = 2;
/** Of all open calls of certificates, those of one SPIFFE ID: all nodes may have it. */
const PART_OF_ID = 0.75;
const MESSAGE_MS = 10_000;
const AFTER_ANSWER_MS = 1_000;
/** Error codes of HTTP/2, RFC 9113 section 7. */
const NO_ERROR = 0;
const ENHANCE_YOUR_CALM = 0xb;
const RESET = 'opens streams only to reset them';
const RESETS = { perSecond: 10, burst: 300 };
/** An agent that joins makes two calls, and waits for seconds after a refusal. */
const FAILURES_OF_STRANGER = { perSecond: 2, burst: 20 };
/** Agents of one site may share an address. */
const RESETS_OF_ADDRESS = { perSecond: 40, burst: 800 };

export interface StreamPeer {
  readonly keys: ShareKeys;
  /** Of a good certificate: many nodes may come from one address, and have one ID. */
  readonly svid?: Pick<VerifiedSvid, 'id' | 'serial'> | undefined;
  /** Known: a valid certificate, or a caller on the socket for joining. */
  readonly kind: 'operator' | 'known' | 'stranger';
}

export interface MethodBounds {
  readonly maxBytes: number;
  /** Its request is one message, and no handler waits for it. */
  readonly unary: boolean;
}

export interface StreamGuards {
  /** Undefined once the connection is gone. */
  readonly peerOf: (socket: object) => StreamPeer | undefined;
  readonly boundsOf: (path: string, peer: StreamPeer) => MethodBounds;
  readonly onRefused: (refusal: IdentityError, path: string, peer: StreamPeer) => void;
  /** That peer's connection is closed for opening streams only to reset them. */
  readonly onFlood: (peer: StreamPeer) => void;
  /** As many may be open at once. */
  readonly connections: number;
  readonly clock: Clock;
}

/** Sees each stream before the server does; one that has ended by then is not shown to the server, which would fail. */
export function guardStreams(server: http2.Http2Server, guards: StreamGuards): void {
  const { clock } = guards;
  const strangers = new Weights(STRANGERS);
  const known = new Weights(KNOWN);
  const total = KNOWN.total + guards.connections * CALLS_OF_CONNECTION * STREAM_BYTES;
  const knownCalls = new Weights({ ...KNOWN_CALLS, total, perNetwork: total * PART_OF_ID });
  const addresses = new Buckets(RESETS_OF_ADDRESS, clock);
  const watchIdle = idleWatcher(clock);
  const [whole, answered] = [new Deadlines(MESSAGE_MS, clock), new Deadlines(AFTER_ANSWER_MS, clock)];
  const isStranger = (socket: object): boolean => guards.peerOf(socket)?.kind === 'stranger';
  server.on('session', (session: http2.ServerHttp2Session) => {
    const { socket } = session;
    const resets = new Buckets(isStranger(socket) ? FAILURES_OF_STRANGER : RESETS, clock);
    let over = false;
    const idle = watchIdle(session, () => isStranger(socket));
    // nghttp2 refuses further ones at once, whether the peer acknowledges the limit or not.
    if (isStranger(socket)) session.settings({ maxConcurrentStreams: STRANGER_STREAMS });
    session.removeAllListeners('stream');
    session.on('stream', (stream: http2.ServerHttp2Stream, headers, flags, raw: readonly string[]) => {
      const peer = guards.peerOf(socket);
      // By the session: a stream that was reset in the read that opened it knows its session no more.
      if (over || session.destroyed || peer === undefined) return;
      // Of a stream that is refused here nobody else hears.
      stream.on('error', () => {});
      const opened = { stream, path: headers[':path'] ?? '', peer, session };
      onReset(opened, () => {
        if (over || session.destroyed) return;
        try {
          resets.spend('a connection', RESET);
          addresses.spend(peer.svid?.serial ?? peer.keys.network ?? peer.keys.address, RESET);
        } catch (error) {
          guards.onRefused(refusalOf(error, 'rate', 'too many resets'), opened.path, peer);
          guards.onFlood(peer);
          over = true;
          session.goaway(ENHANCE_YOUR_CALM);
          // The goodbye leaves first.
          setImmediate(() => session.destroy());
        }
      });
      if (stream.destroyed) return;
      idle.begun();
      stream.once('close', () => idle.ended());
      closeAnswered(stream, answered);
      const [calls, messages] = peer.kind === 'stranger' ? [strangers, strangers] : [knownCalls, known];
      if (!weigh(opened, raw, calls, guards)) return;
      meter({ ...opened, weights: messages, whole }, guards);
      server.emit('stream', stream, headers, flags);
    });
  });
}

/**
 * Of a known peer, a stream that it reset; of a stranger, every stream that was no success, because a refusal may come
 * before the reset.
 */
function onReset({ stream, peer }: Opened, spend: () => void): void {
  if (stream.destroyed) spend();
  else
    stream.once('close', () => {
      const status = stream.sentTrailers?.['grpc-status'] ?? stream.sentHeaders?.['grpc-status'];
      const reset = stream.aborted || stream.rstCode !== NO_ERROR;
      if (reset || (peer.kind === 'stranger' && String(status) !== '0')) spend();
    });
}

/** RFC 9113 section 8.1: a stream that is answered needs no rest of its request, which may never come. */
function closeAnswered(stream: http2.ServerHttp2Stream, deadlines: Deadlines): void {
  stream.once('finish', () => {
    stream.once(
      'close',
      deadlines.start(() => stream.close(NO_ERROR)),
    );
  });
}

interface Opened {
  readonly stream: http2.ServerHttp2Stream;
  readonly path: string;
  readonly peer: StreamPeer;
  readonly session: http2.Http2Session;
}

/** Counts a stream until it is closed. False where it is refused: the server is not shown it. */
function weigh(
  { stream, path, peer, session }: Opened,
  raw: readonly string[],
  weights: Weights,
  guards: StreamGuards,
): boolean {
  const refuse = (refusal: IdentityError): void => {
    guards.onRefused(refusal, path, peer);
    stream.close(ENHANCE_YOUR_CALM);
  };
  const { keys, svid } = peer;
  const shares = svid === undefined ? keys : { address: svid.serial, network: svid.id };
  const weight = weights.open(shares, session, refuse);
  stream.once('close', () => weight.free());
  try {
    weight.add(headerBytes(raw) + STREAM_BYTES);
    return true;
  } catch (error) {
    refuse(refusalOf(error, 'message_size', 'the headers could not be read'));
    return false;
  }
}

interface Metered extends Opened {
  readonly weights: Weights;
  /** Until a message is whole. */
  readonly whole: Deadlines;
}

function meter({ stream, path, peer, session, weights, whole }: Metered, guards: StreamGuards): void {
  const { maxBytes, unary } = guards.boundsOf(path, peer);
  const messages = new MessageMeter(maxBytes);
  const refuse = (refusal: IdentityError): void => {
    done();
    guards.onRefused(refusal, path, peer);
    // No answer: grpc-js would fail by a second one. gRPC clients read this code as RESOURCE_EXHAUSTED.
    stream.close(ENHANCE_YOUR_CALM);
  };
  const { keys, svid } = peer;
  const shares = svid === undefined ? keys : { address: svid.serial, network: keys.address };
  const weight: Weight = weights.open(shares, session, refuse);
  let stop: (() => void) | undefined;
  const start = (): void => {
    // One that runs is not put off.
    stop ??= whole.start(() =>
      refuse(new IdentityError('deadline', `a message was not whole after ${whole.ms} ms`)),
    );
  };
  let counted = 0;
  const done = (): void => {
    counted = 0;
    weight.free();
    stop?.();
    stop = undefined;
  };
  if (unary) start();
  stream.on('data', (chunk: Buffer) => {
    if (stream.destroyed || stream.closed || stream.writableEnded) return;
    try {
      const { begun, unfinished } = messages.take(chunk);
      // A unary message waits, whole or not, until its sender has ended.
      const bytes = unary ? counted + chunk.length : unfinished;
      if (!unary && begun) done();
      if (bytes === 0) return;
      weight.add(bytes - counted);
      counted = bytes;
      start();
    } catch (error) {
      refuse(refusalOf(error, 'message_size', 'a message could not be read'));
    }
  });
  stream.once('end', done).once('close', done);
}
