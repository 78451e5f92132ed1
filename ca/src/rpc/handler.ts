/**
 * What every RPC shares: read the message strictly, find the caller, run, and map a refusal to its status and public
 * sentence; the reason goes to the audit log. Handlers know no gRPC.
 */

import type { Audit } from '@chancery/shared/audit/event.ts';
import type { RefusalEvent, RefusedPeer } from '@chancery/shared/audit/refusals.ts';
import type { SlowAddresses } from '@chancery/shared/door/slow-addresses.ts';
import { equal } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal, REFUSALS, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import * as grpc from '@grpc/grpc-js';
import type { TurnedAwayLog } from '../door/turned-away.ts';
import { type Caller, type Callers, limitKeys, standingOf } from './caller.ts';

export interface HandlerDeps {
  readonly callers: Callers;
  readonly audit: Audit;
  readonly log: Log;
  readonly clock: Clock;
  /** Folds repeated refusals on their way to the audit log. Returns a reference. Without it each one is recorded. */
  readonly fold?: (refusal: RefusalEvent, peer: RefusedPeer) => string;
  /** Tells the operator of callers that are refused for lack of places or for their rate. */
  readonly turnedAway?: TurnedAwayLog;
  /** Where new connections wait. */
  readonly slow?: SlowAddresses;
  /** Observes each finished call: seconds, and the refusal's code or "ok". */
  readonly observe: (rpc: string, seconds: number, outcome: string) => void;
}

/** One side of a streaming call. */
export interface Stream<Req, Res> {
  readonly caller: Caller;
  /** Aborts when the caller goes away. */
  readonly signal: AbortSignal;
  /**
   * The next message, undefined at the end of them. Throws deadline after that many seconds or when the
   * caller is gone.
   */
  read(seconds: number): Promise<Req | undefined>;
  /** Resolves when the message is handed to the transport, which waits for a slow reader. */
  send(message: Res): Promise<void>;
}

/** As ts-proto generates it. */
interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: never) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseSerialize: (value: never) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}
type RequestOf<M extends Method> = ReturnType<M['requestDeserialize']>;
type ResponseOf<M extends Method> = ReturnType<M['responseDeserialize']>;

export interface Handled {
  readonly name: string;
  readonly method: Method;
  readonly run: grpc.UntypedHandleCall;
}

/** grpc-js hands bytes through, so that a message that cannot be read is a refusal like any other. */
export function definitionOf(handled: readonly Handled[]): grpc.ServiceDefinition {
  return Object.fromEntries(
    handled.map(({ method }) => [method.path, { ...method, requestDeserialize: (bytes: Buffer) => bytes }]),
  ) as unknown as grpc.ServiceDefinition;
}

export function unary<M extends Method>(
  name: string,
  method: M,
  run: (request: RequestOf<M>, caller: Caller) => Promise<ResponseOf<M>>,
): (deps: HandlerDeps) => Handled {
  return (deps) => ({
    name,
    method,
    run: (call: grpc.ServerUnaryCall<Buffer, ResponseOf<M>>, callback: grpc.sendUnaryData<ResponseOf<M>>) => {
      const watch = stopwatch(name, deps);
      const answer = async () => {
        const caller = deps.callers.of(call.getPeer());
        return run(decode(method, call.request), caller);
      };
      answer().then(
        (response) => {
          watch('ok');
          callback(null, response);
        },
        (error: unknown) => callback(refuse(error, { name, peer: call.getPeer(), watch }, deps)),
      );
    },
  });
}

export function bidi<M extends Method>(
  name: string,
  method: M,
  run: (stream: Stream<RequestOf<M>, ResponseOf<M>>) => Promise<void>,
): (deps: HandlerDeps) => Handled {
  return (deps) => ({
    name,
    method,
    run: (call: grpc.ServerDuplexStream<Buffer, ResponseOf<M>>) => {
      const watch = stopwatch(name, deps);
      const answer = async () => run(streamOf(method, call, deps));
      answer().then(
        () => {
          watch('ok');
          call.end();
        },
        (error: unknown) => {
          const status = refuse(error, { name, peer: call.getPeer(), watch }, deps);
          if (!call.destroyed) call.emit('error', status);
        },
      );
    },
  });
}

function stopwatch(name: string, { observe, clock }: HandlerDeps): (outcome: string) => void {
  const start = clock.now().getTime();
  // The clock may have been set back.
  return (outcome) => observe(name, Math.max(0, clock.now().getTime() - start) / 1000, outcome);
}

/**
 * Refuses what the schema does not know: what decodes must encode to the same bytes, so that no reader of the same
 * message can have seen another one in it.
 */
function decode<M extends Method>(method: M, bytes: Buffer): RequestOf<M> {
  let message: RequestOf<M>;
  try {
    message = method.requestDeserialize(bytes) as RequestOf<M>;
  } catch (error) {
    throw new IdentityError('message_parse', 'the message is not protobuf of this schema', { cause: error });
  }
  const again = method.requestSerialize(message as never);
  ensure(equal(again, bytes), 'message_parse', 'the message has unknown or non-canonical fields');
  return message;
}

function streamOf<M extends Method>(
  method: M,
  call: grpc.ServerDuplexStream<Buffer, ResponseOf<M>>,
  { callers, clock }: HandlerDeps,
): Stream<RequestOf<M>, ResponseOf<M>> {
  const gone = new AbortController();
  const incoming = new Incoming(call);
  const leave = (why: string) => gone.abort(new IdentityError('deadline', why));
  call.once('cancelled', () => leave('the caller cancelled'));
  call.once('close', () => leave('the stream is closed'));
  call.on('error', () => leave('the stream failed'));
  return {
    caller: callers.of(call.getPeer()),
    signal: gone.signal,
    read: async (seconds) => {
      const bytes = await incoming.next(clock, seconds, gone.signal);
      return bytes && decode(method, bytes);
    },
    send: (message) =>
      new Promise((resolve, reject) => {
        if (gone.signal.aborted) return reject(gone.signal.reason);
        call.write(message, () => resolve());
      }),
  };
}

/** Messages in order, one ahead at most: a caller that floods waits for its own transport window. */
class Incoming {
  readonly #call: grpc.ServerDuplexStream<Buffer, unknown>;
  readonly #queue: Buffer[] = [];
  #ended = false;
  #wake: () => void = () => {};

  constructor(call: grpc.ServerDuplexStream<Buffer, unknown>) {
    this.#call = call;
    call.on('data', (bytes: Buffer) => {
      this.#queue.push(bytes);
      call.pause();
      this.#wake();
    });
    call.once('end', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  async next(clock: Clock, seconds: number, gone: AbortSignal): Promise<Buffer | undefined> {
    gone.throwIfAborted();
    if (this.#queue.length === 0 && !this.#ended) await this.#arrival(clock, seconds, gone);
    gone.throwIfAborted();
    const message = this.#queue.shift();
    this.#call.resume();
    return message;
  }

  async #arrival(clock: Clock, seconds: number, gone: AbortSignal): Promise<void> {
    const done = new AbortController();
    const arrived = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    const signal = AbortSignal.any([done.signal, gone]);
    const late = timeout(clock, seconds, signal);
    const left = new Promise<void>((_, reject) =>
      gone.addEventListener('abort', () => reject(gone.reason), { once: true, signal: done.signal }),
    );
    try {
      await Promise.race([arrived, late, left]);
    } finally {
      done.abort();
    }
  }
}

async function timeout(clock: Clock, seconds: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleepUntil(addSeconds(clock.now(), seconds), signal);
  } catch {
    return;
  }
  throw new IdentityError('deadline', `no message came within ${seconds} s`);
}

interface Refused {
  readonly name: string;
  readonly peer: string;
  readonly watch: (outcome: string) => void;
}

/** The audit log gets the reason, the peer the table's sentence. A bug is told to nobody but the log. */
function refuse(
  error: unknown,
  { name, peer, watch }: Refused,
  deps: HandlerDeps,
): Partial<grpc.StatusObject> {
  if (!isRefusal(error)) deps.log.error({ err: error, rpc: name }, 'an RPC failed by a fault of ours');
  const refusal = refusalOf(error, 'internal', error instanceof Error ? error.message : String(error));
  watch(refusal.code);
  const caller = callerOf(peer, deps.callers);
  const from = caller?.address ?? 'a connection that is gone';
  const isStranger = caller === undefined || standingOf(caller, deps.clock.now()).kind === 'stranger';
  const told = { source: caller === undefined ? from : limitKeys(caller).address, isStranger };
  const reference = tellRefusal(refusal, { name, from, peer: told }, deps);
  const { grpc: status, says } = REFUSALS[refusal.code];
  const sentence = reference === undefined ? says : `${says} (reference ${reference})`;
  // Behind the admin socket sits the operator, who has to mend it.
  return { code: grpc.status[status], details: caller?.via === 'admin' ? refusal.message : sentence };
}

/**
 * A flood must not fill the disk: what was refused for its rate is counted, not recorded. Returns the reference of the
 * record.
 */
export function tellRefusal(
  { code, message }: IdentityError,
  { name: rpc, from, peer }: { readonly name: string; readonly from: string; readonly peer: RefusedPeer },
  deps: HandlerDeps,
): string | undefined {
  if (code === 'rate') {
    deps.log.debug({ rpc, peer: from }, message);
    const whose = peer.isStranger ? 'strangers' : 'others';
    deps.turnedAway?.tell({ what: 'calls', whose }, `${rpc}: ${message}`);
    return undefined;
  }
  const event: RefusalEvent = {
    type: 'request.refused',
    rpc,
    code,
    detail: message.slice(0, 2000),
    peer: from,
  };
  if (deps.fold !== undefined) return deps.fold(event, peer);
  recordRefusal(event, deps);
  return undefined;
}

/** One line of the log and one of the audit log. */
export function recordRefusal(event: RefusalEvent, { audit, log }: Pick<HandlerDeps, 'audit' | 'log'>): void {
  const { type: _, ...fields } = event;
  log.warn(fields, 'refused');
  audit(event).catch((error: unknown) => log.error({ err: error }, 'a refusal could not be recorded'));
}

function callerOf(peer: string, callers: Callers): Caller | undefined {
  try {
    return callers.of(peer);
  } catch {
    return undefined;
  }
}
