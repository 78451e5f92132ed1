/** What the CA attested of a workload, as its certificate says it. */
import { utf8 } from '../ground/bytes.ts';

export interface Attested {
  /** The attestors that proved it, as in `kubernetes/eu-1`; undefined if the certificate does not say. */
  readonly platform: string | undefined;
  /** The narrower grant that it was asked for with; undefined if it has the whole one. */
  readonly scope?: string | undefined;
  /** By `kind.name`, such as `aws.account`: those that the Identity names. */
  readonly attributes: ReadonlyMap<string, string>;
}

/** Of a certificate that says nothing. */
export const NOT_ATTESTED: Attested = { platform: undefined, scope: undefined, attributes: new Map() };

/** Of one certificate. */
export const MAX_ATTRIBUTES = 16;
/** Of one value, in bytes of UTF-8. */
export const MAX_VALUE_BYTES = 256;

/** The kind of a platform and a name. The kind is at most 32 characters, the name 64. */
const NAME = /^[a-z][a-z0-9_]{0,31}\.[a-z][a-zA-Z0-9_]{0,63}$/;
/** Control and format characters and line separators have no place in a value that a person reads. */
const VALUE = /^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+$/u;

/** As resources have them. */
const SCOPE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Whether a certificate can have a scope of this name. */
export const isScope = (name: string): boolean => SCOPE.test(name);

/** Whether a certificate can have an attribute of this name. */
export const isAttributeName = (name: string): boolean => NAME.test(name);

/** Whether a certificate can have an attribute with this value: not empty, of visible characters, and short. */
export const isAttributeValue = (value: string): boolean =>
  value.length <= MAX_VALUE_BYTES && VALUE.test(value) && utf8(value).length <= MAX_VALUE_BYTES;
