/**
 * Path validation (RFC 5280 §6.1), from a leaf up to an anchor that the caller trusts. If one issuer fails, others of
 * the same name are tried. Bounds are checked before any cryptography, because strangers send the leaf and the
 * intermediates. Anchors are checked as certificates, too: an expired root is refused.
 */
import { equal } from '../../ground/bytes.ts';
import { ensure, IdentityError, isRefusal } from '../../ground/errors.ts';
import { isSignedBy } from '../algorithm.ts';
import { type Certificate, publicKeyOf } from '../certificate.ts';
import {
  ensureAnchor,
  ensureIntermediate,
  ensureLeaf,
  isSelfIssued,
  type PathRules,
} from '../compose/profile.ts';
import { readAuthorityKeyIdentifier, readBasicConstraints, readSubjectKeyIdentifier } from '../extensions.ts';
import { countRelativeNames, isSameName } from '../names.ts';
import { ensurePermitted, namesOf, readNameConstraints } from './name-constraints.ts';

export interface PathRequest extends PathRules {
  readonly leaf: Certificate;
  /** In any order. Those that are not needed are ignored. */
  readonly intermediates: readonly Certificate[];
  readonly anchors: readonly Certificate[];
  readonly now: Date;
  /** How many intermediates a path may have, self-issued ones not counted. */
  readonly maxIntermediates?: number;
}

const MAX_CHAIN = 16;
/** Certificates of large web hosts carry some hundreds. */
const MAX_NAMES = 512;
/**
 * Names are compared with constraints pair by pair, before any signature: as many pairs in one search as in Go's
 * crypto/x509.
 */
const MAX_PAIRS = 250_000;
/**
 * How many issuers are tried, each for at most one signature. A path with 16 intermediates takes 17 tries; the rest is
 * for dead ends.
 */
const MAX_TRIES = 64;

/**
 * Returns the valid path, leaf first and anchor last. Throws chain, chain_too_long, expired_peer, certificate_parse.
 */
export function verifyPath(request: PathRequest): readonly Certificate[] {
  const { leaf, intermediates, now } = request;
  ensure(
    intermediates.length <= MAX_CHAIN,
    'chain_too_long',
    `${intermediates.length} intermediates, at most ${MAX_CHAIN}`,
  );
  for (const certificate of [leaf, ...intermediates]) ensureFewNames(certificate);
  ensureValidAt(leaf, now);
  ensureLeaf(leaf, request);
  publicKeyOf(leaf);
  return new Search(request).extend([leaf]);
}

/** The number of roots shows whether the bundle is empty. */
const noRoot = (roots: number): string =>
  `the certificate chain does not end at a trusted root (${roots} trusted)`;

class Search {
  readonly #request: PathRequest;
  #tries = 0;
  #pairs = 0;

  constructor(request: PathRequest) {
    this.#request = request;
  }

  /** `path` is leaf first, and valid so far. Throws the first failure if no path reaches an anchor. */
  extend(path: readonly [Certificate, ...Certificate[]]): readonly Certificate[] {
    const { anchors, intermediates } = this.#request;
    const top = path[path.length - 1] ?? path[0];
    let failure: IdentityError | undefined;
    for (const issuer of [...anchors, ...intermediates]) {
      if (path.some(({ der }) => equal(der, issuer.der))) continue;
      try {
        if (!mayHaveIssued(issuer, top)) continue;
        this.#ensureIssued(issuer, path);
        if (anchors.includes(issuer)) return [...path, issuer];
        return this.extend([...path, issuer]);
      } catch (error) {
        if (!isRefusal(error) || this.#tries > MAX_TRIES || this.#pairs > MAX_PAIRS) throw error;
        failure ??= error;
      }
    }
    throw failure ?? new IdentityError('chain', noRoot(anchors.length));
  }

  #ensureIssued(issuer: Certificate, path: readonly [Certificate, ...Certificate[]]): void {
    const { now, anchors, maxIntermediates = MAX_CHAIN } = this.#request;
    this.#tries += 1;
    ensure(this.#tries <= MAX_TRIES, 'chain_too_long', `no path among the first ${MAX_TRIES} issuers`);
    const isAnchor = anchors.includes(issuer);
    const between = path.slice(1).filter((certificate) => !isSelfIssued(certificate)).length;
    const more = isAnchor || isSelfIssued(issuer) ? 0 : 1;
    ensure(
      between + more <= maxIntermediates,
      'chain_too_long',
      `path has more than ${maxIntermediates} intermediates`,
    );
    ensureValidAt(issuer, now);
    if (isAnchor) ensureAnchor(issuer, this.#request);
    else ensureIntermediate(issuer, this.#request);
    ensurePathLength(issuer, between);
    this.#ensureNames(issuer, path);
    ensureSigned(issuer, path[path.length - 1] ?? path[0]);
  }

  /** §6.1.3 (b), (c): for all certificates below, except self-issued intermediates. */
  #ensureNames(issuer: Certificate, path: readonly Certificate[]): void {
    const constraints = readNameConstraints(issuer, 'chain');
    if (constraints === undefined) return;
    const bound = path.filter((certificate, i) => i === 0 || !isSelfIssued(certificate));
    for (const certificate of bound) {
      const names = namesOf(certificate, 'chain');
      this.#pairs += names.length * (constraints.permitted.length + constraints.excluded.length);
      const few = this.#pairs <= MAX_PAIRS;
      ensure(few, 'chain_too_long', `names and constraints make more than ${MAX_PAIRS} pairs`);
      ensurePermitted(names, constraints, 'chain');
    }
  }
}

/** By name and key identifier (§4.2.1.1). */
function mayHaveIssued(issuer: Certificate, subject: Certificate): boolean {
  if (!isSameName(issuer.subject, subject.issuer, 'chain')) return false;
  const wanted = readAuthorityKeyIdentifier(subject, 'chain')?.keyId;
  const offered = readSubjectKeyIdentifier(issuer, 'chain');
  return wanted === undefined || offered === undefined || equal(wanted, offered);
}

function ensureFewNames(certificate: Certificate): void {
  const count = namesOf(certificate, 'chain').length + countRelativeNames(certificate.subject, 'chain');
  ensure(count <= MAX_NAMES, 'chain_too_long', `a certificate has ${count} names, at most ${MAX_NAMES}`);
}

/** §6.1.3 (a)(2), in whole seconds: both ends belong to the validity (§4.1.2.5). */
function ensureValidAt(certificate: Certificate, now: Date): void {
  const second = Math.floor(now.getTime() / 1000) * 1000;
  const { notBefore, notAfter } = certificate;
  ensure(
    second >= notBefore.getTime(),
    'expired_peer',
    `a certificate is not valid before ${notBefore.toISOString()}`,
  );
  ensure(second <= notAfter.getTime(), 'expired_peer', `a certificate expired at ${notAfter.toISOString()}`);
}

/** §6.1.3 (a)(1). */
function ensureSigned(
  issuer: Certificate,
  { signatureAlgorithm: algorithm, tbs: data, signature }: Certificate,
): void {
  const holds = isSignedBy({ algorithm, data, signature }, publicKeyOf(issuer));
  ensure(holds, 'chain', 'the signature of a certificate does not verify');
}

/** §6.1.4 (l) and (m): how many intermediates, self-issued ones not counted, may be below. */
function ensurePathLength(issuer: Certificate, between: number): void {
  const limit = readBasicConstraints(issuer, 'chain')?.pathLength;
  ensure(
    limit === undefined || between <= limit,
    'chain',
    `an authority allows ${limit} intermediates below it`,
  );
}
