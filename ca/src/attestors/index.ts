/** The list of platforms: a new one needs one line in `KINDS` here. */

import { isPlatformName } from '@chancery/shared/evidence/platform.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { z } from 'zod';
import type { Attestor, AttestorDeps, AttestorKind } from './attestor.ts';
import { awsIamKind } from './aws/iam.ts';
import { awsWebIdentityKind } from './aws/web-identity.ts';
import { azureKind } from './azure.ts';
import { gcpKind } from './gcp.ts';
import { kubernetesKind } from './kubernetes.ts';
import { oidcKind } from './oidc.ts';
import { tpmKind } from './tpm.ts';
import { unixKind } from './unix.ts';

const KINDS = {
  'aws-iam': one(awsIamKind),
  'aws-web-identity': one(awsWebIdentityKind),
  azure: one(azureKind),
  gcp: one(gcpKind),
  kubernetes: named(kubernetesKind),
  oidc: named(oidcKind),
  tpm: one(tpmKind),
  unix: one(unixKind),
};

/** A way to configure a platform. */
interface Entry<Input> {
  readonly schema: z.ZodType<Input>;
  /** The names under which agents and identities know what is configured. */
  names(config: Input): readonly string[];
  create(config: Input, deps: AttestorDeps): Promise<readonly Attestor[]>;
}

/** A platform that is configured once. */
function one<Config>(kind: AttestorKind<Config>): Entry<Config> {
  return {
    schema: kind.schema.describe(kind.says),
    names: () => [kind.type],
    create: async (config, deps) => [await kind.create(config, { ...deps, type: kind.type })],
  };
}

/** A platform that may be configured several times, each under a name that the operator chooses. */
function named<Config>(kind: AttestorKind<Config>): Entry<Readonly<Record<string, Config>>> {
  const nameOf = (instance: string): string => `${kind.type}/${instance}`;
  const instance = z
    .string()
    .refine((text) => isPlatformName(nameOf(text)), 'a name is lower-case letters, digits, dots and dashes');
  return {
    schema: z
      .record(instance, kind.schema.describe(`One of them, known as ${nameOf('NAME')}.`))
      .superRefine(
        (value, context) => {
          const { issues } = context;
          if (issues.length > 0 && lacksName(kind.schema, value)) {
            // The others say of its keys what is true of names only.
            issues.splice(0);
            context.addIssue(withName(kind.type, Object.keys(value)));
          } else if (issues.length === 0 && Object.keys(value).length === 0)
            context.addIssue(
              `configure at least one, under a name of your choice: ${kind.type}: { NAME: { ... } }`,
            );
        },
        { when: ({ value }) => typeof value === 'object' && value !== null },
      )
      .describe(kind.says),
    names: (config) => Object.keys(config).map(nameOf),
    create: (config, deps) =>
      Promise.all(
        Object.entries(config).map(([name, each]) => kind.create(each, { ...deps, type: nameOf(name) })),
      ),
  };
}

/** Whether the keys of one instance stand where its name is expected. */
function lacksName(schema: z.ZodType, value: unknown): boolean {
  if (!(schema instanceof z.ZodObject) || typeof value !== 'object' || value === null) return false;
  const isKey = (key: string): boolean => Object.hasOwn(schema.shape, key);
  // An instance may have the name of a key. Every map has the keys with a default here.
  const isWritten = (key: string): boolean =>
    isKey(key) && z.safeParse(schema.shape[key], undefined).data === undefined;
  const isInstance = (each: unknown): boolean =>
    typeof each === 'object' && each !== null && Object.keys(each).some(isWritten);
  const keys = Object.keys(value);
  return keys.length > 0 && keys.every(isKey) && !Object.values(value).some(isInstance);
}

const withName = (type: string, keys: readonly string[]): string =>
  `a name of your choice is missing: write ${type}: { NAME: { ${keys.map((key) => `${key}: ...`).join(', ')} } }`;

type Kinds = typeof KINDS;
type ConfigOf<Name extends keyof Kinds> = z.infer<Kinds[Name]['schema']>;
export type AttestorsConfig = { readonly [Name in keyof Kinds]?: ConfigOf<Name> | undefined };

const entries = Object.entries(KINDS) as readonly (readonly [keyof Kinds, Entry<unknown>])[];

export const AttestorsConfig = z.strictObject({
  ...(Object.fromEntries(entries.map(([name, { schema }]) => [name, schema.optional()])) as {
    readonly [Name in keyof Kinds]: z.ZodOptional<Kinds[Name]['schema']>;
  }),
  'aws-iid': z
    .never(
      'anyone who has read an instance identity document can replay it: use aws-web-identity or aws-iam instead',
    )
    .optional()
    .describe('Refused: instance identity documents can be replayed. See `aws-web-identity` and `aws-iam`.'),
});

/** The names under which the configured ones are known. */
export const platformsOf = (config: AttestorsConfig): readonly string[] =>
  configured(config).flatMap(({ entry, config: own }) => entry.names(own));

/** Those that are configured. Throws config. */
export async function attestorsFrom(
  config: AttestorsConfig,
  deps: AttestorDeps,
): Promise<readonly Attestor[]> {
  const made = await Promise.all(configured(config).map(({ entry, config: own }) => entry.create(own, deps)));
  return made.flat();
}

function configured(config: AttestorsConfig) {
  return entries.flatMap(([name, entry]) => {
    const own = config[name];
    return own === undefined ? [] : [{ entry, config: own as unknown }];
  });
}

/**
 * The attestor that an agent names: by its whole name, or by its kind if there is only one of that kind. Throws
 * platform_unknown.
 */
export function attestorNamed(attestors: ReadonlyMap<string, Attestor>, name: string): Attestor {
  const exact = attestors.get(name);
  if (exact !== undefined) return exact;
  const [only, ...more] = [...attestors.values()].filter(({ type }) => type.startsWith(`${name}/`));
  if (only !== undefined && more.length === 0) return only;
  const why =
    only === undefined
      ? 'is not configured'
      : `is several: ${[only, ...more].map(({ type }) => type).join(', ')}`;
  throw new IdentityError('platform_unknown', `platform "${name}" ${why}`);
}
