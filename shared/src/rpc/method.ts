/** Methods as ts-proto generates them, and their messages, read strictly. */
import type * as grpc from '@grpc/grpc-js';
import { equal } from '../ground/bytes.ts';
import { ensure, IdentityError } from '../ground/errors.ts';

export interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: never) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseSerialize: (value: never) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}
export type RequestOf<M extends Method> = ReturnType<M['requestDeserialize']>;
export type ResponseOf<M extends Method> = ReturnType<M['responseDeserialize']>;

/** A method with its handler. `name` is for the log and for metrics. */
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

/**
 * Reads a message strictly: it must encode to the same bytes again, so that no other reader can see another message in
 * it. Throws message_parse.
 */
export function readRequest<M extends Method>(method: M, bytes: Buffer): RequestOf<M> {
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
