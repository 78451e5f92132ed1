/** `check`: finds everything that `serve` would refuse, without any change; of a CA that serves it asks what it has. */
import { type Command, JSON_FLAG } from '@chancery/shared/cli/program.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { type Log, silentLog } from '@chancery/shared/ground/log.ts';
import { passphraseFileOf, readKek } from '@chancery/shared/keys/kek.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { inFile } from '@chancery/shared/unix/files/whole-file.ts';
import { attestorsFrom, platformsOf } from '../../attestors/index.ts';
import { type CaSettings, readBeside, readCaConfig } from '../../config.ts';
import type { ApplyOptions } from '../../registry/registry.ts';
import { type ResourceFile, readResources, warnEnded } from '../../registry/resources.ts';
import { FileReads, settingsIn } from '../../serving/loaded.ts';
import { waitedFor } from '../bar.ts';
import { FILE_FLAG, readFiles } from '../files.ts';
import { CONFIG_FLAG, configFile, printJson, printWarnings, SHARED_IDS_FLAG } from '../flags.ts';
import { staleListWarning } from '../stale-lists.ts';
import { dataAttempts, type Migration, migrationLine } from './data.ts';
import { askServing, printServing, servingJson, servingWarnings } from './serving.ts';

const STRICT_FLAG = {
  strict: { type: 'boolean', says: 'Treat warnings as errors.' },
} as const;

/** `version` is that of this program. */
export const check = ({ version }: { readonly version: string }): Command => ({
  says:
    'Checks the config, its files, the data of a CA that is stopped and, with -f, resources, and reports every ' +
    'problem. Asks a CA that serves what it has in force, and what a restart would change. Changes nothing.',
  flags: { ...FILE_FLAG, ...SHARED_IDS_FLAG, ...STRICT_FLAG, ...CONFIG_FLAG, ...JSON_FLAG },
  async run(invocation, io) {
    const settings = readCaConfig(configFile(invocation));
    const files = await readFiles(invocation, io);
    const how = { allowSharedServerIds: invocation.has('allow-shared-server-ids') };
    const found = await waitedFor(io, 'checking', () => checked(settings, files, how));
    const loaded = { settings: settingsIn(settings), files: found.fileReads.digests };
    const asked = found.isServing ? await askServing(invocation, loaded) : undefined;
    const warnings = [...found.warnings, ...(asked === undefined ? [] : servingWarnings(asked))];
    if (invocation.has('strict') && warnings.length > 0)
      throw new IdentityError('config', warnings.join('\n'));
    printWarnings(io, warnings);
    const { file, trustDomain } = settings;
    const platforms = platformsOf(settings.attestors);
    const { resources } = found;
    const migration = found.migration && { migration: found.migration };
    const counted = files.length === 0 ? {} : { resources };
    if (invocation.has('json'))
      printJson(io, {
        config: file,
        trustDomain,
        platforms,
        ...counted,
        ...migration,
        ...servingJson(asked),
      });
    else {
      const read = files.length === 0 ? '' : `, ${resources} ${resources === 1 ? 'resource' : 'resources'}`;
      io.out(`${file} is good: ${trustDomain}, ${platforms.join(' and ')}${read}\n`);
      if (found.migration !== undefined) io.out(`${migrationLine(found.migration)}\n`);
      if (asked !== undefined) printServing(asked, version, io);
    }
    return 0;
  },
});

/** Returns the number of resources, and warnings. Throws every problem at once, one per line. */
async function checked(settings: CaSettings, files: readonly ResourceFile[], how: ApplyOptions) {
  const { trustDomain, file } = settings;
  const context = {
    trustDomain,
    platforms: new Set(platformsOf(settings.attestors)),
    version: 0,
    ...how,
    now: systemClock.now(),
  };
  // An attestor reads its files when it is made. It needs memory and network only when it attests.
  const nothing = { advance: async () => {}, bind: async () => {} };
  const outbound = openOutbound();
  const fileReads = new FileReads();
  const warnings: string[] = [];
  let isServing = false;
  let migration: Migration | undefined;
  const on = {
    serving: () => {
      isServing = true;
    },
    migration: (found: Migration) => {
      migration = found;
    },
  };
  const deps = {
    trustDomain,
    memory: nothing,
    readFile: fileReads.reading(readBeside(file)),
    outbound,
    clock: systemClock,
    log: { ...silentLog, warn: (_, message) => void warnings.push(message) } satisfies Log,
  };
  const attempts = [
    () => checkKek(settings, (warning) => warnings.push(warning)),
    () => attestorsFrom(settings.attestors, deps),
    () => readRoots(settings, deps.readFile),
    ...dataAttempts(settings, (warning) => warnings.push(warning), on),
    () => readResources(files, context),
  ];
  const refusals = (await Promise.all(attempts.map(refusalFrom))).flat();
  outbound.close();
  const [first] = refusals;
  if (first !== undefined)
    throw new IdentityError(first.code, refusals.map(({ message }) => message).join('\n'));
  const read = await readResources(files, context);
  const ended = warnEnded(read, systemClock.now());
  const stale = staleListWarning(settings.crl, read.resources) ?? [];
  const all = [...new Set([...warnings, ...read.warnings, ...ended, ...[stale].flat()])];
  return { resources: read.resources.length, warnings: all, isServing, migration, fileReads };
}

/** Those of the issuer where operators sign in, and of who keeps copies of checkpoints. */
function readRoots({ operators, audit }: CaSettings, read: (path: string) => Uint8Array): void {
  for (const path of [operators?.ca, audit.checkpointWebhook?.ca].flatMap((each) => each ?? []))
    inFile(path, 'config', () => read(path));
}

/** `passphrase` of the config is for keys that are made; the file says where the one in force comes from. */
function checkKek({ keyEncryptionKey: path, passphrase }: CaSettings, warn: (warning: string) => void): void {
  readKek(path);
  const from = passphraseFileOf(path);
  if (from !== passphrase)
    warn(
      `${path} comes from ${from ?? 'no passphrase'}, and the config has ${passphrase ?? 'no passphrase'}: ` +
        'chancery-ca keys rewrap replaces it',
    );
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
