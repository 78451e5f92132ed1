/** The gRPC server: its methods, and the bounds on what a caller may hold open. */

import type net from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { type AttestationDeps, attest, issueX509, renew } from './attestation.ts';
import { definitionOf, type HandlerDeps } from './handler.ts';
import { type OperatorDeps, operatorMethods } from './operator.ts';
import { getBundle, watch } from './trust.ts';

export interface GrpcServer {
  /** Takes over a connection whose caller is in `callers`. */
  readonly inject: (socket: net.Socket) => void;
  /** Lets calls end for that long, then cuts them. */
  close(graceMs: number): Promise<void>;
}

/** The largest message is an opening with an event log of 1 MiB. */
const MAX_MESSAGE_BYTES = 2 * 1024 * 1024;
const MAX_STREAMS_PER_CONNECTION = 256;

/** Keepalive finds an agent whose machine is gone, so that its place is free again; connections are renewed hourly. */
const OPTIONS: grpc.ServerOptions = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_concurrent_streams': MAX_STREAMS_PER_CONNECTION,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.max_connection_age_ms': 3_600_000,
  'grpc.max_connection_age_grace_ms': 30_000,
  'grpc.max_connection_idle_ms': 300_000,
  'grpc.enable_channelz': 0,
};

export function grpcServer(deps: AttestationDeps & OperatorDeps & HandlerDeps): GrpcServer {
  const server = new grpc.Server(OPTIONS);
  const handled = [
    attest(deps),
    renew(deps),
    issueX509(deps),
    watch(deps),
    getBundle(deps),
    ...operatorMethods(deps),
  ].map((method) => method(deps));
  const run = Object.fromEntries(handled.map((each) => [each.method.path, each.run]));
  server.addService(definitionOf(handled), run);
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  return {
    inject: (socket) => injector.injectConnection(socket),
    close: async (graceMs) => {
      injector.drain(graceMs);
      await new Promise<void>((resolve) => {
        const cut = setTimeout(() => server.forceShutdown(), graceMs);
        server.tryShutdown(() => {
          clearTimeout(cut);
          resolve();
        });
      });
      injector.destroy();
    },
  };
}
