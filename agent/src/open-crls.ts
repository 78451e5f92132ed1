/** Keeps the CA's revocation lists (CRL) where an output asks for them. */
import type { Agent, AgentDeps } from './agent.ts';
import type { AgentSettings } from './config.ts';
import { type Target, tlsTarget } from './svid/channel.ts';
import { type KeptCrls, keepCrls } from './trust/crl/crls.ts';
import { fetchCrls } from './trust/crl/fetch.ts';

/** Undefined if no output asks. The caller closes it. */
export function openCrls(
  { outputs, ca }: Pick<AgentSettings, 'outputs' | 'ca'>,
  { trust, bundle }: Agent,
  deps: AgentDeps,
): KeptCrls | undefined {
  if (outputs.every(({ crl }) => crl !== true)) return undefined;
  const judge = { now: () => deps.clock.now() };
  // Anybody may ask, also an agent whose keys stay in its platform.
  const target = (): Target => trust?.caTarget() ?? tlsTarget(ca.address, bundle.current(), undefined, judge);
  return keepCrls({ ...deps, bundle, told: trust?.crls, fetch: (signal) => fetchCrls(target(), signal) });
}
