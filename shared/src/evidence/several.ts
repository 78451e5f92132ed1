/**
 * Several platforms in one exchange over one nonce. Their names are joined by "+" in ascending order; what each says or
 * is asked is a list in the same order. One platform alone is written as it is.
 */
import { concat, u8 } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { packFields, unpackFields } from './fields.ts';

/** More would be a way to make the CA work, not a way to prove more. */
const MAX_PLATFORMS = 4;
/** A kind such as "tpm", or one instance of a kind, such as "kubernetes/eu-1". */
const PLATFORM = /^[a-z][a-z0-9-]{0,31}(\/[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)?$/;
/** Before what a platform says, so that saying nothing and saying the empty string differ. */
const SAID = u8(1);
/** Of one platform, and of several together. */
export const MAX_EVIDENCE_BYTES = 2 * 1024 * 1024;

/** "kubernetes" of "kubernetes/eu-1". */
export const kindOf = (platform: string): string => platform.split('/', 1)[0] ?? '';

/** How a kind is written before an attribute, in conditions, templates and logs: CEL has no dash in a name. */
export const attributePrefix = (platform: string): string => kindOf(platform).replaceAll('-', '_');

/** Whether the text is a kind of platform, alone or with an instance, as in "kubernetes/eu-1". */
export const isPlatformName = (text: string): boolean => PLATFORM.test(text);

/** The canonical name of a set: ascending. Throws platform_unknown for what is no set of platforms. */
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

/** One entry a platform: undefined where it says nothing. */
export type Said = readonly (Uint8Array | undefined)[];

/** Bytes for the wire, which `unpackSaid` reads. Saying nothing differs from saying the empty string. */
export function packSaid(said: Said): Uint8Array {
  return packFields(...said.map((each) => (each === undefined ? new Uint8Array() : concat(SAID, each))));
}

/** Views of `bytes`. Throws evidence_parse. */
export function unpackSaid(bytes: Uint8Array, names: readonly string[]): Said {
  const fields = names.map((what) => ({
    what,
    maxBytes: MAX_EVIDENCE_BYTES,
    code: 'evidence_parse' as const,
  }));
  return unpackFields(bytes, fields).map((field, index) => {
    if (field.length === 0) return undefined;
    ensure(field[0] === SAID[0], 'evidence_parse', `${names[index]} begins with byte ${field[0]}, not 1`);
    return field.subarray(1);
  });
}

/** The node of several platforms: each one's own, joined by "+", in the platforms' order. */
export const joinNodes = (nodes: readonly string[]): string =>
  nodes.length === 1 ? (nodes[0] ?? '') : nodes.map(escapePlus).join('+');

const escapePlus = (node: string): string => node.replaceAll('%', '%25').replaceAll('+', '%2B');
const unescapePlus = (node: string): string => node.replaceAll('%2B', '+').replaceAll('%25', '%');

/** What one platform knows a machine by. */
export interface Holder {
  readonly platform: string;
  readonly node: string;
}

/** As shares, messages and the targets of revocations name it. */
export const nodeName = ({ platform, node }: Holder): string => `${platform}/${node}`;

/** The single platforms and nodes behind what `joinPlatforms` and `joinNodes` made. */
export function partsOf({ platform, node }: Holder): readonly Holder[] {
  const names = platform.split('+');
  if (names.length === 1) return [{ platform, node }];
  const nodes = node.split('+').map(unescapePlus);
  return names.map((name, index) => ({ platform: name, node: nodes[index] ?? '' }));
}
