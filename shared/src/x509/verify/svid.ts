/**
 * Verifies X.509-SVIDs (X509-SVID.md §5): a path to the bundle of the trust domain that the certificate names, then the
 * rules for leaves. Does not decide what the proven ID may do.
 */
import { hash } from 'node:crypto';
import { hex } from '../../ground/bytes.ts';
import { ensure, IdentityError, isRefusal } from '../../ground/errors.ts';
import type { Attested } from '../../spiffe/attested.ts';
import type { Bundle } from '../../spiffe/bundle.ts';
import {
  parseSpiffeId,
  parseTrustDomain,
  type SpiffeId,
  type TrustDomain,
  trustDomainOf,
} from '../../spiffe/id.ts';
import type { Role } from '../../spiffe/reserved.ts';
import { readAttested } from '../attested.ts';
import { type Certificate, parseCertificate, type TbsCertificate } from '../certificate.ts';
import {
  EKU,
  KEY_USAGE,
  OID,
  ROLE_MARK,
  readBasicConstraints,
  readExtKeyUsage,
  readKeyUsage,
  readSubjectAltName,
} from '../extensions.ts';
import { NAME, text } from '../names.ts';
import { verifyPath } from './path.ts';

export interface VerifiedSvid {
  readonly id: SpiffeId;
  readonly certificate: Certificate;
  readonly notAfter: Date;
  /** Lower-case hex of the INTEGER's content. */
  readonly serial: string;
  /** SHA-256 of the keys of the authorities above it, the anchor last, hexadecimal. */
  readonly authorities: readonly string[];
  readonly attested: Attested;
}

/** Our chains have two: leaf and issuing intermediate. */
const MAX_CHAIN = 8;

/**
 * `chain` is DER, leaf first, as TLS sends it. Checks time, path and profile; the caller checks revocation, and that
 * the peer has the key. Throws chain, chain_too_long, expired_peer, svid, certificate_parse.
 */
export function verifySvid(chain: readonly Uint8Array[], bundle: Bundle, now: Date): VerifiedSvid {
  ensure(
    chain.length <= MAX_CHAIN,
    'chain_too_long',
    `chain has ${chain.length} certificates, at most ${MAX_CHAIN}`,
  );
  const [leaf, ...intermediates] = chain.map(parseCertificate);
  ensure(leaf !== undefined, 'chain', 'chain is empty');
  const id = readSvid(leaf);
  const domain = trustDomainOf(id);
  // SPIFFE Federation §4.2: a domain's authorities speak for that domain and for no other.
  ensure(domain === bundle.trustDomain, 'svid', `${id} is not of trust domain ${bundle.trustDomain}`);
  const [, ...issuers] = verifyPath({ leaf, intermediates, anchors: anchorsOf(bundle), now });
  const authorities = issuers.map(keyNameOf);
  const attested = readAttested(leaf, 'svid');
  return { id, certificate: leaf, notAfter: leaf.notAfter, serial: hex(leaf.serial), authorities, attested };
}

/** SHA-256 of the certificate's SubjectPublicKeyInfo, hexadecimal: how revocations and pins name a key. */
export const keyNameOf = ({ spki }: Pick<Certificate, 'spki'>): string => hash('sha256', spki, 'hex');

/** The trust domain that an authority's certificate names (X509-SVID section 3.1). Throws svid, trust_domain. */
export function trustDomainIn(authority: Certificate): TrustDomain {
  const uri = readSubjectAltName(authority, 'svid')?.find(({ kind }) => kind === NAME.uri);
  ensure(uri !== undefined, 'svid', 'the authority names no trust domain');
  return parseTrustDomain(text(uri.value).replace(/^spiffe:\/\//, ''));
}

/** Whether the certificate has the mark of the CA or of an operator (`ROLE_MARK`). Throws svid. */
export const hasMark = ({ certificate }: Pick<VerifiedSvid, 'certificate'>, role: Role): boolean =>
  readExtKeyUsage(certificate, 'svid')?.has(ROLE_MARK[role]) ?? false;

/**
 * A verifier that checks each different chain once, since many connections use one certificate. It is good for the
 * moment `now` only. It throws as `verifySvid`.
 */
export function verifierOf(bundle: Bundle, now: Date): (chain: readonly Uint8Array[]) => void {
  const verified = new Set<string>();
  return (chain) => {
    const key = Buffer.concat(chain).toString('latin1');
    if (!verified.has(key)) verifySvid(chain, bundle, now);
    verified.add(key);
  };
}

const anchors = new WeakMap<Bundle, readonly Certificate[]>();

/** Parsed once for each bundle; `publicKeyOf` then imports each key once. */
function anchorsOf(bundle: Bundle): readonly Certificate[] {
  const known = anchors.get(bundle) ?? bundle.authorities.map(parseCertificate);
  anchors.set(bundle, known);
  return known;
}

/** The SPIFFE ID of a leaf, by X509-SVID.md §2 to §4. Checks no signature. Throws svid. */
export function readSvid(leaf: TbsCertificate): SpiffeId {
  const ca = readBasicConstraints(leaf, 'svid')?.ca ?? false;
  ensure(!ca, 'svid', 'the certificate of an authority names a workload');
  const usage = readKeyUsage(leaf, 'svid');
  ensure(usage !== undefined, 'svid', 'key usage is missing');
  ensure(leaf.extensions.get(OID.keyUsage)?.critical === true, 'svid', 'key usage is not critical');
  ensure(usage.has(KEY_USAGE.digitalSignature), 'svid', 'key usage does not allow digital signatures');
  ensure(!usage.has(KEY_USAGE.keyCertSign), 'svid', 'key usage allows signing certificates');
  ensure(!usage.has(KEY_USAGE.crlSign), 'svid', 'key usage allows signing CRLs');
  const purposes = readExtKeyUsage(leaf, 'svid');
  ensure(
    purposes?.has(EKU.serverAuth) ?? true,
    'svid',
    'extended key usage is without server authentication',
  );
  ensure(
    purposes?.has(EKU.clientAuth) ?? true,
    'svid',
    'extended key usage is without client authentication',
  );
  return readId(leaf);
}

function readId(leaf: TbsCertificate): SpiffeId {
  const names = readSubjectAltName(leaf, 'svid') ?? [];
  const [uri, ...others] = names.filter(({ kind }) => kind === NAME.uri);
  ensure(uri !== undefined, 'svid', 'certificate has no URI name');
  ensure(others.length === 0, 'svid', `certificate has ${others.length + 1} URI names, not one`);
  try {
    return parseSpiffeId(text(uri.value));
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new IdentityError('svid', error.message, { cause: error });
  }
}
