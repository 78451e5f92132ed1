/** Makes an authority: key, lint, intent on record, signature, certificate on record. */
import { hash } from 'node:crypto';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { Certificate } from '@chancery/shared/x509/certificate.ts';
import { lintAuthority } from '@chancery/shared/x509/compose/lint.ts';
import { assembleCertificate, writeTbs } from '@chancery/shared/x509/compose/tbs.ts';
import { keyIdentifierOf } from '@chancery/shared/x509/extensions.ts';
import type { AuditIntake, AuthorityRecord, AuthorityStore } from '../store/store.ts';
import type { KeyHomes } from './key-files.ts';
import { authorityFields, BACKDATE_SECONDS, PATH_LENGTH } from './profile.ts';
import { drawSerial } from './serial.ts';

export interface CertifyDeps {
  readonly trustDomain: TrustDomain;
  readonly ttlSeconds: number;
  readonly keys: KeyHomes;
  readonly store: AuthorityStore & Pick<AuditIntake, 'append'>;
  readonly clock: Clock;
  readonly random: (size: number) => Uint8Array;
}

interface Parent {
  readonly certificate: Certificate;
  readonly signer: Signer;
}

/** Without a parent it signs itself. Throws lint, store, file. */
export async function certify(
  kind: 'root' | 'intermediate',
  deps: CertifyDeps,
  parent: Parent | undefined,
): Promise<AuthorityRecord> {
  const serial = drawSerial(deps.clock.now(), deps.random);
  const name = hex(serial);
  const own = await deps.keys[kind].create(name);
  const keyId = keyIdentifierOf(own.spki, 'certificate_parse');
  const signer = parent && {
    subject: parent.certificate.subject,
    keyId: keyIdentifierOf(parent.certificate.spki, 'certificate_parse'),
  };
  const validity = validityOf(deps, parent?.certificate);
  const { trustDomain } = deps;
  const signing = parent?.signer ?? own;
  const fields = authorityFields({ kind, trustDomain, spki: own.spki, keyId, signer }, serial, validity);
  const tbs = writeTbs(fields, signing.algorithm);
  lintAuthority(tbs, {
    trustDomain,
    issuer: parent?.certificate,
    spki: own.spki,
    pathLength: PATH_LENGTH[kind],
  });
  const about = { kind, serial: name, notAfter: validity.notAfter.toISOString() } as const;
  await deps.store.append({ type: 'authority.certifying', ...about, tbs: hash('sha256', tbs, 'hex') });
  const certificate = assembleCertificate(tbs, signing.algorithm, await signing.sign(tbs));
  // A root signs from the start: nobody has a bundle without it.
  const state = kind === 'root' ? 'active' : 'prepared';
  const { algorithm } = own;
  const record = { serial: name, kind, state, algorithm, certificate, notAfter: validity.notAfter } as const;
  await deps.store.saveAuthority(record, { type: 'authority.certified', ...about });
  return record;
}

/** Never outside the parent's own, however near its beginning or its end. */
function validityOf({ clock, ttlSeconds }: CertifyDeps, parent: Certificate | undefined) {
  const second = Math.floor(clock.now().getTime() / 1000) * 1000;
  const first = addSeconds(new Date(second), -BACKDATE_SECONDS);
  const last = addSeconds(new Date(second), ttlSeconds);
  return {
    notBefore: later(first, parent?.notBefore ?? first),
    notAfter: earlier(last, parent?.notAfter ?? last),
  };
}

const later = (a: Date, b: Date): Date => (a > b ? a : b);
const earlier = (a: Date, b: Date): Date => (a < b ? a : b);
