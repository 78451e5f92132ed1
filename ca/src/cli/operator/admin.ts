/** Connects a command to the running CA by its admin socket, where the kernel says who calls. */

import { existsSync } from 'node:fs';
import { Readable } from 'node:stream';
import { OperatorClient } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { Invocation } from '@chancery/shared/cli/program.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import * as grpc from '@grpc/grpc-js';
import { paths, readCaConfig } from '../../config.ts';
import { configFile } from '../flags.ts';

const CALL_SECONDS = 30;
/** A set of the largest size takes the CA a minute of one core. */
const STREAM_SECONDS = 600;
/** A page may be one resource of the largest size. */
const OPTIONS: grpc.ClientOptions = { 'grpc.max_receive_message_length': 32 * 1024 * 1024 };

type Unary<Req, Res> = (
  request: Req,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  callback: (error: grpc.ServiceError | null, response: Res) => void,
) => unknown;

type Duplex<Req, Res> = (options: grpc.CallOptions) => grpc.ClientDuplexStream<Req, Res>;

/** Runs one call. Throws unavailable if no CA answers, else the CA's refusal. */
export const callOperator = <Req, Res>(
  invocation: Invocation,
  method: (client: OperatorClient) => Unary<Req, Res>,
  request: Req,
): Promise<Res> =>
  withOperator(invocation, (client, failed) => {
    const options = { deadline: new Date(Date.now() + CALL_SECONDS * 1000) };
    return new Promise((resolve, reject) => {
      method(client).call(client, request, new grpc.Metadata(), options, (error, response) =>
        error ? reject(failed(error)) : resolve(response),
      );
    });
  });

/** Sends all messages as fast as the CA reads, and collects the answers. Throws as `callOperator` does. */
export const streamToOperator = <Req, Res>(
  invocation: Invocation,
  method: (client: OperatorClient) => Duplex<Req, Res>,
  requests: Iterable<Req>,
): Promise<readonly Res[]> =>
  withOperator(invocation, async (client, failed) => {
    const options = { deadline: new Date(Date.now() + STREAM_SECONDS * 1000) };
    const call = method(client).call(client, options);
    // grpc-js types its messages; Node's streams take anything.
    Readable.from(requests).pipe(call as unknown as NodeJS.WritableStream);
    try {
      return await call.toArray();
    } catch (error) {
      throw failed(error as grpc.ServiceError);
    }
  });

type Failed = (error: grpc.ServiceError) => IdentityError;

async function withOperator<Res>(
  invocation: Invocation,
  run: (client: OperatorClient, failed: Failed) => Promise<Res>,
): Promise<Res> {
  const { admin } = paths(readCaConfig(configFile(invocation)).dataDir);
  if (!existsSync(admin))
    throw new IdentityError('unavailable', `no CA is serving at ${admin}: run chancery-ca serve`);
  const client = new OperatorClient(`unix:${admin}`, grpc.credentials.createInsecure(), OPTIONS);
  try {
    return await run(client, (error) => refusalFrom(error, admin));
  } finally {
    client.close();
  }
}

function refusalFrom(error: grpc.ServiceError, socket: string): IdentityError {
  // grpc-js ends its message about an unserved socket with an empty note.
  const says = error.details.replace(/\. Resolution note:\s*$/, '');
  if (error.code === grpc.status.UNAVAILABLE)
    return new IdentityError('unavailable', `the CA at ${socket} is not available: ${says}`, {
      cause: error,
    });
  return new IdentityError('internal', error.details, { cause: error });
}
