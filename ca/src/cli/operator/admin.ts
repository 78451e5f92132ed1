/** Connects a command to the running CA by its admin socket, where the kernel says who calls. */

import { existsSync } from 'node:fs';
import { Readable } from 'node:stream';
import { OperatorClient } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { Invocation } from '@chancery/shared/cli/program.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import * as grpc from '@grpc/grpc-js';
import { paths, readCaConfig } from '../../config.ts';
import { configFile, foundConfig } from '../flags.ts';
import { channelTo } from '../login/channel.ts';
import { proveCa } from '../login/proof.ts';
import { keptSession, lastAddress, logKeyOf } from '../login/session.ts';
import { type FailedCall, nobodyServes, refusalFrom } from './refusal.ts';

const CALL_SECONDS = 30;
/** A set of the largest size takes the CA a minute of one core. */
const STREAM_SECONDS = 600;
/** A page may be one resource of the largest size. */
const OPTIONS: grpc.ClientOptions = { 'grpc.max_receive_message_length': 32 * 1024 * 1024 };

/** A unary call of the generated client. */
export type Unary<Req, Res> = (
  request: Req,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  callback: (error: grpc.ServiceError | null, response: Res) => void,
) => unknown;

type Duplex<Req, Res> = (options: grpc.CallOptions) => grpc.ClientDuplexStream<Req, Res>;

/** Runs one call, for `seconds` at most. Throws unavailable if no CA answers, else the CA's refusal. */
export const callOperator = <Req, Res>(
  invocation: Invocation,
  method: (client: OperatorClient) => Unary<Req, Res>,
  request: Req,
  seconds = CALL_SECONDS,
): Promise<Res> =>
  withOperator(invocation, (client, failed) => {
    const options = { deadline: new Date(Date.now() + seconds * 1000) };
    const call = method(client);
    const isChange = changesOf(client).includes(call);
    return new Promise((resolve, reject) => {
      call.call(client, request, new grpc.Metadata(), options, (error, response) =>
        error ? reject(failed(error, { seconds, isChange })) : resolve(response),
      );
    });
  });

/** Sends all messages as fast as the CA reads, and collects the answers. Throws as `callOperator` does. */
export const streamToOperator = <Req, Res>(
  invocation: Invocation,
  methodOf: (client: OperatorClient) => Duplex<Req, Res>,
  requests: Iterable<Req>,
): Promise<readonly Res[]> =>
  withOperator(invocation, async (client, failed) => {
    const options = { deadline: new Date(Date.now() + STREAM_SECONDS * 1000) };
    const method = methodOf(client);
    const call = method.call(client, options);
    // grpc-js types its messages; Node's streams take anything.
    Readable.from(requests).pipe(call as unknown as NodeJS.WritableStream);
    try {
      return await call.toArray();
    } catch (error) {
      throw failed(error as grpc.ServiceError, {
        seconds: STREAM_SECONDS,
        isChange: changesOf(client).includes(method),
      });
    }
  });

const changesOf = (client: OperatorClient): readonly unknown[] => [
  ...[client.apply, client.revoke, client.liftRevocation],
  ...[client.rotate, client.rotateNext, client.rotateRollback, client.standBy, client.taint],
  ...[client.signOff, client.countersign, client.withdraw, client.releaseNode, client.rewrapKeys],
];

/** A CA where the operator is signed in, if --ca names one or no config is here; else the admin socket. */
async function doorOf(invocation: Invocation) {
  const { env = {} } = invocation;
  const named = invocation.text('ca');
  const config = named === undefined ? foundConfig(invocation) : undefined;
  const address = named ?? (config === undefined ? lastAddress(env) : undefined);
  if (address !== undefined) {
    const session = keptSession(address, env);
    const isGood = session !== undefined && session.svid.notAfter > new Date();
    const says = session === undefined ? 'you are not signed in' : 'your sign-in has ended';
    ensure(isGood, 'no_peer', `${says} at ${address}: chancery-ca login --ca ${address}`);
    const logKey = logKeyOf(session);
    const channel = channelTo(address, session.bundle, session.svid);
    await proveCa(channel, logKey);
    const { credentials, options } = channel;
    return { socket: address, target: address, credentials, options };
  }
  const { admin } = paths(readCaConfig(configFile(invocation, SIGN_IN)).dataDir);
  if (!existsSync(admin)) throw new IdentityError('unavailable', nobodyServes(admin));
  const credentials = grpc.credentials.createInsecure();
  return { socket: admin, target: `unix:${admin}`, credentials, options: {} };
}

const SIGN_IN = ', or sign in at a CA elsewhere: chancery-ca login --ca HOST:PORT';

type Failed = (error: grpc.ServiceError, how: Pick<FailedCall, 'seconds' | 'isChange'>) => IdentityError;

async function withOperator<Res>(
  invocation: Invocation,
  run: (client: OperatorClient, failed: Failed) => Promise<Res>,
): Promise<Res> {
  const { socket, target, credentials, options } = await doorOf(invocation);
  const client = new OperatorClient(target, credentials, { ...OPTIONS, ...options });
  try {
    return await run(client, (error, { seconds, isChange }) =>
      refusalFrom(error, { socket, seconds, isChange: isChange && !invocation.has('dry-run') }),
    );
  } finally {
    client.close();
  }
}
