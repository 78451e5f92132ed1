/** The gRPC server: which service is offered where, and the bounds on what a caller may hold open. */

import type net from 'node:net';
import { AttestationService, IdentityService } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { TrustService } from '@chancery/proto/gen/chancery/v1/trust.ts';
import * as grpc from '@grpc/grpc-js';
import { type AttestationDeps, attest, issueX509, renew } from './attestation.ts';
import { definitionOf, type Handled, type HandlerDeps } from './handler.ts';
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
  const add = (service: object, handled: readonly Handled[]) => {
    const offered = Object.keys(service).every((name) =>
      handled.some((each) => each.name === nameOf(service, name)),
    );
    if (!offered) throw new TypeError('a service has a method without a handler');
    server.addService(definitionOf(handled), Object.fromEntries(handled.map(({ name, run }) => [name, run])));
  };
  add(AttestationService, [attest(deps)(deps)]);
  add(IdentityService, [renew(deps)(deps), issueX509(deps)(deps)]);
  add(TrustService, [watch(deps)(deps), getBundle(deps)(deps)]);
  add(
    OperatorService,
    operatorMethods(deps).map((method) => method(deps)),
  );
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

/** `renew` in the generated table is `/chancery.v1.Identity/Renew` on the wire. */
function nameOf(service: object, name: string): string | undefined {
  const path: unknown = Object.getOwnPropertyDescriptor(service, name)?.value?.path;
  return typeof path === 'string' ? path.slice(path.lastIndexOf('/') + 1) : undefined;
}
