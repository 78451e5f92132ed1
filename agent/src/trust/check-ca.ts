/** Checks that the CA can be reached and is verified: the first step of every join. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { tlsTarget } from '../svid/channel.ts';
import { bootstrapBundle, bootstrapOf, fetchBundle } from './bootstrap.ts';

/** How many authorities its bundle has. Throws bootstrap, bundle, unavailable. */
export async function checkCa(settings: Parameters<typeof bootstrapOf>[0], clock: Clock): Promise<number> {
  const bundle = await bootstrapBundle(bootstrapOf(settings));
  return (await fetchBundle(tlsTarget(settings.ca.address, bundle, undefined, clock))).length;
}
