/**
 * What the CA attested of a workload, in its leaf: subject directory attributes (RFC 5280 §4.2.1.8) of the type
 * description (RFC 4519 §2.5), one value `name=value` for each. No type of our own is needed, and none is registered.
 */
import { isUtf8 } from 'node:buffer';
import { DerReader, TAG } from '../der/read.ts';
import * as der from '../der/write.ts';
import { asBuffer } from '../ground/bytes.ts';
import { ensure, type Refusal } from '../ground/errors.ts';
import {
  type Attested,
  isAttributeName,
  isAttributeValue,
  isScope,
  MAX_ATTRIBUTES,
  NOT_ATTESTED,
} from '../spiffe/attested.ts';
import type { TbsCertificate } from './certificate.ts';
import { extension, OID, readValue } from './extensions.ts';

const DESCRIPTION = '2.5.4.13';
/** Names in the list beside attributes, whose names have a dot. */
const [PLATFORM, SCOPE] = ['platform', 'scope'];
/** With the longest names and values it has less. */
const MAX_BYTES = 8 * 1024;

/** A whole Extension, for `CertificateFields.extensions`. Not critical. Does not check names and values. */
export function attestedExtension({ platform, scope, attributes }: Attested): Uint8Array {
  const beside = [
    [PLATFORM, platform],
    [SCOPE, scope],
  ].filter(([, value]) => value !== undefined);
  const said = [...beside, ...attributes];
  const values = said.map(([name, value]) => der.utf8String(`${name}=${value}`));
  // X.690 §11.6.
  const list = der.set(...values.toSorted(Buffer.compare));
  return extension(
    OID.subjectDirectoryAttributes,
    false,
    der.sequence(der.sequence(der.oid(DESCRIPTION), list)),
  );
}

/**
 * What a leaf says; one without the extension says nothing. Throws `code` for one that this CA would not write. Rules
 * are decided by it, and what a later release adds may narrow what the workload may do.
 */
export function readAttested(from: Pick<TbsCertificate, 'extensions'>, code: Refusal): Attested {
  const size = from.extensions.get(OID.subjectDirectoryAttributes)?.value.length ?? 0;
  ensure(size <= MAX_BYTES, code, `attested attributes are ${size} bytes, at most ${MAX_BYTES}`);
  const values = readValue(from, OID.subjectDirectoryAttributes, code, (reader) =>
    readDescription(reader, code),
  );
  if (values === undefined) return NOT_ATTESTED;
  const said = new Map<string, string>();
  for (const text of values) {
    const at = text.indexOf('=');
    const [name, value] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
    const isName = name === PLATFORM || isAttributeName(name) || (name === SCOPE && isScope(value));
    ensure(isName && isAttributeValue(value), code, 'an attested attribute is not a name with a value');
    ensure(!said.has(name), code, `attested attribute ${name} is there twice`);
    said.set(name, value);
  }
  const [platform, scope] = [said.get(PLATFORM), said.get(SCOPE)];
  said.delete(PLATFORM);
  said.delete(SCOPE);
  ensure(said.size <= MAX_ATTRIBUTES, code, `${said.size} attested attributes, at most ${MAX_ATTRIBUTES}`);
  return { platform, scope, attributes: said };
}

function readDescription(reader: DerReader, code: Refusal): readonly string[] {
  const attributes = reader.sequence('subject directory attributes');
  const attribute = attributes.sequence('subject directory attribute');
  attributes.done('subject directory attributes');
  const type = attribute.oid('type of a subject directory attribute');
  ensure(type === DESCRIPTION, code, `subject directory attribute ${type} is none of ours`);
  const list = attribute.enter(TAG.set, 'values of a subject directory attribute');
  attribute.done('subject directory attribute');
  const found: Uint8Array[] = [];
  while (list.tag !== undefined) found.push(list.element(TAG.utf8String, 'attested attribute'));
  ensure(found.length > 0, code, 'there is no attested attribute');
  const ascends = found.every((each, at) => at === 0 || Buffer.compare(found[at - 1] ?? each, each) < 0);
  ensure(ascends, code, 'attested attributes are not in the order of DER');
  return found.map((element) => textOf(element, code));
}

function textOf(element: Uint8Array, code: Refusal): string {
  const bytes = new DerReader(element, code).content(TAG.utf8String, 'attested attribute');
  ensure(isUtf8(bytes), code, 'an attested attribute is not UTF-8');
  return asBuffer(bytes).toString('utf8');
}
