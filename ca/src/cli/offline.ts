/** `check` and `bundle`: what needs no running CA. */

import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Bundle as BundleMessage } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { type Command, MisuseError } from '@chancery/shared/cli.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { IdentityError } from '@chancery/shared/errors.ts';
import { readKek } from '@chancery/shared/keys/file.ts';
import { writeBundle } from '@chancery/shared/spiffe/bundle.ts';
import * as grpc from '@grpc/grpc-js';
import { attestorsFrom } from '../attestors/index.ts';
import { paths, readCaConfig } from '../config.ts';
import { readResources } from '../registry/resources.ts';
import { FILE_FLAG, readFiles } from './apply.ts';
import { CONFIG_FLAG, configFile, JSON_FLAG, printJson } from './flags.ts';

export const check: Command = {
  says: 'Reads the config, its files and, with -f, resources, and tells every problem. Changes nothing.',
  flags: { ...FILE_FLAG, ...CONFIG_FLAG, ...JSON_FLAG },
  async run(invocation, io) {
    const settings = readCaConfig(configFile(invocation));
    readKek(settings.keyEncryptionKey);
    // An attestor reads its files when it is made, and remembers nothing until it attests.
    const memory = { advance: async () => {} };
    const attestors = attestorsFrom(settings.attestors, {
      memory,
      readFile: (path) => readFileSync(resolve(dirname(settings.file), path)),
    });
    const platforms = attestors.map(({ type }) => type);
    const files = readFiles(invocation.texts('file'));
    const context = { trustDomain: settings.trustDomain, platforms: new Set(platforms), version: 0 };
    const { resources } = readResources(files, context);
    const about = {
      config: settings.file,
      trustDomain: settings.trustDomain,
      platforms,
      resources: resources.length,
    };
    if (invocation.has('json')) printJson(io, about);
    else {
      const found = [settings.trustDomain, platforms.join(' and '), `${resources.length} resources`];
      io.out(`${settings.file} is good: ${found.join(', ')}\n`);
    }
    return 0;
  },
};

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
