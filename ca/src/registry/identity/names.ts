/**
 * Names that a set of resources must not give away: names that the trust domain reserves, and names that one resource
 * states in full while the template of another can produce them from an attribute.
 */
import type { Access } from '@chancery/shared/policy/resources/access.ts';
import type { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { isReserved } from '@chancery/shared/spiffe/reserved.ts';
import type { IdentityResource } from './identity.ts';
import { compileTemplate } from './template.ts';

type Resource = IdentityResource | McpServer | Access;

export interface Reserved {
  /** The place in the resource. */
  readonly path: readonly PropertyKey[];
  readonly says: string;
}

/** A template whose first path segment is an attribute is not refused here, but when it gives a reserved name. */
export function reservedIn(resource: Resource): readonly Reserved[] {
  const why = (text: string) => `${text}: /chancery is reserved for the trust domain itself`;
  const one = (key: string, text: string) => (isReserved(text) ? [{ path: [key], says: why(text) }] : []);
  if (resource.kind === 'Identity') return one('id', resource.id);
  if (resource.kind === 'McpServer') return one('identity', resource.identity);
  return resource.who.flatMap((text, index) =>
    isReserved(text) ? [{ path: ['who', index], says: why(text) }] : [],
  );
}

export interface Overlap {
  /** The identity whose template can give what another resource states. */
  readonly template: Resource;
  readonly says: string;
  /** The other resource is a server, and its SPIFFE ID is earned on a platform that the template does not demand. */
  readonly acrossPlatforms: boolean;
}

interface Giver {
  readonly resource: IdentityResource;
  readonly platforms: readonly string[];
  readonly canGive: (id: string) => boolean;
}

/** The overlaps of each template, one template at a time. The resources must compile. */
export function* overlapsOf(resources: readonly Resource[]): Generator<readonly Overlap[]> {
  const givers = resources.flatMap((each) => (each.kind === 'Identity' ? [giverOf(each)] : []));
  const stated = resources.flatMap((each) => statedBy(each));
  for (const giver of givers.filter(({ resource }) => isTemplate(resource)))
    yield stated
      .filter(({ resource, id }) => resource !== giver.resource && giver.canGive(id))
      .map(({ resource, id }) => overlapOf(giver, resource, { id, givers }));
}

function overlapOf(
  giver: Giver,
  other: IdentityResource | McpServer,
  { id, givers }: { id: string; givers: readonly Giver[] },
): Overlap {
  const says = `Identity/${giver.resource.name} can give ${id}, which is that of ${other.kind}/${other.name}`;
  const elsewhere = other.kind === 'McpServer' ? ownerElsewhere(giver, id, givers) : undefined;
  if (elsewhere === undefined) return { template: giver.resource, says, acrossPlatforms: false };
  const on = `, to nodes of ${giver.platforms.join(' and ')}`;
  const owned = `; Identity/${elsewhere.resource.name} gives it on ${elsewhere.platforms.join(' and ')}`;
  return { template: giver.resource, says: `${says}${on}${owned}`, acrossPlatforms: true };
}

/**
 * An identity that gives the server its SPIFFE ID by other evidence than `giver` demands: one that states it, else
 * another template. Undefined if `giver` demands all the evidence that the server must show.
 */
function ownerElsewhere(giver: Giver, id: string, givers: readonly Giver[]): Giver | undefined {
  const all = givers.filter(({ canGive }) => canGive(id));
  const stating = all.filter(({ resource }) => !isTemplate(resource));
  const isCovered = ({ platforms }: Giver) => platforms.every((each) => giver.platforms.includes(each));
  if (stating.length > 0) return stating.some(isCovered) ? undefined : stating[0];
  return all.find((each) => !isCovered(each));
}

function giverOf(resource: IdentityResource): Giver {
  const platforms = [resource.platform ?? [], resource.platforms ?? []].flat();
  return { resource, platforms, canGive: compileTemplate(resource.id, platforms).canGive };
}

const isTemplate = ({ id }: IdentityResource): boolean => id.includes('{');

function statedBy(resource: Resource): readonly { resource: IdentityResource | McpServer; id: string }[] {
  if (resource.kind === 'McpServer') return [{ resource, id: resource.identity }];
  return resource.kind === 'Identity' && !isTemplate(resource) ? [{ resource, id: resource.id }] : [];
}
