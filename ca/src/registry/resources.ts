/** The resources that an operator writes: read from YAML, checked as a set, kept as JSON. */
import { isRefusal } from '@chancery/shared/errors.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { Access, McpServer } from '@chancery/shared/policy/resources.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { Problems, type Read, readDocuments } from '@chancery/shared/yaml.ts';
import { z } from 'zod';
import { compileIdentity, type Identity, IdentityResource } from './identity.ts';
import { overlapsOf, reservedIn } from './names.ts';

export const Resource = z.discriminatedUnion('kind', [IdentityResource, McpServer, Access]);
export type Resource = z.infer<typeof Resource>;

export interface ResourceFile {
  readonly name: string;
  readonly text: string;
}

/** A set of resources that fit together. */
export interface ResourceSet {
  /** By kind, then name. */
  readonly resources: readonly Resource[];
  readonly identities: readonly Identity[];
  readonly policy: Policy;
}

export interface SetContext {
  readonly trustDomain: TrustDomain;
  readonly platforms: ReadonlySet<string>;
  readonly version: number;
  /** Accepts templates that can give a registered server's SPIFFE ID on another platform than the server's. */
  readonly allowSharedServerIds?: boolean;
}

export interface ReadSet extends ResourceSet {
  /** Sentences about what is accepted and may not be meant. */
  readonly warnings: readonly string[];
}

/** Throws resource with every problem of every file. */
export function readResources(files: readonly ResourceFile[], context: SetContext): ReadSet {
  const problems = new Problems();
  const found: Found[] = files.flatMap((file) =>
    readDocuments(file.text, file.name, Resource, problems).map((read) => ({ ...read, file: file.name })),
  );
  refuseTwins(found, problems);
  refuseDangling(found, context, problems);
  for (const { value, file, lineOf } of found)
    for (const { path, says } of reservedIn(value)) problems.add(file, lineOf(path), says);
  for (const each of found) tryCompile(each, context, problems);
  problems.throwIfAny('resource');
  const resources = found.map(({ value }) => value);
  const warnings = ensureApart(found, context, problems);
  problems.throwIfAny('resource');
  return { ...resourceSet(resources, context), warnings };
}

/** Throws nothing: adds what is refused to `problems`, and returns what the operator should look at. */
function ensureApart(found: readonly Found[], context: SetContext, problems: Problems): readonly string[] {
  const overlaps = overlapsOf(found.map(({ value }) => value));
  const warnings: string[] = [];
  for (const { template, says, acrossPlatforms } of overlaps) {
    const at = found.find(({ value }) => value === template);
    if (acrossPlatforms && context.allowSharedServerIds !== true && at !== undefined)
      problems.add(at.file, at.lineOf(['id']), `${says}; narrow id, or say --allow-shared-server-ids`);
    else warnings.push(says);
  }
  return warnings;
}

/** Compiles resources that `readResources` accepted before. */
export function resourceSet(unsorted: readonly Resource[], context: SetContext): ResourceSet {
  const resources = unsorted.toSorted((a, b) => compare(keyOf(a), keyOf(b)));
  return {
    resources,
    identities: resources.flatMap((each) =>
      each.kind === 'Identity' ? [compileIdentity(each, context.trustDomain)] : [],
    ),
    policy: compilePolicy(
      resources.filter((each) => each.kind !== 'Identity'),
      BigInt(context.version),
    ),
  };
}

export const keyOf = (resource: Resource): string => `${resource.kind}/${resource.name}`;

/** The attestors that an identity demands; none for other resources. */
export const platformsOf = (resource: Resource): readonly string[] =>
  resource.kind === 'Identity' ? [resource.platform ?? [], resource.platforms ?? []].flat() : [];

type Found = Read<Resource> & { readonly file: string };

function refuseTwins(found: readonly Found[], problems: Problems): void {
  const seen = new Map<string, Found>();
  for (const each of found) {
    const twin = seen.get(keyOf(each.value));
    if (twin === undefined) seen.set(keyOf(each.value), each);
    else {
      const where = `${twin.file}:${twin.lineOf(['name'])}`;
      problems.add(each.file, each.lineOf(['name']), `${keyOf(each.value)} is defined at ${where} already`);
    }
  }
}

/** A rule about a server or a platform that is not there would read as if it did something. */
function refuseDangling(found: readonly Found[], context: SetContext, problems: Problems): void {
  const servers = new Set(found.flatMap(({ value }) => (value.kind === 'McpServer' ? [value.name] : [])));
  for (const { value, file, lineOf } of found) {
    for (const platform of platformsOf(value)) {
      if (context.platforms.has(platform)) continue;
      const known = [...context.platforms].join(', ') || 'none';
      problems.add(
        file,
        lineOf(['platform']),
        `platform ${platform} is not configured at this CA (${known})`,
      );
    }
    if (value.kind !== 'Access') continue;
    for (const [index, name] of value.servers.entries())
      if (!servers.has(name))
        problems.add(file, lineOf(['servers', index]), `servers: there is no McpServer named ${name}`);
  }
}

function tryCompile({ value, file, lineOf }: Found, context: SetContext, problems: Problems): void {
  try {
    if (value.kind === 'Identity') compileIdentity(value, context.trustDomain);
    else compilePolicy([value], 0n);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    problems.add(file, lineOf([]), error.message);
  }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
