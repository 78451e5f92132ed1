/** `check`: all that `serve` would refuse, found without a running CA and without changing anything. */
import type { Command } from '@chancery/shared/cli.ts';
import { systemClock } from '@chancery/shared/clock.ts';
import { IdentityError, isRefusal } from '@chancery/shared/errors.ts';
import { readKek } from '@chancery/shared/keys/file.ts';
import { type Log, silentLog } from '@chancery/shared/log.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { attestorsFrom, platformsOf } from '../attestors/index.ts';
import { type CaSettings, readBeside, readCaConfig } from '../config.ts';
import type { ApplyOptions } from '../registry/registry.ts';
import { type ResourceFile, readResources } from '../registry/resources.ts';
import { printWarnings, SHARED_IDS_FLAG } from './apply.ts';
import { FILE_FLAG, readFiles } from './files.ts';
import { CONFIG_FLAG, configFile, JSON_FLAG, printJson } from './flags.ts';

const STRICT_FLAG = {
  strict: { type: 'boolean', says: 'Treat warnings as errors.' },
} as const;

export const check: Command = {
  says: 'Checks the config, its files and, with -f, resources, and reports every problem. Changes nothing.',
  flags: { ...FILE_FLAG, ...SHARED_IDS_FLAG, ...STRICT_FLAG, ...CONFIG_FLAG, ...JSON_FLAG },
  async run(invocation, io) {
    const settings = readCaConfig(configFile(invocation));
    const files = await readFiles(invocation, io);
    const allowSharedServerIds = invocation.has('allow-shared-server-ids');
    const { resources, warnings } = await checked(settings, files, { allowSharedServerIds });
    if (invocation.has('strict') && warnings.length > 0)
      throw new IdentityError('config', warnings.join('\n'));
    printWarnings(io, warnings);
    const { file, trustDomain } = settings;
    const platforms = platformsOf(settings.attestors);
    if (invocation.has('json')) printJson(io, { config: file, trustDomain, platforms, resources });
    else io.out(`${file} is good: ${trustDomain}, ${platforms.join(' and ')}, ${resources} resources\n`);
    return 0;
  },
};

/** How many resources there are, and what to look at. Throws all that is wrong, one below the other. */
async function checked(settings: CaSettings, files: readonly ResourceFile[], how: ApplyOptions) {
  const { trustDomain, file } = settings;
  const context = { trustDomain, platforms: new Set(platformsOf(settings.attestors)), version: 0, ...how };
  // An attestor reads its files when it is made; it remembers and asks nothing until it attests.
  const nothing = { advance: async () => {}, bind: async () => {} };
  const outbound = openOutbound();
  const warnings: string[] = [];
  const deps = {
    trustDomain,
    memory: nothing,
    readFile: readBeside(file),
    outbound,
    clock: systemClock,
    log: { ...silentLog, warn: (_, message) => void warnings.push(message) } satisfies Log,
  };
  const attempts = [
    () => readKek(settings.keyEncryptionKey),
    () => attestorsFrom(settings.attestors, deps),
    () => readResources(files, context),
  ];
  const refusals = (await Promise.all(attempts.map(refusalFrom))).flat();
  outbound.close();
  const [first] = refusals;
  if (first !== undefined)
    throw new IdentityError(first.code, refusals.map(({ message }) => message).join('\n'));
  const read = await readResources(files, context);
  return { resources: read.resources.length, warnings: [...warnings, ...read.warnings] };
}

async function refusalFrom(attempt: () => unknown): Promise<readonly IdentityError[]> {
  try {
    await attempt();
    return [];
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return [error];
  }
}
