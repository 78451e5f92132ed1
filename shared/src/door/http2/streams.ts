/**
 * Bounds on what a peer can make a gRPC server hold by HTTP/2 streams, before a handler runs: the size of headers, the
 * size of a message by method, the time until it is whole, the bytes of all unfinished messages and of all headers, and
 * streams that are opened only to be reset (RFC 9113 section 10.5).
 */
import type http2 from 'node:http2';
import type { Clock } from '../../ground/clock.ts';
import { IdentityError, refusalOf } from '../../ground/errors.ts';
import { type BucketSettings, Buckets } from '../buckets.ts';
import { Deadlines } from '../deadlines.ts';
import type { ShareKeys } from '../keys.ts';
import { type Weight, type WeightSettings, Weights } from '../weights.ts';
import { headerBytes } from './headers.ts';
import { idleWatcher } from './idle.ts';
import { MessageMeter } from './message-meter.ts';

/** The memory of a stream beside its headers. */
export const STREAM_BYTES = 16 * 1024;
const MESSAGE_MS = 10_000;
const AFTER_ANSWER_MS = 1_000;
/** Error codes of HTTP/2, RFC 9113 section 7. */
const NO_ERROR = 0;
const ENHANCE_YOUR_CALM = 0xb;
const RESET = 'opens streams only to reset them';

/** What all peers of one server may make it hold. */
export interface StreamBounds {
  /** Unfinished messages and open calls of peers that have proved nothing. */
  readonly strangers: WeightSettings;
  /** Unfinished messages of the others. A peer with a certificate counts by it within its address. */
  readonly messages: WeightSettings;
  /** Open calls of the others. A peer with a certificate counts by it within its SPIFFE ID. */
  readonly calls: WeightSettings;
  /** Open streams of a stranger on one connection. */
  readonly strangerStreams: number;
  /** Calls of a stranger that fail on one connection, before it is closed. */
  readonly failures: BucketSettings;
  /** Streams that another peer resets on one connection, before it is closed. */
  readonly resets: BucketSettings;
  /** The same of one certificate, network or address, over all its connections. */
  readonly resetsOfAll: BucketSettings;
}

export interface StreamPeer {
  readonly keys: ShareKeys;
  /** Of a good certificate: many nodes may come from one address, and have one SPIFFE ID. */
  readonly svid?: { readonly id: string; readonly serial: string } | undefined;
  /** It has proved nothing. */
  readonly isStranger: boolean;
}

export interface MethodBounds {
  readonly maxBytes: number;
  /** The request is one message, which no handler waits for. */
  readonly unary: boolean;
}

/** `P` is what a door knows of its peers. */
export interface StreamGuards<P extends StreamPeer> {
  readonly bounds: StreamBounds;
  /** What grpc-js takes of any method: it answers a larger message itself. */
  readonly libraryBytes: number;
  /** Undefined once the connection is gone. */
  readonly peerOf: (socket: object) => P | undefined;
  readonly boundsOf: (path: string, peer: P) => MethodBounds;
  readonly onRefused: (refusal: IdentityError, path: string, peer: P) => void;
  /** Called when a peer's connection is closed because it opens streams only to reset them. */
  readonly onFlood: (peer: P) => void;
  readonly clock: Clock;
}

/**
 * Checks each stream before the server gets it. A stream that has already ended is not given to the server, which would
 * fail.
 */
export function guardStreams<P extends StreamPeer>(server: http2.Http2Server, guards: StreamGuards<P>): void {
  const { bounds, clock } = guards;
  const strangers = new Weights(bounds.strangers);
  const [messages, calls] = [new Weights(bounds.messages), new Weights(bounds.calls)];
  const addresses = new Buckets(bounds.resetsOfAll, clock);
  const watchIdle = idleWatcher(clock);
  const [whole, answered] = [new Deadlines(MESSAGE_MS, clock), new Deadlines(AFTER_ANSWER_MS, clock)];
  const isStranger = (socket: object): boolean => guards.peerOf(socket)?.isStranger === true;
  server.on('session', (session: http2.ServerHttp2Session) => {
    const { socket } = session;
    const resets = new Buckets(isStranger(socket) ? bounds.failures : bounds.resets, clock);
    let over = false;
    const idle = watchIdle(session, () => isStranger(socket));
    // nghttp2 refuses further ones at once, whether the peer acknowledges the limit or not.
    if (isStranger(socket)) session.settings({ maxConcurrentStreams: bounds.strangerStreams });
    session.removeAllListeners('stream');
    session.on('stream', (stream: http2.ServerHttp2Stream, headers, flags, raw: readonly string[]) => {
      // Nothing else handles errors of a stream that is refused here, and an unhandled one ends the process.
      stream.on('error', () => {});
      const peer = guards.peerOf(socket);
      if (over || peer === undefined) return;
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
          // Lets GOAWAY leave first.
          setImmediate(() => session.destroy());
        }
      });
      if (stream.destroyed) return;
      idle.begun();
      stream.once('close', () => idle.ended());
      closeAnswered(stream, answered);
      if (!weigh(opened, raw, peer.isStranger ? strangers : calls, guards)) return;
      meter({ ...opened, weights: peer.isStranger ? strangers : messages, whole }, guards);
      server.emit('stream', stream, headers, flags);
    });
  });
}

/**
 * Counts a stream that a known peer reset; for a stranger, every stream that failed, because the refusal may come
 * before the reset.
 */
function onReset({ stream, peer }: Opened<StreamPeer>, spend: () => void): void {
  if (stream.destroyed) spend();
  else
    stream.once('close', () => {
      const status = stream.sentTrailers?.['grpc-status'] ?? stream.sentHeaders?.['grpc-status'];
      const reset = stream.aborted || stream.rstCode !== NO_ERROR;
      if (reset || (peer.isStranger && String(status) !== '0')) spend();
    });
}

/** Closes an answered stream (RFC 9113 section 8.1): the rest of its request is not needed and may never come. */
function closeAnswered(stream: http2.ServerHttp2Stream, deadlines: Deadlines): void {
  stream.once('finish', () => {
    stream.once(
      'close',
      deadlines.start(() => stream.close(NO_ERROR)),
    );
  });
}

interface Opened<P> {
  readonly stream: http2.ServerHttp2Stream;
  readonly path: string;
  readonly peer: P;
  readonly session: http2.Http2Session;
}

/** Counts a stream until it is closed. False if it is refused: the server is not shown it. */
function weigh<P extends StreamPeer>(
  { stream, path, peer, session }: Opened<P>,
  raw: readonly string[],
  weights: Weights,
  guards: StreamGuards<P>,
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

interface Metered<P> extends Opened<P> {
  readonly weights: Weights;
  /** Until a message is whole. */
  readonly whole: Deadlines;
}

function meter<P extends StreamPeer>(
  { stream, path, peer, session, weights, whole }: Metered<P>,
  guards: StreamGuards<P>,
): void {
  const { maxBytes, unary } = guards.boundsOf(path, peer);
  const messages = new MessageMeter({ maxBytes, libraryBytes: guards.libraryBytes });
  const refuse = (refusal: IdentityError): void => {
    done();
    guards.onRefused(refusal, path, peer);
    // Sends no answer, because grpc-js would fail on a second one. gRPC clients read this code as RESOURCE_EXHAUSTED.
    stream.close(ENHANCE_YOUR_CALM);
  };
  const { keys, svid } = peer;
  const shares = svid === undefined ? keys : { address: svid.serial, network: keys.address };
  const weight: Weight = weights.open(shares, session, refuse);
  let stop: (() => void) | undefined;
  const start = (): void => {
    // A running limit is not extended.
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
      // A unary message is held until its sender ends the request, even if it is complete.
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
