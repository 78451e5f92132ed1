/** `keys` of the CA's config. */
import { partitionOf } from '@chancery/shared/aws/hosts.ts';
import { text } from '@chancery/shared/config/schema.ts';
import { KEY_ALGORITHMS } from '@chancery/shared/keys/key.ts';
import { address } from '@chancery/shared/outbound/address.ts';
import { z } from 'zod';

const HOMES = ['file', 'pkcs11', 'aws-kms'] as const;

const newKeys = (whose: string) =>
  z
    .strictObject({
      home: z
        .enum(HOMES)
        .default('file')
        .describe('Where new ones are made; existing ones stay where they are.'),
      algorithm: z
        .enum(KEY_ALGORITHMS as readonly ['ecdsa-p256', 'ecdsa-p384'])
        .default('ecdsa-p256')
        .describe('Of new ones.'),
    })
    .prefault({})
    .describe(`Keys of ${whose}.`);

/** A label is padded with blanks in the token, so it cannot end with one. */
const LABEL = /^[\x21-\x7e]([\x20-\x7e]{0,30}[\x21-\x7e])?$/;

const Pkcs11Config = z.strictObject({
  module: text('a path such as /usr/lib/softhsm/libsofthsm2.so')
    .regex(/^\//, 'an absolute path is expected')
    .describe('The PKCS #11 module (a shared library) of the token; an absolute path.'),
  token: text('a label')
    .regex(LABEL, '1 to 32 printable characters of ASCII are expected')
    .describe('Label of the token.'),
  pinFile: text('a path')
    .min(1)
    .describe('File, 0600, with the PIN of the token in one line. Relative to this file.'),
});

/** "KeyId" in the KMS API Reference: an id, an ARN, an alias or the ARN of one. */
const KEY_NAME = /^(arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:)?(key\/|alias\/)?[A-Za-z0-9/_-]{1,256}$/;

const AwsKmsConfig = z.strictObject({
  region: text('a region such as eu-west-1')
    .refine((region) => partitionOf(region) !== undefined, 'a region such as eu-west-1 is expected')
    .describe('The AWS region in which the keys are.'),
  endpoint: address
    .optional()
    .describe(
      "Where to connect instead of the region's host, such as a VPC endpoint; https, or http on loopback.",
    ),
  rootKey: text('an ARN, an id or alias/NAME')
    .regex(KEY_NAME, 'an ARN, an id or alias/NAME is expected')
    .optional()
    .describe(
      'A key that exists, for the next root, where keys.root.home is aws-kms (default: one is made).',
    ),
});

export const KeysConfig = z
  .strictObject({
    root: newKeys('roots'),
    intermediate: newKeys('issuing certificates'),
    jwt: newKeys('tokens (JWT)'),
    pkcs11: Pkcs11Config.optional().describe(
      'A token that is reached by PKCS #11; needs `npm run pkcs11` once.',
    ),
    'aws-kms': AwsKmsConfig.optional().describe(
      "AWS KMS. Credentials are those that AWS's own search finds, and never in this file.",
    ),
  })
  .superRefine((keys, context) => {
    for (const kind of ['root', 'intermediate', 'jwt'] as const) {
      const { home } = keys[kind];
      if (home === 'file' || keys[home] !== undefined) continue;
      context.addIssue({
        code: 'custom',
        path: [kind, 'home'],
        message: `set keys.${home}, too: it says where it is`,
      });
    }
  })
  .prefault({})
  .describe('Where the keys of authorities are made and kept; the key of the audit log stays in its file.');

export type KeysConfig = z.infer<typeof KeysConfig>;
