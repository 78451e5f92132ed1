/** What the certificate of an authority says, before anything signs it. */
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import type { KeyAlgorithm } from '@chancery/shared/keys/key.ts';
import type { Certificate } from '@chancery/shared/x509/certificate.ts';
import { lintAuthority } from '@chancery/shared/x509/compose/lint.ts';
import { writeTbs } from '@chancery/shared/x509/compose/tbs.ts';
import { keyIdentifierOf } from '@chancery/shared/x509/extensions.ts';
import { type AuthoritySubject, authorityFields, PATH_LENGTH, type Validity } from './profile.ts';

export interface AuthorityDraft extends Pick<AuthoritySubject, 'kind' | 'trustDomain' | 'spki' | 'crlUrl'> {
  readonly serial: Uint8Array;
  readonly validity: Validity;
  /** Undefined for a root, which signs itself. */
  readonly parent: Certificate | undefined;
  /** Of the key that signs it. */
  readonly algorithm: KeyAlgorithm;
}

/** To be signed. Throws lint. */
export function draftAuthority(draft: AuthorityDraft): Uint8Array {
  const { kind, trustDomain, spki, crlUrl, parent } = draft;
  const keyId = keyIdentifierOf(spki, 'certificate_parse');
  const signer = parent && {
    subject: parent.subject,
    keyId: keyIdentifierOf(parent.spki, 'certificate_parse'),
  };
  const subject = { kind, trustDomain, spki, keyId, signer, crlUrl };
  const tbs = writeTbs(authorityFields(subject, draft.serial, draft.validity), draft.algorithm);
  lintAuthority(tbs, { trustDomain, issuer: parent, spki, pathLength: PATH_LENGTH[kind], crlUrl });
  return tbs;
}

export interface Lifetime {
  readonly now: Date;
  readonly ttlSeconds: number;
  readonly backdateSeconds: number;
}

/** Never outside the parent's own, however near its beginning or its end. */
export function validityWithin(parent: Validity | undefined, of: Lifetime): Validity {
  const second = new Date(Math.floor(of.now.getTime() / 1000) * 1000);
  const first = addSeconds(second, -of.backdateSeconds);
  const last = addSeconds(second, of.ttlSeconds);
  return {
    notBefore: later(first, parent?.notBefore ?? first),
    notAfter: earlier(last, parent?.notAfter ?? last),
  };
}

const later = (a: Date, b: Date): Date => (a > b ? a : b);
const earlier = (a: Date, b: Date): Date => (a < b ? a : b);
