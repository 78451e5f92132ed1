/** `bundle`: prints the authorities that agents and other software must trust. */

import type { Bundle as BundleMessage } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { type Command, MisuseError } from '@chancery/shared/cli/program.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { writeBundle } from '@chancery/shared/spiffe/bundle.ts';
import { readJwtAuthorities } from '@chancery/shared/spiffe/jwt-authority.ts';
import * as grpc from '@grpc/grpc-js';
import { paths, readCaConfig } from '../config.ts';
import { writeBundleFile } from './bundle-file.ts';
import { CONFIG_FLAG, configFile } from './flags.ts';

export const bundle: Command = {
  says: "Prints the trust domain's authorities, for agents and servers to trust.",
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
    const { x509Authorities: authorities, jwtAuthorities: offered, sequence, logKey } = message;
    if (format === 'pem') io.out(writeBundleFile(authorities, logKey));
    else {
      const jwtAuthorities = readJwtAuthorities(offered);
      const { trustDomain } = settings;
      io.out(`${writeBundle({ trustDomain, authorities, jwtAuthorities, sequence })}\n`);
    }
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
