/** Makes an authority: key, lint, intent on record, signature, certificate on record. */
import { hash } from 'node:crypto';
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { Certificate } from '@chancery/shared/x509/certificate.ts';
import { assembleCertificate } from '@chancery/shared/x509/compose/tbs.ts';
import type { KeyHomes } from '../keys/homes.ts';
import type { AuditIntake, AuthorityRecord, AuthorityStore, Numbered } from '../store/store.ts';
import { draftAuthority, validityWithin } from './draft.ts';
import { BACKDATE_SECONDS, crlUrlOf } from './profile.ts';
import { drawSerial } from './serial.ts';

export interface AuthorityDeps {
  readonly trustDomain: TrustDomain;
  /** Seconds, as the other. */
  readonly rootTtl: number;
  readonly intermediateTtl: number;
  readonly keys: KeyHomes;
  /** Where the CRLs of this CA are, without the name of the list; certificates name none if it is undefined. */
  readonly crlBase?: string | undefined;
  readonly store: AuthorityStore & Pick<AuditIntake, 'append'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: (size: number) => Uint8Array;
}

interface Parent {
  readonly certificate: Certificate;
  readonly signer: Signer;
}

/** Makes the root of a new trust domain. Throws store if there is one: the store checks that when it writes. */
export const createRoot = (deps: AuthorityDeps): Promise<AuthorityRecord & Numbered> =>
  certify({ kind: 'root', state: 'active' }, deps, undefined);

/** Makes a standby root, prepared, with its key in the home of its own. Throws lint, store, file. */
export const certifyStandby = (deps: AuthorityDeps): Promise<AuthorityRecord & Numbered> =>
  certify({ kind: 'root', state: 'prepared', standby: true }, deps, undefined);

/** Without a parent it signs itself. Throws lint, store, file. */
export async function certify(
  { kind, state, standby }: Pick<AuthorityRecord, 'kind' | 'state' | 'standby'>,
  deps: AuthorityDeps,
  parent: Parent | undefined,
): Promise<AuthorityRecord & Numbered> {
  const serial = drawSerial(deps.clock.now(), deps.random, await deps.store.life());
  const name = hex(serial);
  const { signer: own, place: key } = await deps.keys[standby ? 'standby' : kind].create(name);
  const { trustDomain, clock, rootTtl, intermediateTtl } = deps;
  const ttlSeconds = kind === 'root' ? rootTtl : intermediateTtl;
  const validity = validityWithin(parent?.certificate, {
    now: clock.now(),
    ttlSeconds,
    backdateSeconds: BACKDATE_SECONDS,
  });
  const crlUrl = parent && crlUrlOf(deps.crlBase, hex(parent.certificate.serial));
  const signing = parent?.signer ?? own;
  const { algorithm } = signing;
  const { spki } = own;
  const draft = { kind, trustDomain, spki, crlUrl, serial, validity, algorithm };
  const tbs = draftAuthority({ ...draft, parent: parent?.certificate });
  const { notAfter } = validity;
  const about = { kind, serial: name, notAfter: notAfter.toISOString() } as const;
  await deps.store.append({ type: 'authority.certifying', ...about, tbs: hash('sha256', tbs, 'hex') });
  const certificate = assembleCertificate(tbs, signing.algorithm, await signing.sign(tbs));
  const made = { serial: name, kind, state, algorithm: own.algorithm, key, certificate, notAfter };
  const record: AuthorityRecord = standby ? { ...made, standby } : made;
  try {
    return {
      ...record,
      ...(await deps.store.saveAuthority(record, { type: 'authority.certified', ...about })),
    };
  } catch (error) {
    await forgetLoser(record, deps);
    throw error;
  }
}

/**
 * Of two first roots one is stored. Where that is another one, this one can never be stored, and its key is only
 * something to steal. Of any other authority it is not known whether it was stored.
 */
async function forgetLoser(
  { kind, state, serial, key }: AuthorityRecord,
  deps: AuthorityDeps,
): Promise<void> {
  const stored = await deps.store.authorities().catch(() => []);
  const lost = stored.length > 0 && stored.every((each) => each.serial !== serial);
  if (kind === 'root' && state === 'active' && lost) await deps.keys.root.remove(key);
}
