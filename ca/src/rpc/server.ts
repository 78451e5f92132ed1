/** The gRPC server: its methods, and the bounds on what a caller may hold open. */

import type { Http2Server } from 'node:http2';
import type net from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { guardStreams, type MethodBounds, type StreamPeer } from '../door/streams.ts';
import { type AttestationDeps, attest, issueX509, renew } from './attestation.ts';
import { limitKeys, slowKeys, standingOf } from './caller.ts';
import { definitionOf, type Handled, type HandlerDeps, tellRefusal } from './handler.ts';
import { type OperatorDeps, operatorMethods } from './operator.ts';
import { getBundle, watch } from './trust.ts';

export interface GrpcServer {
  /** Takes over a connection whose caller is in `callers`. */
  readonly inject: (socket: net.Socket) => void;
  /** Lets calls end for that long, then cuts them. */
  close(graceMs: number): Promise<void>;
}

const MAX_STREAMS_PER_CONNECTION = 256;
/** Resources of an operator, and evidence of several platforms. */
const MAX_MESSAGE_BYTES = 2 * 1024 * 1024;
/** An opening with an event log of 1 MiB. */
const OPENING_BYTES = 1280 * 1024;
/** 64 CSRs. */
const CSRS_BYTES = 256 * 1024;
const OTHER_BYTES = 16 * 1024;
/** The largest request of a method by who asks; of the others, OTHER_BYTES. */
const BOUNDS: Readonly<Record<string, Partial<Record<StreamPeer['kind'], number>>>> = {
  Attest: { stranger: OPENING_BYTES, known: MAX_MESSAGE_BYTES, operator: MAX_MESSAGE_BYTES },
  Renew: { known: MAX_MESSAGE_BYTES },
  IssueX509: { known: CSRS_BYTES },
  Apply: { operator: MAX_MESSAGE_BYTES },
  Diff: { operator: MAX_MESSAGE_BYTES },
  Explain: { operator: MAX_MESSAGE_BYTES },
};
/** Millions of bytes of headers and of answers that nobody reads, per connection; new streams are refused beyond. */
const MAX_SESSION_MB = 16;

/** Keepalive finds an agent whose machine is gone, so that its place is free again; connections are renewed hourly. */
const OPTIONS: grpc.ServerOptions = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_concurrent_streams': MAX_STREAMS_PER_CONNECTION,
  'grpc-node.max_session_memory': MAX_SESSION_MB,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.max_connection_age_ms': 3_600_000,
  'grpc.max_connection_age_grace_ms': 30_000,
  'grpc.max_connection_idle_ms': 300_000,
  'grpc.enable_channelz': 0,
};

export interface ServerDeps extends AttestationDeps, OperatorDeps, HandlerDeps {
  readonly store: AttestationDeps['store'] & OperatorDeps['store'];
  /** As many may be open at once. */
  readonly connections: number;
}

export function grpcServer(deps: ServerDeps): GrpcServer {
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
  guard(http2ServerOf(server), handled, deps);
  return {
    inject: (socket) => injector.injectConnection(socket),
    close: async (graceMs) => {
      injector.drain(graceMs);
      await new Promise<void>((resolve) => {
        // A connection that fails at this moment may never be reported as closed.
        const cut = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, graceMs);
        server.tryShutdown(() => {
          clearTimeout(cut);
          resolve();
        });
      });
      injector.destroy();
    },
  };
}

/** grpc-js makes the HTTP/2 server of an injector itself and has no option for what is bounded here. */
function http2ServerOf(server: grpc.Server): Http2Server {
  const servers: unknown = Reflect.get(server, 'http2Servers');
  const [only] = servers instanceof Map ? servers.keys() : [];
  if (typeof only?.prependListener !== 'function')
    throw new TypeError('grpc-js keeps its HTTP/2 servers elsewhere');
  return only;
}

function guard(server: Http2Server, handled: readonly Handled[], deps: ServerDeps): void {
  const { callers, clock } = deps;
  const byPath = new Map(handled.map((each) => [each.method.path, each]));
  const boundsOf = (path: string, { kind }: StreamPeer): MethodBounds => {
    const found = byPath.get(path);
    const maxBytes = BOUNDS[found?.name ?? '']?.[kind] ?? OTHER_BYTES;
    return { maxBytes, unary: found?.method.requestStream !== true };
  };
  guardStreams(server, {
    clock,
    connections: deps.connections,
    boundsOf,
    peerOf: (socket) => {
      const caller = callers.at(socket);
      return caller && { keys: limitKeys(caller), ...standingOf(caller, clock.now()) };
    },
    onFlood: ({ keys, svid }) => deps.slow?.add(slowKeys(keys, svid)),
    onRefused: (refusal, path, { keys, kind }) => {
      const name = byPath.get(path)?.name ?? 'unknown';
      const peer = { source: keys.address, isStranger: kind === 'stranger' };
      tellRefusal(refusal, { name, from: keys.address, peer }, deps);
    },
  });
}
