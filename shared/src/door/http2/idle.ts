/** Ends HTTP/2 connections without requests: they hold a place and two buffers for nothing. */
import type http2 from 'node:http2';
import type { Clock } from '../../ground/clock.ts';
import { Deadlines } from '../deadlines.ts';

/** For a stranger between two calls, and for every peer before the first call. */
const IDLE_MS = 10_000;
/** For frames that are on their way when GOAWAY is sent. */
const GOODBYE_MS = 1_000;
const NO_ERROR = 0;

export interface IdleWatch {
  /** A stream is open; call `ended` when it is closed. */
  begun(): void;
  /** A stream has closed. */
  ended(): void;
}

/** `isStranger` is asked each time that the last stream ends. */
export type WatchIdle = (session: http2.ServerHttp2Session, isStranger: () => boolean) => IdleWatch;

/** Watches each session that is passed to it until the session closes. Needs no closing. */
export function idleWatcher(clock: Clock): WatchIdle {
  const [idle, goodbye] = [new Deadlines(IDLE_MS, clock), new Deadlines(GOODBYE_MS, clock)];
  return (session, isStranger) => {
    let streams = 0;
    let stop = (): void => {};
    const wait = (): void => {
      stop = idle.start(() => {
        if (session.destroyed) return;
        // Streams that the peer has just opened are refused, so a client opens them again elsewhere (RFC 9113, 6.8).
        session.goaway(NO_ERROR);
        stop = goodbye.start(() => session.destroy());
      });
    };
    session.once('close', () => stop());
    wait();
    return {
      begun: () => {
        streams += 1;
        stop();
      },
      ended: () => {
        streams -= 1;
        if (streams === 0 && !session.destroyed && isStranger()) wait();
      },
    };
  };
}
