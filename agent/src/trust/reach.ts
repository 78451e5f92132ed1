/** Whether the CA can be reached and is who it should be: the first step of every join, alone. */
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { Clock } from '@chancery/shared/clock.ts';
import * as grpc from '@grpc/grpc-js';
import { refusalFromCa, tlsTarget } from '../svid/channel.ts';
import { bootstrapBundle, bootstrapOf } from './bootstrap.ts';

const CALL_MS = 10_000;

/** How many authorities its bundle has. Throws bootstrap, bundle, unavailable, wrong_peer. */
export async function reachCa(settings: Parameters<typeof bootstrapOf>[0], clock: Clock): Promise<number> {
  const bundle = await bootstrapBundle(bootstrapOf(settings));
  const { address, credentials, options } = tlsTarget(settings.ca.address, bundle, undefined, clock);
  const client = new TrustClient(address, credentials, options);
  return new Promise((resolve, reject) => {
    client.getBundle({}, new grpc.Metadata(), { deadline: Date.now() + CALL_MS }, (error, response) => {
      client.close();
      if (error) reject(refusalFromCa(error));
      else resolve(response.x509Authorities.length);
    });
  });
}
