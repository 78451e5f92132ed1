/** What the CA asks of others, or holds them to: the platforms' attestors, and the issuer that operators sign in at. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { attestorsFrom } from './attestors/index.ts';
import { type CaSettings, readBeside } from './config.ts';
import type { FileReads } from './serving/loaded.ts';
import { type SignInDeps, signIn } from './sign-in/sign-in.ts';
import { nodeMemory } from './store/node-memory.ts';
import type { Store } from './store/store.ts';
import { keySetFrom } from './tokens/jwks.ts';

export interface OutsideDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** Everything that has been opened and must be closed. */
  readonly open: { close(): Promise<void> }[];
  readonly fileReads: FileReads;
}

/** The attestors by their platforms. Throws config. */
export async function openPlatforms(
  { attestors: config, trustDomain, file }: CaSettings,
  { store, clock, log, open, fileReads }: OutsideDeps,
) {
  const outbound = openOutbound();
  open.push({ close: async () => outbound.close() });
  const readFile = fileReads.reading(readBeside(file));
  const known = { trustDomain, memory: nodeMemory(store), readFile, outbound, clock, log };
  const attestors = await attestorsFrom(config, known);
  return new Map(attestors.map((attestor) => [attestor.type, attestor]));
}

/** Undefined if the config has no `operators`. Throws config. */
export function openSignIn(
  { operators: config, trustDomain, file }: CaSettings,
  deps: OutsideDeps & Pick<SignInDeps, 'authorities' | 'revocations'> & Pick<SignInDeps, 'random'>,
) {
  if (config === undefined) return undefined;
  const outbound = openOutbound();
  deps.open.push({ close: async () => outbound.close() });
  const ca = config.ca === undefined ? undefined : deps.fileReads.reading(readBeside(file))(config.ca);
  const keys = keySetFrom({ discover: config.issuer }, { ...deps, outbound, ca });
  const all = { ...deps, trustDomain, config, keys };
  return { config, run: (request: Parameters<typeof signIn>[0]) => signIn(request, all) };
}
