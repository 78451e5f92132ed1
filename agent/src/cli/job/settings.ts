/** What `issue` and `exec` share: settings from flags if a job has no config, and how long they wait. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Flag, type Invocation, MisuseError } from '@chancery/shared/cli/program.ts';
import { parseDuration } from '@chancery/shared/config/duration.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId, trustDomainOf } from '@chancery/shared/spiffe/id.ts';
import { parseAgentConfig, readAgentConfig } from '../../config/read.ts';
import type { AgentSettings } from '../../config/schema.ts';
import { CONFIG_FLAG, configFile } from '../flags.ts';

export const JOB_FLAGS = {
  ca: { type: 'string', value: 'HOST:PORT', says: 'Instead of a config: where the CA serves.' },
  'trust-domain': { type: 'string', value: 'NAME', says: 'Instead of a config: the trust domain of the CA.' },
  bundle: {
    type: 'string',
    value: 'FILE',
    says: 'Instead of a config: the bundle to verify the CA with; or --pin.',
  },
  pin: {
    type: 'string',
    value: 'SHA256',
    says: "Instead of a config: SHA-256 of the root's public key; or --bundle.",
  },
  id: {
    type: 'string',
    value: 'SPIFFE-ID',
    says: 'The SPIFFE ID to request, if the evidence earns several.',
  },
  timeout: { type: 'string', value: 'DURATION', says: 'How long to wait for a certificate (default: 60s).' },
  ...CONFIG_FLAG,
} as const satisfies Record<string, Flag>;

const INSTEAD = ['ca', 'trust-domain', 'bundle', 'pin'] as const;

/**
 * Settings from flags alone, with `platform: auto`, or from a config alone. `dataDir` holds what lives only as long as
 * the job. Throws config.
 */
export function jobSettings(invocation: Invocation, dataDir: string): AgentSettings {
  const given = INSTEAD.filter((flag) => invocation.text(flag) !== undefined);
  if (given.length > 0 && invocation.text('config') !== undefined)
    throw new MisuseError(`--${given[0]} is instead of a config: leave out one of them`);
  const settings = given.length > 0 ? settingsFromFlags(invocation) : settingsFromFile(invocation);
  const id = invocation.text('id');
  return { ...(id === undefined ? settings : withId(settings, id)), dataDir };
}

function settingsFromFile(invocation: Invocation): AgentSettings {
  const file = configFile(invocation);
  if (invocation.text('config') === undefined && !existsSync(file))
    throw new MisuseError('expected --ca, --trust-domain and --bundle or --pin, or a config by --config');
  return readAgentConfig(file);
}

function settingsFromFlags(invocation: Invocation): AgentSettings {
  const [address, trustDomain] = [invocation.text('ca'), invocation.text('trust-domain')];
  const [bundle, pin] = [invocation.text('bundle'), invocation.text('pin')];
  if (address === undefined || trustDomain === undefined)
    throw new MisuseError('expected --ca and --trust-domain together');
  const trusted = { ...(bundle && { bundle: resolve(bundle) }), ...(pin && { pin }) };
  // JSON is YAML: one reader and its messages serve both.
  const config = { trustDomain, ca: { address, ...trusted }, platform: 'auto', dataDir: '.' };
  return parseAgentConfig(JSON.stringify(config), 'flags');
}

function withId(settings: AgentSettings, text: string): AgentSettings {
  const id = parseSpiffeId(text);
  const { trustDomain } = settings;
  ensure(trustDomainOf(id) === trustDomain, 'config', `--id ${id} is not of trust domain ${trustDomain}`);
  return { ...settings, id };
}

/** Seconds, 60 where --timeout is missing. Throws config if it is not a duration. */
export function timeoutOf(invocation: Invocation): number {
  return parseDuration(invocation.text('timeout') ?? '60s');
}
