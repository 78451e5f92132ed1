/**
 * Cross-certificates (RFC 5280 section 3.2): another CA certifies the name and the key of a root of ours, so that peers
 * that trust only that CA have a path to what is under the root. To those that trust our root it proves nothing. CA and
 * agents verify such a chain before they hand it on: a peer would refuse one that is not in order.
 */
import { equal } from '../../ground/bytes.ts';
import { ensure, IdentityError, isRefusal, type Refusal } from '../../ground/errors.ts';
import { isSignedBy } from '../algorithm.ts';
import { type Certificate, parseCertificate, publicKeyOf } from '../certificate.ts';
import { ensureAnchor, ensureIntermediate, isSelfIssued } from '../compose/profile.ts';
import {
  EKU,
  readAuthorityKeyIdentifier,
  readBasicConstraints,
  readSubjectKeyIdentifier,
} from '../extensions.ts';
import { type GeneralName, isSameName } from '../names.ts';
import { ensurePermitted, namesOf, readNameConstraints } from './name-constraints.ts';

/** With a leaf and its intermediate as long as a chain of an SVID may be. */
export const MAX_CROSS_CHAIN = 6;
/** Of one certificate; one with an RSA key of 8192 bits is a quarter of this. */
const MAX_BYTES = 8 * 1024;
/** As in a path: names are compared with constraints pair by pair. */
const MAX_PAIRS = 250_000;
/** Below a root of ours is one intermediate. */
const BELOW_ROOT = 1;

/** Old roots are often not in order by RFC 5280, and cannot be changed; a chain is good without a look at its root. */
export const WITHOUT_ROOT =
  'leave it out of the file, and --root: then the last link is not verified, and peers decide about that root';

/** A name that is certified below the root, and what a person calls it. */
export interface NameBelow {
  readonly name: GeneralName;
  readonly says: string;
}

export interface CrossRequest {
  /** The cross-certificate, then those above it, each the issuer of the one before; without the other CA's root. */
  readonly chain: readonly Certificate[];
  /** Ours. */
  readonly root: Certificate;
  /** The other CA's root: undefined if the last link is not verified. */
  readonly rootAbove?: Certificate | undefined;
  /** What all of the chain must permit. */
  readonly names: readonly NameBelow[];
  readonly now: Date;
  /** Of the refusals. */
  readonly code: Refusal;
}

/** When the first certificate of a chain ends, X.509 DER. Throws certificate_parse. */
export const endOfChain = (chain: readonly Uint8Array[]): Date =>
  new Date(Math.min(...chain.map((der) => parseCertificate(der).notAfter.getTime())));

/** Throws `code`, with the certificate that is wrong. */
export function verifyCross(request: CrossRequest): void {
  const { chain, root, rootAbove, code } = request;
  const [cross] = chain;
  ensure(cross !== undefined, code, 'there is no cross-certificate');
  const few = chain.length <= MAX_CROSS_CHAIN;
  ensure(few, code, `the chain has ${chain.length} certificates, at most ${MAX_CROSS_CHAIN} are expected`);
  for (const [n, { der }] of chain.entries())
    ensure(
      der.length <= MAX_BYTES,
      code,
      `certificate ${n + 1} has ${der.length} bytes, at most ${MAX_BYTES}`,
    );
  ensureIsOf(root, cross, code);
  const above = rootAbove === undefined ? chain : [...chain, rootAbove];
  for (const [n, each] of above.entries()) {
    const isAnchor = each === rootAbove;
    const what = isAnchor ? 'the root above' : `certificate ${n + 1} of the chain`;
    withName(what, code, () => {
      ensureOne(each, isAnchor);
      ensureInTime(each, request.now);
      ensureRoom(each, chain.slice(0, n));
      ensureNames(each, chain.slice(0, n), request.names);
    });
  }
  for (const [n, each] of chain.entries()) {
    const issuer = above[n + 1];
    if (issuer !== undefined) ensureIssued(issuer, each, { n, code });
  }
}

/** Peers find an issuer by its name and its key identifier, which what is under the root has from the root. */
function ensureIsOf(root: Certificate, cross: Certificate, code: Refusal): void {
  ensure(equal(cross.spki, root.spki), code, 'the first certificate is of another key than that of the root');
  const own = equal(cross.subject, root.subject);
  ensure(
    own,
    code,
    'the first certificate has another subject than the root: the CA above must keep that of the request',
  );
  ensure(
    !isSelfSigned(cross),
    code,
    'the first certificate is that of the root itself: no other CA has issued it',
  );
  const [has, wants] = [cross, root].map((each) => readSubjectKeyIdentifier(each, code));
  const isSameKeyId = has !== undefined && wants !== undefined && equal(has, wants);
  const says = 'the first certificate has not the subject key identifier of the root';
  const openssl =
    'with openssl: copy_extensions = copy, and a section of extensions without subjectKeyIdentifier';
  const keep = 'the CA above must keep that of the request';
  ensure(isSameKeyId, code, `${says}, by which peers find it: ${keep} (${openssl})`);
}

/** Whether a certificate is that of a root: its own issuer, by name and key identifier. Checks no signature. */
export function isSelfSigned(certificate: Certificate): boolean {
  const { subject, issuer } = certificate;
  if (!isSameName(subject, issuer, 'chain')) return false;
  const by = readAuthorityKeyIdentifier(certificate, 'chain')?.keyId;
  const own = readSubjectKeyIdentifier(certificate, 'chain');
  return by === undefined || own === undefined || equal(by, own);
}

function ensureOne(each: Certificate, isAnchor: boolean): void {
  if (isAnchor) {
    withAdvice(WITHOUT_ROOT, () => {
      ensureAnchor(each, {});
      publicKeyOf(each);
    });
    return;
  }
  ensure(!isSelfSigned(each), 'chain', 'it is a root, which belongs to the end of the file');
  // What is below serves and calls.
  for (const eku of [EKU.serverAuth, EKU.clientAuth]) ensureIntermediate(each, { eku });
  publicKeyOf(each);
}

function ensureInTime({ notBefore, notAfter }: Certificate, now: Date): void {
  const [from, to] = [notBefore.toISOString(), notAfter.toISOString()];
  const inTime = notBefore <= now && now <= notAfter;
  ensure(inTime, 'chain', `it is valid from ${from} to ${to}; now is ${now.toISOString()}`);
}

/**
 * §4.2.1.9: how many intermediates may be below; those are our own, and `between` of the chain. Self-issued ones, as of
 * a CA that has a new key, are not counted (§6.1.4 (l)).
 */
function ensureRoom(each: Certificate, between: readonly Certificate[]): void {
  const limit = readBasicConstraints(each, 'chain')?.pathLength;
  const below = BELOW_ROOT + between.filter((other) => !isSelfIssued(other)).length;
  const says = `its path length is ${limit}, and ${below} intermediates are below it`;
  ensure(limit === undefined || limit >= below, 'chain', `${says}: at least ${below} is needed`);
}

/** §4.2.1.10: what is below the root, and the subjects of the certificates in between. */
function ensureNames(each: Certificate, below: readonly Certificate[], names: readonly NameBelow[]): void {
  const constraints = readNameConstraints(each, 'chain');
  if (constraints === undefined) return;
  const between = below.flatMap((other) =>
    namesOf(other, 'chain').map((name) => ({ name, says: 'a certificate of the chain below it' })),
  );
  const all = [...names, ...between];
  const pairs = all.length * (constraints.permitted.length + constraints.excluded.length);
  ensure(pairs <= MAX_PAIRS, 'chain', `names and constraints make more than ${MAX_PAIRS} pairs`);
  for (const { name, says } of all)
    withName(`its name constraints do not permit ${says}`, 'chain', () =>
      ensurePermitted([name], constraints, 'chain'),
    );
}

function ensureIssued(
  issuer: Certificate,
  subject: Certificate,
  { n, code }: { readonly n: number; readonly code: Refusal },
): void {
  const next = `certificate ${n + 1} of the chain is not issued by the next one`;
  ensure(isSameName(issuer.subject, subject.issuer, code), code, `${next}: the names differ`);
  const [wanted, has] = [
    readAuthorityKeyIdentifier(subject, code)?.keyId,
    readSubjectKeyIdentifier(issuer, code),
  ];
  const isSameKeyId = wanted === undefined || has === undefined || equal(wanted, has);
  ensure(isSameKeyId, code, `${next}: the key identifiers differ`);
  const { signatureAlgorithm: algorithm, tbs: data, signature } = subject;
  const signed = isSignedBy({ algorithm, data, signature }, publicKeyOf(issuer));
  const known = 'ECDSA or RSA (PKCS #1 v1.5) with SHA-256, SHA-384 or SHA-512 is expected';
  ensure(signed, code, `${next}: the signature does not verify by its key; ${known}`);
}

/** Names the certificate in front of what is wrong with it. */
function withName(what: string, code: Refusal, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new IdentityError(code, `${what}: ${error.message}`, { cause: error });
  }
}

/** Says behind what is wrong what to do. */
function withAdvice(advice: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new IdentityError(error.code, `${error.message}; ${advice}`, { cause: error });
  }
}
