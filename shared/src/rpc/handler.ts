/**
 * What every RPC does: read the message strictly, find the caller, run the handler, and refuse once. Handlers do not
 * depend on gRPC, and this file not on the caller: `C` is what a door knows of its peers.
 */
import * as grpc from '@grpc/grpc-js';
import type { Clock } from '../ground/clock.ts';
import { type IdentityError, isRefusal, REFUSALS, refusalOf } from '../ground/errors.ts';
import type { Log } from '../ground/log.ts';
import type { Callers } from './callers.ts';
import { type Handled, type Method, type RequestOf, type ResponseOf, readRequest } from './method.ts';
import { type Answers, answersOf, type Stream, streamOf } from './stream.ts';

/** Gives the values of one key, in order, without binary ones. */
export type Metadata = (key: string) => readonly string[];

export interface HandlerDeps<C> {
  readonly callers: Callers<C>;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Looks at the request's metadata, before the message is read. Throws a refusal; without it every call is admitted. A
   * SPIFFE endpoint requires its security header here (SPIFFE Workload Endpoint, section 3).
   */
  readonly admit?: (metadata: Metadata) => void;
  /**
   * Called once for each refused call, with the method's name. Returns the sentence for the peer; the table gives the
   * status. `caller` is undefined once its connection is gone.
   */
  readonly refuse: (refusal: IdentityError, rpc: string, caller: C | undefined) => string;
  /** Observes each finished call: seconds, and the refusal's code or "ok". */
  readonly observe: (rpc: string, seconds: number, outcome: string) => void;
}

type Handler<C> = (deps: HandlerDeps<C>) => Handled;

/** A method by what streams: a handler of another kind would wait for what never comes. */
type Unary = Method & { readonly requestStream: false; readonly responseStream: false };
type ServerStream = Method & { readonly requestStream: false; readonly responseStream: true };
type Bidi = Method & { readonly requestStream: true; readonly responseStream: true };

/** How a door with callers `C` makes its methods. What a handler throws that is no refusal is logged and "internal". */
export function methodsFor<C>() {
  return {
    unary: <M extends Unary>(
      name: string,
      method: M,
      run: (request: RequestOf<M>, caller: C) => Promise<ResponseOf<M>>,
    ): Handler<C> => unary(name, method, run),
    /** One request, many answers. The stream ends when `run` does. */
    serverStream: <M extends ServerStream>(
      name: string,
      method: M,
      run: (request: RequestOf<M>, answers: Answers<ResponseOf<M>, C>) => Promise<void>,
    ): Handler<C> => serverStream(name, method, run),
    bidi: <M extends Bidi>(
      name: string,
      method: M,
      run: (stream: Stream<RequestOf<M>, ResponseOf<M>, C>) => Promise<void>,
    ): Handler<C> => bidi(name, method, run),
  };
}

function unary<M extends Method, C>(
  name: string,
  method: M,
  run: (request: RequestOf<M>, caller: C) => Promise<ResponseOf<M>>,
): Handler<C> {
  return (deps) => ({
    name,
    method,
    run: (call: grpc.ServerUnaryCall<Buffer, ResponseOf<M>>, callback: grpc.sendUnaryData<ResponseOf<M>>) => {
      const watch = stopwatch(name, deps);
      const answer = async () => {
        const caller = callerOf(call, deps);
        return run(readRequest(method, call.request), caller);
      };
      answer().then(
        (response) => {
          watch('ok');
          callback(null, response);
        },
        (error: unknown) => callback(statusOf(error, { name, peer: call.getPeer(), watch }, deps)),
      );
    },
  });
}

function serverStream<M extends Method, C>(
  name: string,
  method: M,
  run: (request: RequestOf<M>, answers: Answers<ResponseOf<M>, C>) => Promise<void>,
): Handler<C> {
  return (deps) => ({
    name,
    method,
    run: (call: grpc.ServerWritableStream<Buffer, ResponseOf<M>>) =>
      streamed(name, call, deps, async (caller) =>
        run(readRequest(method, call.request), answersOf(call, caller)),
      ),
  });
}

function bidi<M extends Method, C>(
  name: string,
  method: M,
  run: (stream: Stream<RequestOf<M>, ResponseOf<M>, C>) => Promise<void>,
): Handler<C> {
  return (deps) => ({
    name,
    method,
    run: (call: grpc.ServerDuplexStream<Buffer, ResponseOf<M>>) =>
      streamed(name, call, deps, async (caller) =>
        run(streamOf(method, call, { caller, clock: deps.clock })),
      ),
  });
}

type Called = grpc.ServerUnaryCall<Buffer, unknown> | StreamingCall;
type StreamingCall = grpc.ServerWritableStream<Buffer, never> | grpc.ServerDuplexStream<Buffer, never>;

/** Ends the call when `run` does. */
function streamed<C>(
  name: string,
  call: StreamingCall,
  deps: HandlerDeps<C>,
  run: (caller: C) => Promise<void>,
): void {
  const watch = stopwatch(name, deps);
  const answer = async () => run(callerOf(call, deps));
  answer().then(
    () => {
      watch('ok');
      call.end();
    },
    (error: unknown) => {
      const status = statusOf(error, { name, peer: call.getPeer(), watch }, deps);
      if (!call.destroyed) call.emit('error', status);
    },
  );
}

/** Throws no_peer, and what `admit` throws. */
function callerOf<C>(call: Called, { callers, admit }: HandlerDeps<C>): C {
  const caller = callers.of(call.getPeer());
  admit?.((key) => call.metadata.get(key).filter((value) => typeof value === 'string'));
  return caller;
}

function stopwatch<C>(name: string, { observe, clock }: HandlerDeps<C>): (outcome: string) => void {
  const start = clock.now().getTime();
  // The clock may have been set back.
  return (outcome) => observe(name, Math.max(0, clock.now().getTime() - start) / 1000, outcome);
}

interface Failed {
  readonly name: string;
  readonly peer: string;
  readonly watch: (outcome: string) => void;
}

function statusOf<C>(
  error: unknown,
  { name, peer, watch }: Failed,
  { callers, log, refuse }: HandlerDeps<C>,
): Partial<grpc.StatusObject> {
  if (!isRefusal(error)) log.error({ err: error, rpc: name }, 'an RPC failed by a fault of ours');
  const refusal = refusalOf(error, 'internal', error instanceof Error ? error.message : String(error));
  watch(refusal.code);
  const details = refuse(refusal, name, callers.find(peer));
  return { code: grpc.status[REFUSALS[refusal.code].grpc], details };
}
