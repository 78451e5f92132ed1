/**
 * Cases of x509-limbo that our validator answers otherwise than the web's would, and why. docs/x509-limbo.md
 * is made of it.
 */
export interface Skipped {
  readonly why: string;
  readonly cases: readonly string[];
}

export const SKIPPED: readonly Skipped[] = [
  {
    why: 'Path validation does not match DNS names or addresses of peers here: `verifySvid` reads the peer’s SPIFFE ID, and the client compares the whole ID.',
    cases: [
      'rfc5280::ca-as-leaf-wrong-san',
      'webpki::cn::case-mismatch',
      'webpki::cn::ipv4-hex-mismatch',
      'webpki::cn::ipv4-leading-zeros-mismatch',
      'webpki::cn::ipv6-non-rfc5952-mismatch',
      'webpki::cn::ipv6-uncompressed-mismatch',
      'webpki::cn::ipv6-uppercase-mismatch',
      'webpki::cn::not-in-san',
      'webpki::cn::punycode-not-in-san',
      'webpki::cn::utf8-vs-punycode-mismatch',
      'webpki::san::mismatch-apex-subdomain-san',
      'webpki::san::mismatch-domain-san',
      'webpki::san::mismatch-subdomain-apex-san',
      'webpki::san::mismatch-subdomain-san',
      'webpki::san::no-san',
      'webpki::san::wildcard-match-across-labels-san',
    ],
  },
  {
    why: 'CRLs are not read: certificates are short-lived, and the caller checks the revocations that the CA pushes.',
    cases: [
      'crl::crlnumber-critical',
      'crl::crlnumber-missing',
      'crl::issuer-missing-crlsign',
      'crl::revoked-certificate-with-crl',
    ],
  },
  {
    why: 'The authority key identifier of an anchor names the anchor’s own issuer, which is not part of the path: RFC 5280 §6.1.1 (d) uses only an anchor’s name and key. The CA/Browser Forum requires more of browsers’ roots.',
    cases: [
      'rfc5280::aki::cross-signed-root-missing-aki',
      'webpki::aki::root-with-aki-all-fields',
      'webpki::aki::root-with-aki-authoritycertissuer',
      'webpki::aki::root-with-aki-authoritycertserialnumber',
      'webpki::aki::root-with-aki-missing-keyidentifier',
      'webpki::aki::root-with-aki-ski-mismatch',
    ],
  },
  {
    why: 'Rules of the CA/Browser Forum for extended key usage. Here the caller names the purpose, the leaf must list it, and RFC 5280 §4.2.1.12 leaves the rest free.',
    cases: [
      'webpki::eku::ee-anyeku',
      'webpki::eku::ee-critical-eku',
      'webpki::eku::ee-without-eku',
      'webpki::eku::root-has-eku',
    ],
  },
  {
    why: 'RFC 5280 §4.2.1.10 says that name constraints are critical, and limbo’s own `rfc5280::nc::permitted-dns-match-noncritical` demands it; this case demands the contrary, for browsers.',
    cases: ['webpki::nc::permitted-dns-match-noncritical'],
  },
  {
    why: 'There is no public suffix list: our authorities do not certify web hosts.',
    cases: [
      'webpki::san::public-suffix-multi-label-wildcard-san',
      'webpki::san::public-suffix-private-namespace-wildcard-san',
      'webpki::san::public-suffix-wildcard-san',
    ],
  },
  {
    why: 'Only the CA/Browser Forum forbids an authority at the end of a path: limbo’s `rfc5280::ca-as-leaf` allows it. `verifySvid` refuses it with its own reason.',
    cases: ['webpki::ca-as-leaf', 'webpki::ee-basicconstraints-ca'],
  },
  {
    why: 'RFC 5280 §4.2.1.6 lets the names beside a subject be critical, and X509-SVID.md leaves the subject free.',
    cases: ['webpki::san::san-critical-with-nonempty-subject'],
  },
  {
    why: 'Authority information access is not read: the CA fetches no address from a certificate.',
    cases: ['webpki::malformed-aia'],
  },
];
