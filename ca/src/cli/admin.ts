/** How a command reaches the running CA: its admin socket, where the kernel says who calls. */

import { existsSync } from 'node:fs';
import { OperatorClient } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { Invocation } from '@chancery/shared/cli.ts';
import { IdentityError } from '@chancery/shared/errors.ts';
import * as grpc from '@grpc/grpc-js';
import { paths, readCaConfig } from '../config.ts';
import { configFile } from './flags.ts';

const CALL_SECONDS = 30;

type Unary<Req, Res> = (
  request: Req,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  callback: (error: grpc.ServiceError | null, response: Res) => void,
) => unknown;

/** Runs one call. Throws unavailable where no CA answers, else what the CA said. */
export async function callOperator<Req, Res>(
  invocation: Invocation,
  method: (client: OperatorClient) => Unary<Req, Res>,
  request: Req,
): Promise<Res> {
  const { admin } = paths(readCaConfig(configFile(invocation)).dataDir);
  if (!existsSync(admin))
    throw new IdentityError('unavailable', `no CA is serving at ${admin}: run chancery-ca serve`);
  const client = new OperatorClient(`unix:${admin}`, grpc.credentials.createInsecure());
  try {
    return await new Promise((resolve, reject) => {
      const deadline = new Date(Date.now() + CALL_SECONDS * 1000);
      method(client).call(client, request, new grpc.Metadata(), { deadline }, (error, response) =>
        error ? reject(refusalFrom(error, admin)) : resolve(response),
      );
    });
  } finally {
    client.close();
  }
}

function refusalFrom(error: grpc.ServiceError, socket: string): IdentityError {
  // grpc-js leaves an empty note behind what it says of a socket that nobody serves.
  const says = error.details.replace(/\. Resolution note:\s*$/, '');
  if (error.code === grpc.status.UNAVAILABLE)
    return new IdentityError('unavailable', `the CA at ${socket} is not available: ${says}`, {
      cause: error,
    });
  return new IdentityError('internal', error.details, { cause: error });
}
