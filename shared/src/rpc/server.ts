/** A gRPC server that listens nowhere: it is handed connections whose callers are known. */
import type { Http2Server } from 'node:http2';
import type net from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { definitionOf, type Handled } from './method.ts';

export interface RpcServer {
  /** Takes over a connection whose caller is in `callers`. */
  readonly inject: (socket: net.Socket) => void;
  /** Lets calls end for that long, then cuts them. */
  close(graceMs: number): Promise<void>;
}

export interface RpcServerOptions {
  /** Bounds on connections, as grpc-js names them. */
  readonly channel: grpc.ServerOptions;
  readonly handled: readonly Handled[];
  /** Gets the HTTP/2 server before the first connection, to bound what grpc-js has no option for. */
  readonly guard: (server: Http2Server) => void;
}

/** The caller closes it. Throws TypeError where grpc-js is not as it was. */
export function rpcServer({ channel, handled, guard }: RpcServerOptions): RpcServer {
  const server = new grpc.Server(channel);
  const run = Object.fromEntries(handled.map((each) => [each.method.path, each.run]));
  server.addService(definitionOf(handled), run);
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  guard(http2ServerOf(server));
  return {
    inject: (socket) => injector.injectConnection(socket),
    close: async (graceMs) => {
      // Ends connections without calls now, and all others after the grace.
      injector.drain(graceMs);
      await new Promise<void>((resolve) => {
        // A connection that fails at this moment may never be reported as closed.
        const cut = setTimeout(resolve, graceMs);
        server.tryShutdown(() => {
          clearTimeout(cut);
          resolve();
        });
      });
    },
  };
}

/** grpc-js makes the HTTP/2 server of an injector itself. */
function http2ServerOf(server: grpc.Server): Http2Server {
  const servers: unknown = Reflect.get(server, 'http2Servers');
  const [only] = servers instanceof Map ? servers.keys() : [];
  if (typeof only?.prependListener !== 'function')
    throw new TypeError('grpc-js keeps its HTTP/2 servers elsewhere');
  return only;
}
