/** `platform: auto`: finds where the agent runs, and says what it tried. */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { EvidenceSource } from './evidence.ts';
import {
  configOf,
  type Detected,
  detectAll,
  type EvidenceConfig,
  type OpenDeps,
  openEvidence,
} from './index.ts';

/** The platform of the config, or the one that is found. Throws platform_unavailable with everything that was tried. */
export async function findEvidence(
  config: EvidenceConfig | undefined,
  deps: OpenDeps & { readonly log: Log },
  signal: AbortSignal,
): Promise<EvidenceSource> {
  if (config !== undefined) return openEvidence(config, deps);
  const tried = await detectAll(deps, signal);
  signal.throwIfAborted();
  const found = firstUsable(tried);
  if (found === undefined) {
    const lines = tried.map(({ platform, says }) => `  ${platform}: ${says}`).join('\n');
    throw new IdentityError('platform_unavailable', `no supported platform found; tried:\n${lines}`);
  }
  deps.log.info({ platform: found.platform, because: found.says }, 'found the platform');
  return openEvidence(configOf(found), deps);
}

/** The first usable platform, which `platform: auto` uses; undefined if there is none. */
export const firstUsable = (tried: readonly Detected[]): Detected | undefined =>
  tried.find(({ usable }) => usable);
