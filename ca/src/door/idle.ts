/** Ends HTTP/2 connections on which nothing is asked: they hold a place and two buffers for nothing. */
import type http2 from 'node:http2';

/** A stranger's connection between two calls, and anybody's before the first one. */
const IDLE_MS = 10_000;
/** For what is on its way in both directions after the goodbye. */
const GOODBYE_MS = 1_000;
const NO_ERROR = 0;

export interface IdleWatch {
  /** A stream is open; call `ended` when it is closed. */
  begun(): void;
  ended(): void;
}

/** `isStranger` is asked each time that the last stream ends. */
export function watchIdle(session: http2.ServerHttp2Session, isStranger: () => boolean): IdleWatch {
  let streams = 0;
  let timer: NodeJS.Timeout | undefined;
  const wait = (): void => {
    timer = setTimeout(() => {
      if (session.destroyed) return;
      // Streams that the peer has just opened are refused, so a client opens them again elsewhere (RFC 9113, 6.8).
      session.goaway(NO_ERROR);
      timer = setTimeout(() => session.destroy(), GOODBYE_MS).unref();
    }, IDLE_MS).unref();
  };
  session.once('close', () => clearTimeout(timer));
  wait();
  return {
    begun: () => {
      streams += 1;
      clearTimeout(timer);
    },
    ended: () => {
      streams -= 1;
      if (streams === 0 && !session.destroyed && isStranger()) wait();
    },
  };
}
