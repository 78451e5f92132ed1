/** Takes the certificate of an offline root: as the first root of a new CA, or for a rotation. */

import { equal } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { ensureInTime } from '../authority/records.ts';
import type { RootFile } from '../ceremony/root.ts';
import { OFFLINE } from '../keys/offline.ts';
import type { AuthorityRecord, AuthorityStore } from '../store/store.ts';

export interface AdoptDeps {
  readonly trustDomain: string;
  readonly store: AuthorityStore;
  readonly clock: Clock;
}

/**
 * `state` is active for the first root, else prepared. Throws config for a root of another trust domain, rotation for
 * one that this CA has had, authority_unfit, and store for a first root where there is one already.
 */
export async function adoptRoot(
  root: RootFile,
  deps: AdoptDeps,
  state: 'active' | 'prepared' = 'active',
): Promise<AuthorityRecord> {
  await ensureAdoptable(root, deps);
  const { certificate, serial, algorithm } = root;
  const { notAfter } = certificate;
  const key = { home: OFFLINE, reference: serial };
  const about = { serial, kind: 'root', state, algorithm, key } as const;
  const record = { ...about, certificate: certificate.der, notAfter };
  await deps.store.saveAuthority(record, {
    type: 'authority.adopted',
    kind: 'root',
    serial,
    notAfter: notAfter.toISOString(),
  });
  return record;
}

/** Throws config, rotation, authority_unfit. */
export async function ensureAdoptable(
  root: RootFile,
  { trustDomain, store, clock }: AdoptDeps,
): Promise<void> {
  const of = `the root is of trust domain ${root.trustDomain}, and this CA of ${trustDomain}`;
  ensure(root.trustDomain === trustDomain, 'config', of);
  ensureInTime(root.certificate, clock.now());
  const { spki } = root.certificate;
  // One key in two authorities: a revocation of one would be that of both.
  const known = (await store.authorities()).find(({ certificate }) =>
    equal(parseCertificate(certificate).spki, spki),
  );
  const says = `the key of this root is that of ${known?.kind} ${known?.serial}: a new root has a new key`;
  ensure(known === undefined, 'rotation', says);
}
