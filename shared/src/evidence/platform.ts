/** Names of platforms: "tpm", an instance such as "kubernetes/eu-1", and several joined by "+" in ascending order. */
import { ensure } from '../ground/errors.ts';

/** More would cost the CA work and prove nothing more. */
const MAX_PLATFORMS = 4;
/** A kind such as "tpm", or one instance of a kind, such as "kubernetes/eu-1". */
const PLATFORM = /^[a-z][a-z0-9-]{0,31}(\/[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)?$/;

/** "kubernetes" of "kubernetes/eu-1". */
export const kindOf = (platform: string): string => platform.split('/', 1)[0] ?? '';

/** How a kind is written before an attribute, in conditions, templates and logs: CEL has no dash in a name. */
export const attributePrefix = (platform: string): string => kindOf(platform).replaceAll('-', '_');

/** Whether the text is a kind of platform, alone or with an instance, as in "kubernetes/eu-1". */
export const isPlatformName = (text: string): boolean => PLATFORM.test(text);

/** The canonical name of a set: ascending. Throws platform_unknown unless `names` is a set of platforms. */
export function joinPlatforms(names: readonly string[]): string {
  return splitPlatforms(names.toSorted().join('+')).join('+');
}

/** Throws platform_unknown unless `text` names one to four platforms of different kinds in ascending order. */
export function splitPlatforms(text: string): readonly string[] {
  const names = text.split('+');
  ensure(
    names.length <= MAX_PLATFORMS && names.every(isPlatformName),
    'platform_unknown',
    `"${text.slice(0, 200)}" is not one to ${MAX_PLATFORMS} platform names joined by "+"`,
  );
  const ascending = names.every((name, index) => index === 0 || name > (names[index - 1] ?? ''));
  ensure(ascending, 'platform_unknown', `the platforms ${text} are not in ascending order`);
  const kinds = new Set(names.map(attributePrefix));
  ensure(kinds.size === names.length, 'platform_unknown', `two of the platforms ${text} are of one kind`);
  return names;
}
