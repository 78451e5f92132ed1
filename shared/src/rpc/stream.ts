/** One side of a streaming call, as a handler has it: messages by waiting for them, with a deadline for each. */
import type * as grpc from '@grpc/grpc-js';
import { addSeconds, type Clock } from '../ground/clock.ts';
import { IdentityError } from '../ground/errors.ts';
import { type Method, type RequestOf, type ResponseOf, readRequest } from './method.ts';

/** The side of a streaming call that answers. */
export interface Answers<Res, C> {
  readonly caller: C;
  /** Aborts when the caller goes away. */
  readonly signal: AbortSignal;
  /** Resolves when the message is handed to the transport, which waits for a slow reader. Throws deadline. */
  send(message: Res): Promise<void>;
}

export interface Stream<Req, Res, C> extends Answers<Res, C> {
  /**
   * The next message, undefined at the end of them. Throws deadline after that many seconds or when the
   * caller is gone, and message_parse.
   */
  read(seconds: number): Promise<Req | undefined>;
}

/** What both kinds of streaming calls have in grpc-js. */
type AnsweringCall<Res> = grpc.ServerWritableStream<Buffer, Res> | grpc.ServerDuplexStream<Buffer, Res>;

/** Wraps a gRPC call; it does not end the call. */
export function answersOf<Res, C>(call: AnsweringCall<Res>, caller: C): Answers<Res, C> {
  const gone = new AbortController();
  const leave = (why: string) => gone.abort(new IdentityError('deadline', why));
  call.once('cancelled', () => leave('the caller cancelled'));
  call.once('close', () => leave('the stream is closed'));
  call.on('error', () => leave('the stream failed'));
  return {
    caller,
    signal: gone.signal,
    send: (message) =>
      new Promise((resolve, reject) => {
        if (gone.signal.aborted) return reject(gone.signal.reason);
        call.write(message, () => resolve());
      }),
  };
}

/** Wraps a gRPC call; it does not end the call. */
export function streamOf<M extends Method, C>(
  method: M,
  call: grpc.ServerDuplexStream<Buffer, ResponseOf<M>>,
  { caller, clock }: { readonly caller: C; readonly clock: Clock },
): Stream<RequestOf<M>, ResponseOf<M>, C> {
  const answers = answersOf(call, caller);
  const incoming = new Incoming(call, answers.signal);
  return {
    ...answers,
    read: async (seconds) => {
      const bytes = await incoming.next(clock, seconds);
      return bytes && readRequest(method, bytes);
    },
  };
}

/** Messages in order, one ahead at most: a caller that floods waits for its own transport window. */
class Incoming {
  readonly #call: grpc.ServerDuplexStream<Buffer, unknown>;
  readonly #gone: AbortSignal;
  readonly #queue: Buffer[] = [];
  #ended = false;
  #wake: () => void = () => {};

  constructor(call: grpc.ServerDuplexStream<Buffer, unknown>, gone: AbortSignal) {
    this.#call = call;
    this.#gone = gone;
    call.on('data', (bytes: Buffer) => {
      this.#queue.push(bytes);
      call.pause();
      this.#wake();
    });
    call.once('end', () => {
      this.#ended = true;
      this.#wake();
    });
    // Once for the whole stream: listeners and signals of each message cost more than reading it.
    gone.addEventListener('abort', () => this.#wake(), { once: true });
  }

  async next(clock: Clock, seconds: number): Promise<Buffer | undefined> {
    this.#gone.throwIfAborted();
    if (this.#queue.length === 0 && !this.#ended) await this.#arrival(clock, seconds);
    this.#gone.throwIfAborted();
    const message = this.#queue.shift();
    this.#call.resume();
    return message;
  }

  async #arrival(clock: Clock, seconds: number): Promise<void> {
    const done = new AbortController();
    const arrived = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    try {
      await Promise.race([arrived, timeout(clock, seconds, done.signal)]);
    } finally {
      done.abort(NO_LONGER);
    }
  }
}

/** Why a wait for a message ends with the message. One for all: an error has a stack, which costs. */
const NO_LONGER = new Error('no longer waited for');

async function timeout(clock: Clock, seconds: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleepUntil(addSeconds(clock.now(), seconds), signal);
  } catch {
    return;
  }
  throw new IdentityError('deadline', `no message came within ${seconds} s`);
}
