/**
 * The lints that need no more than the record. The CA keeps no certificates of workloads, so their extensions, DNS
 * names and the kind of their key are not looked at again. It keeps those of its authorities, which are linted whole.
 */
import { hex } from '@chancery/shared/ground/bytes.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { type TrustDomain, trustDomainOf } from '@chancery/shared/spiffe/id.ts';
import { isReserved } from '@chancery/shared/spiffe/reserved.ts';
import { isSignedBy } from '@chancery/shared/x509/algorithm.ts';
import { type Certificate, parseCertificate, publicKeyOf } from '@chancery/shared/x509/certificate.ts';
import { lintAuthority } from '@chancery/shared/x509/compose/lint.ts';
import { readCrlDistributionPoints } from '@chancery/shared/x509/extensions.ts';
import { keyNameOf } from '@chancery/shared/x509/verify/svid.ts';
import { OWN_NODE } from '../agents/holders.ts';
import { BACKDATE_SECONDS, PATH_LENGTH } from '../authority/profile.ts';
import { isTainted, isUnder } from '../authority/records.ts';
import { keepsKey } from '../store/authority-states.ts';
import type { RecordedIssuance, StoredAuthority } from '../store/store.ts';

/** The longest life of a leaf, that of the CA's own: an Identity may give as much. Rounding adds a second. */
const MAX_LIFE_SECONDS = 86_400 + BACKDATE_SECONDS + 1;
/** RFC 5280 section 4.1.2.2, and CA/Browser Forum Baseline Requirements section 7.1. */
const SERIAL = /^(?:[0-7][0-9a-f](?:[0-9a-f]{2}){8,19}|[4-7][0-9a-f](?:[0-9a-f]{2}){7})$/;

/** Says of a certificate on record what of it does not fit the profile. Parses the authorities once. */
export function recordLints(
  authorities: readonly StoredAuthority[],
  trustDomain: TrustDomain,
): (record: RecordedIssuance) => readonly string[] {
  const known = authorities.flatMap((each) => {
    const certificate = readable(each);
    return certificate === undefined ? [] : [{ ...each, certificate, key: keyNameOf(certificate) }];
  });
  return (record) => {
    const { serial, id, platform, issuer, notBefore, notAfter } = record;
    const seconds = (notAfter.getTime() - notBefore.getTime()) / 1000;
    const above = known.find((each) => each.serial === issuer)?.certificate;
    const same = known.find(({ key }) => key === hex(record.keySha256));
    const says: readonly (readonly [boolean, string])[] = [
      [!SERIAL.test(serial), 'its serial number is negative, or not of 64 to 160 bits'],
      [trustDomainOf(id) !== trustDomain, `its SPIFFE ID is not of trust domain ${trustDomain}`],
      [
        isReserved(id) && platform !== OWN_NODE.platform,
        'its SPIFFE ID is reserved for the trust domain itself',
      ],
      [seconds > MAX_LIFE_SECONDS, `it is valid for ${seconds} s, at most ${MAX_LIFE_SECONDS}`],
      [above !== undefined && notBefore < above.notBefore, `it begins before its issuer ${issuer}`],
      [same !== undefined, `its key is that of ${same?.kind} ${same?.serial}`],
    ];
    return says.flatMap(([isWrong, problem]) => (isWrong ? [problem] : []));
  };
}

interface AuthorityProblem {
  readonly serial: string;
  readonly problem: string;
}

/** What is wrong with the certificates of roots and intermediates that were not removed: lints, signature, record. */
export function authorityProblems(
  authorities: readonly StoredAuthority[],
  trustDomain: TrustDomain,
): readonly AuthorityProblem[] {
  return authorities
    .filter((each) => keepsKey(each) && !isTainted(each))
    .flatMap((each) => {
      try {
        lintAgain(each, authorities, trustDomain);
        return [];
      } catch (error) {
        if (!isRefusal(error)) throw error;
        return [{ serial: each.serial, problem: `its certificate (${each.kind}): ${error.message}` }];
      }
    });
}

/** Throws lint, certificate_parse. */
function lintAgain(
  record: StoredAuthority,
  authorities: readonly StoredAuthority[],
  trustDomain: TrustDomain,
): void {
  const { kind, serial, notAfter } = record;
  const certificate = parseCertificate(record.certificate);
  const root = authorities.find((each) => each.kind === 'root' && isUnder(record, each));
  ensure(kind === 'root' || root !== undefined, 'lint', 'no root on record has issued it');
  const issuer = kind === 'root' ? undefined : root && parseCertificate(root.certificate);
  const [point] = readCrlDistributionPoints(certificate, 'lint') ?? [];
  const crlUrl = point && Buffer.from(point.value).toString();
  const { spki, tbs: data, signature, signatureAlgorithm: algorithm } = certificate;
  lintAuthority(data, { trustDomain, issuer, spki, pathLength: PATH_LENGTH[kind], crlUrl });
  const key = publicKeyOf(issuer ?? certificate);
  ensure(
    isSignedBy({ algorithm, data, signature }, key),
    'lint',
    'the signature of its issuer does not verify',
  );
  ensure(hex(certificate.serial) === serial, 'lint', 'it has another serial number than its record');
  ensure(certificate.notAfter.getTime() === notAfter.getTime(), 'lint', 'it has another end than its record');
}

function readable({ certificate }: StoredAuthority): Certificate | undefined {
  try {
    return parseCertificate(certificate);
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}
