/** The answer to a request: the certificate of an intermediate, signed elsewhere by a root whose key is not here. */
import { equal, hex } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { isSignedBy } from '@chancery/shared/x509/algorithm.ts';
import { type Certificate, parseCertificate, publicKeyOf } from '@chancery/shared/x509/certificate.ts';
import { lintAuthority } from '@chancery/shared/x509/compose/lint.ts';
import { PATH_LENGTH } from '../authority/profile.ts';
import { oneBlock } from '../ceremony/block.ts';

const CODE = 'authority_answer';

/** What an answer must be an answer to. */
export interface Asked {
  /** The root that was asked. */
  readonly root: Certificate;
  readonly trustDomain: TrustDomain;
  /** SubjectPublicKeyInfo of the request; undefined if none is open. */
  readonly spki: Uint8Array | undefined;
  /** Serials of all authorities that there ever were. */
  readonly known: ReadonlySet<string>;
  readonly now: Date;
}

/** Not verified. Throws authority_answer, certificate_parse. */
export const certificateIn = (bytes: Uint8Array): Certificate =>
  parseCertificate(oneBlock(bytes, 'CERTIFICATE', CODE));

/** Throws authority_answer, and certificate_parse for a block that is damaged. */
export function readAnswer(bytes: Uint8Array, asked: Asked): Certificate {
  const { root, spki, known, now } = asked;
  const found = certificateIn(bytes);
  const serial = hex(found.serial);
  ensure(!known.has(serial), CODE, `certificate ${serial} was imported before`);
  ensure(spki !== undefined, CODE, 'no request is open: nothing waits for an answer');
  ensure(
    equal(found.spki, spki),
    CODE,
    'the answer is for another request: its key is not that of the open one',
  );
  ensure(
    equal(found.issuer, root.subject),
    CODE,
    'the answer is signed by another root than the one that was asked',
  );
  const { tbs, signature, signatureAlgorithm: algorithm } = found;
  const signed = isSignedBy({ algorithm, data: tbs, signature }, publicKeyOf(root));
  ensure(signed, CODE, 'the signature of the answer is not that of the root');
  ensureProfile(found, asked);
  const [from, to] = [found.notBefore.toISOString(), found.notAfter.toISOString()];
  const inTime = found.notBefore <= now && now < found.notAfter;
  ensure(inTime, CODE, `the answer is valid from ${from} to ${to}; now is ${now.toISOString()}`);
  return found;
}

/** As the lint before a signature of our own, and under the code of what comes from elsewhere. */
function ensureProfile({ tbs, spki }: Certificate, { root, trustDomain }: Asked): void {
  try {
    lintAuthority(tbs, { issuer: root, trustDomain, spki, pathLength: PATH_LENGTH.intermediate });
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new IdentityError(CODE, `the answer is no intermediate of this CA: ${error.message}`, {
      cause: error,
    });
  }
}
