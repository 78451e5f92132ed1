/**
 * Name constraints (RFC 5280 §4.2.1.10): which names an authority may certify. A constrained name of a kind that is not
 * processed is refused.
 */
import { constructed, DerReader } from '../../der/read.ts';
import { ensure, type Refusal } from '../../ground/errors.ts';
import type { TbsCertificate } from '../certificate.ts';
import { OID, readSubjectAltName } from '../extensions.ts';
import {
  emailsIn,
  type GeneralName,
  isEmptyName,
  isWithin,
  NAME,
  readGeneralName,
  readName,
  text,
} from '../names.ts';

export interface NameConstraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

/**
 * §4.2.1.10; undefined if there is no such extension. Throws `code` if it is empty or malformed. Kinds of names that
 * are not processed are kept: `ensurePermitted` refuses a name of such a kind.
 */
export function readNameConstraints(from: TbsCertificate, code: Refusal): NameConstraints | undefined {
  const found = from.extensions.get(OID.nameConstraints);
  if (found === undefined) return undefined;
  const outer = new DerReader(found.value, code);
  const body = outer.sequence('name constraints');
  const permitted = readSubtrees(body.optional(constructed(0), 'permitted subtrees'), code);
  const excluded = readSubtrees(body.optional(constructed(1), 'excluded subtrees'), code);
  body.done('name constraints');
  outer.done('name constraints');
  ensure(permitted.length + excluded.length > 0, code, 'name constraints are empty');
  for (const { kind, value } of [...permitted, ...excluded]) KINDS[kind]?.ensureConstraint?.(value, code);
  return { permitted, excluded };
}

/** All names of a certificate that constraints bind: §4.2.1.10 adds the subject, and its e-mail addresses. */
export function namesOf(certificate: TbsCertificate, code: Refusal): readonly GeneralName[] {
  const { subject } = certificate;
  const listed = readSubjectAltName(certificate, code) ?? [];
  if (isEmptyName(subject)) return listed;
  const emails = emailsIn(subject, code).map((value) => ({ kind: NAME.email, value }));
  return [...listed, { kind: NAME.directory, value: subject }, ...emails];
}

/** §6.1.3 (b) and (c). Throws `code` for a name that the constraints do not allow. Call `ensureWellFormed` before. */
export function ensurePermitted(
  names: readonly GeneralName[],
  constraints: NameConstraints,
  code: Refusal,
): void {
  for (const name of names) {
    const permitted = constraints.permitted.filter(({ kind }) => kind === name.kind);
    const excluded = constraints.excluded.filter(({ kind }) => kind === name.kind);
    if (permitted.length === 0 && excluded.length === 0) continue;
    const judge = KINDS[name.kind];
    ensure(judge !== undefined, code, `a name of kind ${name.kind} is constrained, which is not processed`);
    const allowed =
      permitted.length === 0 || permitted.some(({ value }) => judge.covers(value, name.value, code));
    ensure(allowed, code, `a name of kind ${name.kind} is outside what its authority may certify`);
    const forbidden = excluded.some(({ value }) => (judge.touches ?? judge.covers)(value, name.value, code));
    ensure(!forbidden, code, `a name of kind ${name.kind} is excluded for its authority`);
  }
}

/** §4.2.1.6. Throws `code` for a name that does not have the syntax of its kind. */
export function ensureWellFormed(names: readonly GeneralName[], code: Refusal): void {
  for (const { kind, value } of names) {
    const holds = KINDS[kind]?.isName(value) ?? true;
    ensure(holds, code, `a name of kind ${kind} is malformed: ${JSON.stringify(text(value))}`);
  }
}

interface Kind {
  isName(name: Uint8Array): boolean;
  /** Whether all that `name` stands for is inside `constraint`. */
  covers(constraint: Uint8Array, name: Uint8Array, code: Refusal): boolean;
  /** Whether any of it is inside. Given if that differs from `covers`: a wildcard. */
  touches?(constraint: Uint8Array, name: Uint8Array): boolean;
  ensureConstraint?(constraint: Uint8Array, code: Refusal): void;
}

const LABEL = '[a-z0-9]([a-z0-9-]*[a-z0-9])?';
/** §4.2.1.6 with RFC 1034 §3.5 and RFC 1123 §2.1: a last label of digits alone is an address written as a name. */
const DNS_NAME = new RegExp(`^(\\*\\.)?(${LABEL}\\.)*(?![0-9]+$)${LABEL}$`, 'i');
const DNS_CONSTRAINT = new RegExp(`^(${LABEL}(\\.${LABEL})*)?$`, 'i');
const MAILBOX = /^[^@]+@[^@]+$/;
const EMAIL_CONSTRAINT = /^([^@]+@)?[^@]+$/;
const ABSOLUTE_URI = /^[a-z][a-z0-9+.-]*:/i;
/** The host of an authority, without user or port. An address in brackets is not a host name. */
const URI_HOST = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#@:[\]]+)(?::\d*)?(?:[/?#]|$)/i;

const lower = (value: Uint8Array): string => text(value).toLowerCase();

const dns: Kind = {
  isName: (name) => DNS_NAME.test(text(name)),
  covers: (constraint, name) => isSubdomain(lower(name).replace(/^\*\./, ''), lower(constraint)),
  // `*.example.com` stands for `bar.example.com` too (CVE-2025-61727).
  touches: (constraint, name) =>
    dns.covers(constraint, name, 'chain') ||
    (lower(name).startsWith('*.') && isSubdomain(lower(constraint), lower(name).slice(2))),
  ensureConstraint: (constraint, code) =>
    ensure(DNS_CONSTRAINT.test(text(constraint)), code, 'a DNS name constraint is malformed'),
};

const email: Kind = {
  isName: (name) => MAILBOX.test(text(name)),
  covers(constraint, name) {
    const [local, host = ''] = text(name).split('@');
    const parts = text(constraint).split('@');
    const [limit = '', limitLocal] = parts.reverse();
    return (limitLocal === undefined || limitLocal === local) && isHostWithin(host, limit);
  },
  ensureConstraint: (constraint, code) =>
    ensure(EMAIL_CONSTRAINT.test(text(constraint)), code, 'an e-mail constraint is malformed'),
};

const uri: Kind = {
  isName: (name) => ABSOLUTE_URI.test(text(name)),
  covers(constraint, name, code) {
    const host = URI_HOST.exec(text(name))?.[1];
    // §4.2.1.10: a URI without a host name refuses wherever URIs are constrained.
    ensure(host !== undefined, code, 'a constrained URI has no host name');
    return isHostWithin(host, text(constraint));
  },
};

const ip: Kind = {
  isName: (name) => name.length === 4 || name.length === 16,
  covers(constraint, name) {
    const size = name.length;
    if (constraint.length !== size * 2) return false;
    return name.every((byte, i) => (byte & (constraint[size + i] ?? 0)) === (constraint[i] ?? 0));
  },
  ensureConstraint(constraint, code) {
    ensure(
      constraint.length === 8 || constraint.length === 32,
      code,
      'an IP constraint is not address and mask',
    );
    const mask = [...constraint.subarray(constraint.length / 2)].map((byte) =>
      byte.toString(2).padStart(8, '0'),
    );
    ensure(/^1*0*$/.test(mask.join('')), code, 'the mask of an IP constraint has holes');
  },
};

const directory: Kind = {
  isName: () => true,
  covers: (constraint, name, code) => isWithin(readName(name, code), readName(constraint, code)),
};

const KINDS: Readonly<Record<number, Kind>> = {
  [NAME.email]: email,
  [NAME.dns]: dns,
  [NAME.directory]: directory,
  [NAME.uri]: uri,
  [NAME.ip]: ip,
};

function isSubdomain(name: string, base: string): boolean {
  return base === '' || name === base || name.endsWith(`.${base}`);
}

/** For e-mail addresses and URIs, `host` means this host alone, and `.domain` all hosts below it (§4.2.1.10). */
function isHostWithin(host: string, constraint: string): boolean {
  const [name, limit] = [host.toLowerCase(), constraint.toLowerCase()];
  return limit.startsWith('.') ? name.endsWith(limit) : name === limit;
}

function readSubtrees(list: DerReader | undefined, code: Refusal): readonly GeneralName[] {
  if (list === undefined) return [];
  const bases: GeneralName[] = [];
  while (list.tag !== undefined) {
    const subtree = list.sequence('subtree');
    bases.push(readGeneralName(subtree, code, 'subtree'));
    // §4.2.1.10 does not use minimum and maximum. If one is written, the subtree is refused: it would be ignored.
    subtree.done('subtree');
  }
  ensure(bases.length > 0, code, 'a list of subtrees is empty');
  return bases;
}
