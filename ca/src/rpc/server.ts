/** The gRPC server: its methods, and the bounds on what a caller may hold open. */

import type { Http2Server } from 'node:http2';
import { MAX_BATCH_BYTES } from '@chancery/shared/audit/call-record.ts';
import { guardStreams, type MethodBounds, type StreamPeer } from '@chancery/shared/door/http2/streams.ts';
import type { SlowAddresses } from '@chancery/shared/door/slow-addresses.ts';
import type { Callers } from '@chancery/shared/rpc/callers.ts';
import type { HandlerDeps } from '@chancery/shared/rpc/handler.ts';
import type { Handled } from '@chancery/shared/rpc/method.ts';
import { type RpcServer, type RpcServerOptions, rpcServer } from '@chancery/shared/rpc/server.ts';
import { streamBounds } from '../door/streams.ts';
import { type Caller, limitKeys, type Standing, slowKeys, standingOf } from './caller.ts';
import { type AttestationDeps, attest, issueX509, renew } from './exchange/attestation.ts';
import { type OperatorDeps, operatorMethods } from './operator/operator.ts';
import { type SignInMethodDeps, signInMethods } from './operator/sign-in.ts';
import { type RefusalDeps, refuserOf, tellRefusal } from './refuse.ts';
import { type ReportDeps, report } from './report/report.ts';
import { type CrlsDeps, getCrls } from './trust/crls.ts';
import { type HandBackDeps, handBack } from './trust/hand-back.ts';
import type { SnapshotDeps } from './trust/snapshot.ts';
import { getBundle, getVouchers, type ServingDeps, watch } from './trust/trust.ts';

const MAX_STREAMS_PER_CONNECTION = 256;
/** Resources of an operator, and evidence of several platforms. */
const MAX_MESSAGE_BYTES = 2 * 1024 * 1024;
/** An opening with an event log of 1 MiB. */
const OPENING_BYTES = 1280 * 1024;
/** 64 CSRs. */
const CSRS_BYTES = 256 * 1024;
/** Records of calls, with the length of each. */
const BATCH_BYTES = MAX_BATCH_BYTES + 4 * 1024;
const OTHER_BYTES = 16 * 1024;
/** The largest request of a method, by the kind of caller; OTHER_BYTES for all others. */
const BOUNDS: Readonly<Record<string, Partial<Record<Standing['kind'], number>>>> = {
  Attest: { stranger: OPENING_BYTES, known: MAX_MESSAGE_BYTES, operator: MAX_MESSAGE_BYTES },
  Renew: { known: MAX_MESSAGE_BYTES },
  IssueX509: { known: CSRS_BYTES },
  Report: { known: BATCH_BYTES },
  Apply: { operator: MAX_MESSAGE_BYTES },
  Diff: { operator: MAX_MESSAGE_BYTES },
  Explain: { operator: MAX_MESSAGE_BYTES },
};
/** Millions of bytes of headers and of unread answers, per connection. Beyond it, new streams are refused. */
const MAX_SESSION_MB = 16;

/** Keepalive finds agents whose machine is gone, which frees their places. Connections are renewed hourly. */
const CHANNEL: RpcServerOptions['channel'] = {
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

export interface ServerDeps
  extends AttestationDeps,
    OperatorDeps,
    RefusalDeps,
    CrlsDeps,
    SignInMethodDeps,
    ReportDeps,
    HandBackDeps,
    Pick<SnapshotDeps, 'checkpoint'>,
    ServingDeps {
  readonly callers: Callers<Caller>;
  /** Observes each finished call: seconds, and the refusal's code or "ok". */
  readonly observe: HandlerDeps<Caller>['observe'];
  /** Where new connections wait. */
  readonly slow?: SlowAddresses;
  /** How many connections may be open at once. */
  readonly connections: number;
}

/** The caller closes it. */
export function grpcServer(deps: ServerDeps): RpcServer {
  const { callers, clock, log, observe } = deps;
  const handling = { callers, clock, log, observe, refuse: refuserOf(deps) };
  const handled = [
    attest(deps),
    renew(deps),
    issueX509(deps),
    watch(deps),
    getBundle(deps),
    getVouchers(deps),
    getCrls(deps),
    handBack(deps),
    report(deps),
    ...operatorMethods(deps),
    ...signInMethods(deps),
  ].map((method) => method(handling));
  return rpcServer({ channel: CHANNEL, handled, guard: (server) => guard(server, handled, deps) });
}

/** The bound of a method depends on `kind`. */
interface Peer extends StreamPeer {
  readonly kind: Standing['kind'];
}

function guard(server: Http2Server, handled: readonly Handled[], deps: ServerDeps): void {
  const { callers, clock } = deps;
  const byPath = new Map(handled.map((each) => [each.method.path, each]));
  const boundsOf = (path: string, { kind }: Peer): MethodBounds => {
    const found = byPath.get(path);
    const maxBytes = BOUNDS[found?.name ?? '']?.[kind] ?? OTHER_BYTES;
    return { maxBytes, unary: found?.method.requestStream !== true };
  };
  guardStreams<Peer>(server, {
    clock,
    bounds: streamBounds(deps.connections),
    libraryBytes: MAX_MESSAGE_BYTES,
    boundsOf,
    peerOf: (socket) => {
      const caller = callers.at(socket);
      if (caller === undefined) return undefined;
      const { kind, svid } = standingOf(caller, clock.now());
      return { keys: limitKeys(caller), kind, svid, isStranger: kind === 'stranger' };
    },
    onFlood: ({ keys, svid }) => deps.slow?.add(slowKeys(keys, svid)),
    onRefused: (refusal, path, { keys, isStranger }) => {
      const name = byPath.get(path)?.name ?? 'unknown';
      const peer = { source: keys.address, isStranger };
      tellRefusal(refusal, { name, from: keys.address, peer }, deps);
    },
  });
}
