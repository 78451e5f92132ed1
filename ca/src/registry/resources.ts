/** The resources that an operator writes: read from YAML, checked as a set, kept as JSON. */

import { sentence, sentencesOf } from '@chancery/shared/config/schema.ts';
import { eachDocument, Problems, type Read } from '@chancery/shared/config/yaml.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { twinsAmong } from '@chancery/shared/mcp/union-name.ts';
import { isPattern } from '@chancery/shared/policy/lookup/classes.ts';
import { compileToolPattern } from '@chancery/shared/policy/patterns/tool.ts';
import { compilePolicy, type Policy, whyNotBeside } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { hasEnded, isOver } from '@chancery/shared/policy/resources/until.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { z } from 'zod';
import { Breath } from './breath.ts';
import { compileIdentity, type Identity, IdentityResource } from './identity/identity.ts';
import { overlapsOf, reservedIn } from './identity/names.ts';

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
  /** When the set is applied. Left out where it is only read: then nothing is said about how long a roll-out lasts. */
  readonly now?: Date;
  /** Accepts templates that can give a registered server's SPIFFE ID on another platform than the server's. */
  readonly allowSharedServerIds?: boolean;
}

export interface ReadSet extends ResourceSet {
  /** Warnings about what is accepted but may be a mistake. */
  readonly warnings: readonly string[];
}

/** Text of all files together: about a minute of one core, in slices. */
export const MAX_SET_BYTES = 16 * 1024 * 1024;

/** Breathes between resources. Throws resource with every problem of every file. */
export async function readResources(files: readonly ResourceFile[], context: SetContext): Promise<ReadSet> {
  const problems = new Problems();
  const breath = new Breath();
  const found: Found[] = [];
  for (const { name, text } of files)
    for (const documents of eachDocument(text, name, Resource, problems)) {
      found.push(...documents.map((read) => ({ ...read, file: name })));
      await breath.take();
    }
  // Of a document that could not be read nobody knows the name: it may be the server that a rule is about.
  const isWhole = problems.isEmpty;
  refuseTwins(found, problems);
  refuseStrangePlatforms(found, context, problems);
  if (isWhole) refuseMisfits(found, problems);
  for (const each of found) {
    refuseStrangeTools(each, problems);
    refuseLongRollOut(each, context.now, problems);
  }
  refuseShownTwins(found, problems);
  const identities = new Map<Resource, Identity>();
  for (const each of found) {
    for (const { path, says } of reservedIn(each.value)) problems.add(each.file, each.lineOf(path), says);
    const identity = tryCompile(each, context, problems);
    if (identity !== undefined) identities.set(each.value, identity);
    await breath.take();
  }
  problems.throwIfAny('resource');
  const warnings = [
    ...(await ensureApart(found, { context, problems, breath })),
    ...found.flatMap(({ value }) => [...warnUnclassified(value), ...warnRollOut(value, context.now)]),
  ];
  problems.throwIfAny('resource');
  const resources = found.map(({ value }) => value);
  return { ...resourceSet(resources, context, identities), warnings };
}

/** Never throws: adds refusals to `problems`, and returns warnings. */
async function ensureApart(
  found: readonly Found[],
  { context, problems, breath }: { context: SetContext; problems: Problems; breath: Breath },
): Promise<readonly string[]> {
  const warnings: string[] = [];
  for (const overlaps of overlapsOf(found.map(({ value }) => value))) {
    for (const { template, says, acrossPlatforms } of overlaps) {
      const at = found.find(({ value }) => value === template);
      if (acrossPlatforms && context.allowSharedServerIds !== true && at !== undefined)
        problems.add(at.file, at.lineOf(['id']), `${says}; narrow id, or pass --allow-shared-server-ids`);
      else warnings.push(says);
    }
    await breath.take();
  }
  return warnings;
}

/** Compiles resources that `readResources` accepted. `compiled` are identities that are already compiled. */
export function resourceSet(
  unsorted: readonly Resource[],
  context: SetContext,
  compiled?: ReadonlyMap<Resource, Identity>,
): ResourceSet {
  const resources = unsorted.toSorted((a, b) => compare(keyOf(a), keyOf(b)));
  return {
    resources,
    identities: resources.flatMap((each) =>
      each.kind === 'Identity' ? [compiled?.get(each) ?? compileIdentity(each, context.trustDomain)] : [],
    ),
    policy: compilePolicy(
      resources.filter((each) => each.kind !== 'Identity'),
      BigInt(context.version),
    ),
  };
}

/**
 * Warnings about resources that an older release accepted and `apply` now refuses. They stay in force, but a set that
 * has them, such as their own export, cannot be applied.
 */
export const refusedByNow = (resources: readonly Resource[]): readonly string[] =>
  resources.flatMap((each) => {
    const { error } = Resource.safeParse(each, { error: sentence });
    if (error === undefined) return [];
    const why = sentencesOf(error);
    return [`${keyOf(each)} is in force, but apply refuses it (${why}): apply a set that has it mended`];
  });

/** Warnings about resources that are off from the start. */
export const warnEnded = ({ resources }: Pick<ResourceSet, 'resources'>, now: Date): readonly string[] =>
  resources
    .filter((each) => hasEnded(each, now))
    .map((each) => `${keyOf(each)} is off: its until (${each.until}) has passed`);

/** Unique in a set, and what diffs and problems name a resource by. */
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

/** It would look effective but do nothing. */
function refuseStrangePlatforms(found: readonly Found[], context: SetContext, problems: Problems): void {
  const known = [...context.platforms].join(', ') || 'none';
  for (const { value, file, lineOf } of found)
    for (const platform of platformsOf(value))
      if (!context.platforms.has(platform))
        problems.add(
          file,
          lineOf(['platform']),
          `platform ${platform} is not configured at this CA (${known})`,
        );
}

/** Refuses a rule about an unknown server, which would do nothing either, or one that cannot be for the server. */
function refuseMisfits(found: readonly Found[], problems: Problems): void {
  const servers = new Map(
    found.flatMap(({ value }) => (value.kind === 'McpServer' ? [[value.name, value] as const] : [])),
  );
  for (const { value, file, lineOf } of found) {
    if (value.kind !== 'Access') continue;
    for (const [index, name] of value.servers.entries()) {
      const server = servers.get(name);
      if (server === undefined)
        problems.add(file, lineOf(['servers', index]), `servers: there is no McpServer named ${name}`);
      const why = server && whyNotBeside(value, server);
      if (why !== undefined) problems.add(file, lineOf(['when']), why);
    }
  }
}

/** Refuses a pattern of tools that is none: it would be a name that no tool has. */
function refuseStrangeTools({ value, file, lineOf }: Found, problems: Problems): void {
  if (value.kind !== 'McpServer') return;
  for (const text of Object.keys(value.tools ?? {}))
    try {
      if (isPattern(text)) compileToolPattern(text);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      problems.add(file, lineOf(['tools', text]), `tools: ${error.message}`);
    }
}

/** Refuses two names that one endpoint for all servers (`chancery-agent connect`) would show as one. */
function refuseShownTwins(found: readonly Found[], problems: Problems): void {
  const servers = found.flatMap(({ value }) => (value.kind === 'McpServer' ? [value] : []));
  const named = servers.map(({ name, tools = {} }) => ({
    name,
    tools: Object.keys(tools).filter((text) => !isPattern(text)),
  }));
  for (const { server, tool, says } of twinsAmong(named)) {
    const at = found.find(({ value }) => value.kind === 'McpServer' && value.name === server);
    if (at !== undefined)
      problems.add(at.file, at.lineOf(tool === undefined ? ['name'] : ['tools', tool]), says);
  }
}

/** `denyActions` misses tools without a class, and beside `*` the rule itself allows them. */
function warnUnclassified(resource: Resource): readonly string[] {
  if (resource.kind !== 'Access') return [];
  const { allow = [], denyActions = [] } = resource.tools ?? {};
  if (denyActions.length === 0 || !allow.includes('*')) return [];
  const says = `allows * and denies ${denyActions.join(', ')}: a tool that its McpServer gives no class is allowed`;
  return [`${keyOf(resource)} ${says}`];
}

/** `observe` and `everything` let pass what rules do not allow: for a roll-out, and no longer. */
const ROLL_OUT_DAYS = 30;

const rollOutsOf = (resource: Resource) =>
  resource.kind === 'McpServer'
    ? [{ key: 'observe', part: resource.observe, does: 'lets pass what rules deny' }]
    : resource.kind === 'Access'
      ? [{ key: 'everything', part: resource.everything, does: 'allows everything' }]
      : [];

function refuseLongRollOut({ value, file, lineOf }: Found, now: Date | undefined, problems: Problems): void {
  if (now === undefined) return;
  const latest = addSeconds(now, ROLL_OUT_DAYS * 86_400);
  for (const { key, part } of rollOutsOf(value)) {
    if (part === undefined || new Date(part.until) <= latest) continue;
    const says = `${key}.until is at most ${ROLL_OUT_DAYS} days from now: ${latest.toISOString()} or before`;
    problems.add(file, lineOf([key, 'until']), says);
  }
}

const warnRollOut = (resource: Resource, now: Date | undefined): readonly string[] =>
  rollOutsOf(resource).flatMap(({ key, part, does }) => {
    if (now === undefined || part === undefined) return [];
    const { until } = part;
    if (isOver(part, now)) return [`${keyOf(resource)}: ${key} is off, its until (${until}) has passed`];
    return [`${keyOf(resource)} ${does} until ${until} (${key})`];
  });

function tryCompile(
  { value, file, lineOf }: Found,
  context: SetContext,
  problems: Problems,
): Identity | undefined {
  try {
    if (value.kind === 'Identity') return compileIdentity(value, context.trustDomain);
    compilePolicy([value], 0n);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    problems.add(file, lineOf([]), error.message);
  }
  return undefined;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
