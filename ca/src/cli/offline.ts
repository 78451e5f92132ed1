/** `check` and `bundle`: what needs no running CA. */

import type { Bundle as BundleMessage } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { type Command, MisuseError } from '@chancery/shared/cli.ts';
import { systemClock } from '@chancery/shared/clock.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { IdentityError, isRefusal } from '@chancery/shared/errors.ts';
import { readKek } from '@chancery/shared/keys/file.ts';
import { silentLog } from '@chancery/shared/log.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { writeBundle } from '@chancery/shared/spiffe/bundle.ts';
import * as grpc from '@grpc/grpc-js';
import { attestorsFrom, platformsOf } from '../attestors/index.ts';
import { type CaSettings, paths, readBeside, readCaConfig } from '../config.ts';
import type { ApplyOptions } from '../registry/registry.ts';
import { type ResourceFile, readResources } from '../registry/resources.ts';
import { FILE_FLAG, printWarnings, readFiles, SHARED_IDS_FLAG } from './apply.ts';
import { CONFIG_FLAG, configFile, JSON_FLAG, printJson } from './flags.ts';

export const check: Command = {
  says: 'Checks the config, its files and, with -f, resources, and reports every problem. Changes nothing.',
  flags: { ...FILE_FLAG, ...SHARED_IDS_FLAG, ...CONFIG_FLAG, ...JSON_FLAG },
  async run(invocation, io) {
    const settings = readCaConfig(configFile(invocation));
    const files = readFiles(invocation.texts('file'));
    const allowSharedServerIds = invocation.has('allow-shared-server-ids');
    const { resources, warnings } = await checked(settings, files, { allowSharedServerIds });
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
  const deps = {
    trustDomain,
    memory: nothing,
    readFile: readBeside(file),
    outbound,
    clock: systemClock,
    log: silentLog,
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
  const { resources, warnings } = readResources(files, context);
  return { resources: resources.length, warnings };
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

export const bundle: Command = {
  says: "Prints the trust domain's authorities, for whoever is to trust them.",
  flags: {
    format: {
      type: 'string',
      value: 'pem|spiffe',
      says: 'PEM certificates, or a SPIFFE bundle document (default: pem).',
    },
    ...CONFIG_FLAG,
  },
  async run(invocation, io) {
    const format = invocation.text('format') ?? 'pem';
    if (format !== 'pem' && format !== 'spiffe') throw new MisuseError('--format is pem or spiffe');
    const settings = readCaConfig(configFile(invocation));
    const message = await getBundle(paths(settings.dataDir).admin);
    const { x509Authorities: authorities, sequence } = message;
    if (format === 'pem') io.out(authorities.map((der) => writePem('CERTIFICATE', der)).join(''));
    else io.out(`${writeBundle({ trustDomain: settings.trustDomain, authorities, sequence })}\n`);
    return 0;
  },
};

function getBundle(socket: string): Promise<BundleMessage> {
  const client = new TrustClient(`unix:${socket}`, grpc.credentials.createInsecure());
  return new Promise<BundleMessage>((resolve, reject) => {
    const deadline = new Date(Date.now() + 10_000);
    client.getBundle({}, new grpc.Metadata(), { deadline }, (error, response) => {
      client.close();
      if (error)
        reject(
          new IdentityError('unavailable', `the CA at ${socket} does not answer: run chancery-ca serve`),
        );
      else resolve(response);
    });
  });
}
