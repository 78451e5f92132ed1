/** Trust domains and SPIFFE IDs: text that could not exist as these types without passing SPIFFE-ID.md. */
import { ensure, type Refusal } from '../ground/errors.ts';

declare const proof: unique symbol;
/** The name of a namespace that one authority speaks for, such as `prod.example`. Made by `parseTrustDomain`. */
export type TrustDomain = string & { readonly [proof]: 'TrustDomain' };
/** The name of one workload: `spiffe://trust-domain/path`, never without a path. Made by `parseSpiffeId`. */
export type SpiffeId = string & { readonly [proof]: 'SpiffeId' };

const SCHEME = 'spiffe://';
/** SPIFFE-ID.md §2.3: at most 255 bytes of trust domain, 2048 bytes in all. */
const MAX_TRUST_DOMAIN = 255;
const MAX_ID = 2048;
const SEGMENT = /^[A-Za-z0-9._-]+$/;

/**
 * Throws trust_domain. SPIFFE-ID.md §2.1: lower case only; it may look like a DNS name or an address and is
 * neither.
 */
export function parseTrustDomain(text: string): TrustDomain {
  ensureTrustDomain(text, 'trust_domain');
  return text as TrustDomain;
}

/**
 * Throws spiffe_id. The alphabet leaves no room for a query, fragment, port, user or percent-encoding (§2.1, §2.2).
 * The scheme is matched in lower case, as go-spiffe does: one spelling an ID, so equality is string equality.
 */
export function parseSpiffeId(text: string): SpiffeId {
  ensure(text.length <= MAX_ID, 'spiffe_id', `SPIFFE ID is ${text.length} long, at most ${MAX_ID}`);
  ensure(text.startsWith(SCHEME), 'spiffe_id', `SPIFFE ID does not start with ${SCHEME}`);
  const slash = text.indexOf('/', SCHEME.length);
  ensure(slash !== -1, 'spiffe_id', 'SPIFFE ID has no path');
  ensureTrustDomain(text.slice(SCHEME.length, slash), 'spiffe_id');
  for (const segment of text.slice(slash + 1).split('/')) ensureSegment(segment);
  return text as SpiffeId;
}

/** The part between the scheme and the path; a SpiffeId always has one. */
export function trustDomainOf(id: SpiffeId): TrustDomain {
  return id.slice(SCHEME.length, id.indexOf('/', SCHEME.length)) as TrustDomain;
}

/** With its leading slash. */
export function pathOf(id: SpiffeId): string {
  return id.slice(id.indexOf('/', SCHEME.length));
}

/** The SPIFFE ID of the trust domain itself, which names its authorities and keys bundle maps; no workload has it. */
export function trustDomainId(trustDomain: TrustDomain): string {
  return SCHEME + trustDomain;
}

function ensureTrustDomain(text: string, code: Refusal): void {
  ensure(text.length > 0, code, 'trust domain is empty');
  ensure(
    text.length <= MAX_TRUST_DOMAIN,
    code,
    `trust domain is ${text.length} long, at most ${MAX_TRUST_DOMAIN}`,
  );
  ensure(
    !text.includes('://'),
    code,
    `trust domain "${text}": write it without spiffe:// and without a path`,
  );
  const [strange] = text.match(/[^a-z0-9._-]/u) ?? [];
  ensure(
    strange === undefined,
    code,
    `trust domain has characters outside a-z 0-9 . _ -: ${JSON.stringify(strange)} in "${text}"`,
  );
}

/** §2.2: an empty segment is also what `//` and a trailing slash leave behind. */
function ensureSegment(segment: string): void {
  ensure(segment !== '', 'spiffe_id', 'SPIFFE ID has an empty path segment');
  ensure(segment !== '.' && segment !== '..', 'spiffe_id', 'SPIFFE ID has a relative path segment');
  ensure(SEGMENT.test(segment), 'spiffe_id', 'SPIFFE ID path has characters outside A-Z a-z 0-9 . _ -');
}
