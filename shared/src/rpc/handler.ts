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
import { type Stream, streamOf } from './stream.ts';

export interface HandlerDeps<C> {
  readonly callers: Callers<C>;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Called once for each refused call, with the method's name. Returns the sentence for the peer; the table gives the
   * status. `caller` is undefined once its connection is gone.
   */
  readonly refuse: (refusal: IdentityError, rpc: string, caller: C | undefined) => string;
  /** Observes each finished call: seconds, and the refusal's code or "ok". */
  readonly observe: (rpc: string, seconds: number, outcome: string) => void;
}

type Handler<C> = (deps: HandlerDeps<C>) => Handled;

/** How a door with callers `C` makes its methods. What a handler throws that is no refusal is logged and "internal". */
export function methodsFor<C>() {
  return {
    unary: <M extends Method>(
      name: string,
      method: M,
      run: (request: RequestOf<M>, caller: C) => Promise<ResponseOf<M>>,
    ): Handler<C> => unary(name, method, run),
    bidi: <M extends Method>(
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
        const caller = deps.callers.of(call.getPeer());
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

function bidi<M extends Method, C>(
  name: string,
  method: M,
  run: (stream: Stream<RequestOf<M>, ResponseOf<M>, C>) => Promise<void>,
): Handler<C> {
  return (deps) => ({
    name,
    method,
    run: (call: grpc.ServerDuplexStream<Buffer, ResponseOf<M>>) => {
      const watch = stopwatch(name, deps);
      const answer = async () => {
        const caller = deps.callers.of(call.getPeer());
        await run(streamOf(method, call, { caller, clock: deps.clock }));
      };
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
    },
  });
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
