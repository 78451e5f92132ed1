/** Takes the certificate of an offline root as the first root of a new CA. */

import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { ensureInTime } from '../authority/records.ts';
import { OFFLINE } from '../keys/offline.ts';
import type { AuthorityRecord, AuthorityStore } from '../store/store.ts';
import type { RootFile } from './root.ts';

export interface AdoptDeps {
  readonly trustDomain: string;
  readonly store: AuthorityStore;
  readonly clock: Clock;
}

/** Throws config for a root of another trust domain, authority_unfit, and store if there is a root already. */
export async function adoptRoot(root: RootFile, deps: AdoptDeps): Promise<AuthorityRecord> {
  const { certificate, serial, algorithm } = root;
  const of = `the root is of trust domain ${root.trustDomain}, and this CA of ${deps.trustDomain}`;
  ensure(root.trustDomain === deps.trustDomain, 'config', of);
  ensureInTime(certificate, deps.clock.now());
  const { notAfter } = certificate;
  const key = { home: OFFLINE, reference: serial };
  const about = { serial, kind: 'root', state: 'active', algorithm, key } as const;
  const record = { ...about, certificate: certificate.der, notAfter };
  await deps.store.saveAuthority(record, {
    type: 'authority.adopted',
    kind: 'root',
    serial,
    notAfter: notAfter.toISOString(),
  });
  return record;
}
