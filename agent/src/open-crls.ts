/** Keeps the CA's revocation lists (CRL) where an output asks for them. */
import type { Agent, AgentDeps } from './agent.ts';
import { type AgentSettings, paths } from './config/schema.ts';
import { type Target, tlsTarget } from './svid/channel.ts';
import { type CrlOptions, type KeptCrls, keepCrls } from './trust/crl/crls.ts';
import { fetchCrls } from './trust/crl/fetch.ts';
import { savedCrls } from './trust/crl/saved.ts';

/** Undefined if no output asks. The caller closes it. */
export function openCrls(
  { outputs, ca, dataDir }: Pick<AgentSettings, 'outputs' | 'ca' | 'dataDir'>,
  { trust, bundle }: Agent,
  deps: AgentDeps,
): KeptCrls | undefined {
  if (outputs.every(({ crl }) => crl !== true)) return undefined;
  const judge = { now: () => deps.clock.now() };
  // Anybody may ask, also an agent whose keys stay in its platform.
  const target = (): Target => trust?.caTarget() ?? tlsTarget(ca.address, bundle.current(), undefined, judge);
  const saved = savedCrls(paths(dataDir).crls, deps.log);
  const fetch: CrlOptions['fetch'] = (signal) => fetchCrls(target(), signal);
  return keepCrls({ ...deps, bundle, told: trust?.crls, saved, fetch });
}
