/** Makes an authority: key, lint, intent on record, signature, certificate on record. */
import { hash } from 'node:crypto';
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { HomeKey } from '@chancery/shared/keys/home.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { Certificate } from '@chancery/shared/x509/certificate.ts';
import { assembleCertificate } from '@chancery/shared/x509/compose/tbs.ts';
import type { KeyHomes } from '../keys/homes.ts';
import type { JwtStore } from '../store/jwt-store.ts';
import type { AuditIntake, AuthorityRecord, AuthorityStore, Numbered } from '../store/store.ts';
import { draftAuthority, validityWithin } from './draft.ts';
import { BACKDATE_SECONDS, crlUrlOf } from './profile.ts';
import { keyNameOf } from './records.ts';
import { drawSerial } from './serial.ts';

export interface AuthorityDeps {
  readonly trustDomain: TrustDomain;
  /** Seconds, as the other. */
  readonly rootTtl: number;
  readonly intermediateTtl: number;
  readonly keys: KeyHomes;
  /** Where the CRLs of this CA are, without the name of the list; certificates name none if it is undefined. */
  readonly crlBase?: string | undefined;
  readonly store: AuthorityStore & JwtStore & Pick<AuditIntake, 'append' | 'events'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: (size: number) => Uint8Array;
}

/** Who signs an intermediate. */
export interface Parent {
  readonly certificate: Certificate;
  readonly signer: Signer;
}

/** Makes the root of a new trust domain. Throws store if there is one: the store checks that when it writes. */
export const createRoot = (deps: AuthorityDeps): Promise<AuthorityRecord & Numbered> =>
  certify({ kind: 'root', state: 'active' }, deps, undefined);

/** Makes a standby root, prepared, with its key in the home of its own. Throws lint, store, file. */
export const certifyStandby = (deps: AuthorityDeps): Promise<AuthorityRecord & Numbered> =>
  certify({ kind: 'root', state: 'prepared', standby: true }, deps, undefined);

/** Without a parent it signs itself. Throws lint, store, file, key_wrong, and what the homes of the keys throw. */
export async function certify(
  about: Pick<AuthorityRecord, 'kind' | 'state' | 'standby'>,
  deps: AuthorityDeps,
  parent: Parent | undefined,
): Promise<AuthorityRecord & Numbered> {
  const serial = drawSerial(deps.clock.now(), deps.random, await deps.store.life());
  const home = deps.keys[about.standby ? 'standby' : about.kind];
  const made = await home.create(hex(serial));
  let record: AuthorityRecord;
  try {
    await ensureNew(made, deps.store);
    record = await signed({ ...about, serial, made }, deps, parent);
  } catch (error) {
    // No record has it, and it is made anew at each try.
    await home.remove(made.place).catch(() => {});
    throw error;
  }
  try {
    const { kind, serial: name, notAfter, standby, key, algorithm } = record;
    const event = {
      type: 'authority.certified',
      kind,
      serial: name,
      notAfter: notAfter.toISOString(),
      ...(standby && { standby: { ...key, algorithm } }),
    } as const;
    return { ...record, ...(await deps.store.saveAuthority(record, event)) };
  } catch (error) {
    await forgetLoser(record, deps);
    throw error;
  }
}

interface Order extends Pick<AuthorityRecord, 'kind' | 'state' | 'standby'> {
  readonly serial: Uint8Array;
  readonly made: HomeKey;
}

/** The intent is on record before the signature exists. */
async function signed(
  { kind, state, standby, serial, made: { signer: own, place: key } }: Order,
  deps: AuthorityDeps,
  parent: Parent | undefined,
): Promise<AuthorityRecord> {
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
  const draft = { kind, trustDomain, spki: own.spki, crlUrl, serial, validity, algorithm };
  const tbs = draftAuthority({ ...draft, parent: parent?.certificate });
  const { notAfter } = validity;
  const about = { kind, serial: hex(serial), notAfter: notAfter.toISOString() } as const;
  await deps.store.append({ type: 'authority.certifying', ...about, tbs: hash('sha256', tbs, 'hex') });
  const certificate = assembleCertificate(tbs, signing.algorithm, await signing.sign(tbs));
  const made = { serial: hex(serial), kind, state, algorithm: own.algorithm, key, certificate, notAfter };
  return standby ? { ...made, standby } : made;
}

/** A key that an operator has named may be that of an authority already: a removed or tainted one would come back. */
async function ensureNew({ signer, place: { reference } }: HomeKey, store: AuthorityStore): Promise<void> {
  const name = hash('sha256', signer.spki, 'hex');
  const holder = (await store.authorities()).find((each) => keyNameOf(each) === name);
  const says = `key ${reference} is that of authority ${holder?.serial} already: each authority has its own`;
  ensure(holder === undefined, 'key_wrong', says);
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
