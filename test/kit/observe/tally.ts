/** What the HTTP servers of this process were asked since a moment, told by node:http itself. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage, Server } from 'node:http';

export interface Tally {
  readonly requests: number;
  /** Those on which the requests came. */
  readonly connections: number;
  /** From each request's headers to the end of its answer, together. */
  readonly ms: number;
}

export interface Tallies {
  /** Of the server at this address. */
  of(url: string): Tally;
  /** Stops to count. */
  end(): void;
}

interface Counting {
  requests: number;
  readonly connections: Set<object>;
  ms: number;
}

/** What both channels tell. */
interface Told {
  readonly request: IncomingMessage;
  readonly server: Server;
}

const START = 'http.server.request.start';
const FINISH = 'http.server.response.finish';

/** Counts all servers from now on. */
export function tallyServers(): Tallies {
  const byPort = new Map<number, Counting>();
  const begun = new WeakMap<IncomingMessage, number>();
  const countingOf = (port: number): Counting => {
    const counting = byPort.get(port) ?? { requests: 0, connections: new Set(), ms: 0 };
    byPort.set(port, counting);
    return counting;
  };
  const started = (message: unknown): void => {
    const { request, server } = message as Told;
    const counting = countingOf(portOf(server));
    counting.requests += 1;
    counting.connections.add(request.socket);
    begun.set(request, performance.now());
  };
  const finished = (message: unknown): void => {
    const { request, server } = message as Told;
    const since = begun.get(request);
    if (since !== undefined) countingOf(portOf(server)).ms += performance.now() - since;
  };
  subscribe(START, started);
  subscribe(FINISH, finished);
  return {
    of: (url) => {
      const { requests, connections, ms } = countingOf(Number(new URL(url).port));
      return { requests, connections: connections.size, ms };
    },
    end: () => {
      unsubscribe(START, started);
      unsubscribe(FINISH, finished);
    },
  };
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
