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
  /** Of the server at this address; of those requests whose path matches. */
  of(url: string, path?: RegExp): Tally;
  /** Stops to count. */
  end(): void;
}

interface Counting {
  requests: number;
  readonly connections: Set<object>;
  ms: number;
}

/** What both channels tell. */
interface Traced {
  readonly request: IncomingMessage;
  readonly server: Server;
}

const START = 'http.server.request.start';
const FINISH = 'http.server.response.finish';

/** Counts all servers from now on. */
export function tallyServers(): Tallies {
  /** By port and path. */
  const all = new Map<string, Counting>();
  const begun = new WeakMap<IncomingMessage, number>();
  const countingOf = ({ server, request }: Traced): Counting => {
    const key = `${portOf(server)} ${request.url?.split('?')[0]}`;
    const counting = all.get(key) ?? { requests: 0, connections: new Set(), ms: 0 };
    all.set(key, counting);
    return counting;
  };
  const started = (message: unknown): void => {
    const told = message as Traced;
    const counting = countingOf(told);
    counting.requests += 1;
    counting.connections.add(told.request.socket);
    begun.set(told.request, performance.now());
  };
  const finished = (message: unknown): void => {
    const told = message as Traced;
    const since = begun.get(told.request);
    if (since !== undefined) countingOf(told).ms += performance.now() - since;
  };
  subscribe(START, started);
  subscribe(FINISH, finished);
  return {
    of: (url, path = /^/) => {
      const own = `${new URL(url).port} `;
      const found = [...all].flatMap(([key, counting]) =>
        key.startsWith(own) && path.test(key.slice(own.length)) ? [counting] : [],
      );
      return {
        requests: found.reduce((sum, { requests }) => sum + requests, 0),
        connections: new Set(found.flatMap(({ connections }) => [...connections])).size,
        ms: found.reduce((sum, { ms }) => sum + ms, 0),
      };
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
