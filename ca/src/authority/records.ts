/** What the records of the authorities say: who signs, what agents trust, and what has had its time. */
import { hash } from 'node:crypto';
import { equal, hex } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import type { KeyHome } from '@chancery/shared/keys/home.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { type TrustDomain, trustDomainId } from '@chancery/shared/spiffe/id.ts';
import type { JwtAuthority } from '@chancery/shared/spiffe/jwt-authority.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { readSubjectAltName, readSubjectKeyIdentifier } from '@chancery/shared/x509/extensions.ts';
import { text } from '@chancery/shared/x509/names.ts';
import { isInBundle, isLeft, keepsKey, maySign } from '../store/authority-states.ts';
import type { AllAuthorities } from '../store/jwt-store.ts';
import type { AuthorityMove, AuthorityRecord, StoredAuthority } from '../store/store.ts';

/** Why a CA without a root does not start, and what to do. */
export const NO_ROOT =
  'there is no root yet: finish it with chancery-ca init --resume, or, if this CA has run before, restore dataDir';

/** The root that signs intermediates. Undefined before `init` has made one. */
export const findRoot = <T extends AuthorityRecord>(records: readonly T[]): T | undefined =>
  records.find((each) => each.kind === 'root' && maySign(each));

/** As `findRoot`. Throws store if there is none, with what to do. */
export function rootOf<T extends AuthorityRecord>(records: readonly T[]): T {
  const root = findRoot(records);
  if (root === undefined) throw new IdentityError('store', NO_ROOT);
  return root;
}

/**
 * Of the roots that sign or retire and are valid now, the first that this CA had: in the bundle of every agent, file
 * and image that has any of them. Undefined if none is valid.
 */
export function longestTrusted(
  records: readonly StoredAuthority[],
  { now, without }: { readonly now: Date; readonly without?: string | undefined },
): StoredAuthority | undefined {
  return records
    .filter((each) => each.kind === 'root' && (maySign(each) || isLeft(each)) && each.serial !== without)
    .filter((each) => isValid(each, now))
    .toSorted((a, b) => a.ordinal - b.ordinal)[0];
}

/** What agents trust, and what of it they must not rely on for long. */
export interface PushedBundle extends Bundle {
  readonly jwtAuthorities: readonly JwtAuthority[];
  /** SubjectKeyIdentifiers: who holds a certificate under one of these authorities renews at once. */
  readonly retiring: readonly Uint8Array[];
  /** Of the roots that a CA above has certified: by these its peers get to them. Nobody here trusts them. */
  readonly crossChains: readonly (readonly Uint8Array[])[];
}

/**
 * What agents trust, in the order of the records. Its number is that of the newest change of it, which may be that
 * something left it, so it never goes back.
 */
export function bundleOf(
  { authorities: records, jwtKeys }: AllAuthorities,
  trustDomain: TrustDomain,
): PushedBundle {
  const authorities = records.filter(isInBundle).map(({ certificate }) => certificate);
  const isToLeave = (each: StoredAuthority): boolean => isLeft(each) || isTainted(each);
  const retiring = records.filter(isToLeave).map(({ certificate }) => keyIdOf(certificate));
  const jwtAuthorities = jwtKeys.filter(isInBundle).map(({ serial, spki }) => ({ keyId: serial, spki }));
  const crossChains = records
    .filter(isInBundle)
    .flatMap(({ cross }) => (cross === undefined ? [] : [cross.chain]));
  const crossed = records.flatMap(({ cross }) => cross ?? []);
  const numbers = [...records, ...jwtKeys, ...crossed].map((each) => each.sequence);
  const [sequence = 0n] = numbers.toSorted((a, b) => Number(b - a));
  return { trustDomain, authorities, jwtAuthorities, retiring, crossChains, sequence };
}

/** Whether its key counts as stolen. */
export const isTainted = ({ taintedAt }: Pick<StoredAuthority, 'taintedAt'>): boolean =>
  taintedAt !== undefined;

/**
 * With what the CA builds the paths of its callers: the bundle, and tainted roots. A caller under one of
 * those is accepted only if its serial and its key are on record, so the signature proves nothing.
 */
export function callersBundle(bundle: Bundle, records: readonly StoredAuthority[]): Bundle {
  const tainted = records.filter((each) => each.kind === 'root' && isTainted(each));
  return {
    ...bundle,
    authorities: [...bundle.authorities, ...tainted.map(({ certificate }) => certificate)],
  };
}

/** SubjectKeyIdentifier. Each authority of this CA says its own (lint). Throws store for a damaged record. */
export function keyIdOf(certificate: Uint8Array): Uint8Array {
  const keyId = readSubjectKeyIdentifier(parseCertificate(certificate), 'store');
  ensure(keyId !== undefined, 'store', 'an authority has no key identifier');
  return keyId;
}

/** Whether this root signed this intermediate, by its issuer's name: each authority has a subject of its own. */
export function isUnder(intermediate: AuthorityRecord, root: AuthorityRecord): boolean {
  const { subject } = parseCertificate(root.certificate);
  return (
    intermediate.kind === 'intermediate' && equal(parseCertificate(intermediate.certificate).issuer, subject)
  );
}

export interface Choice {
  readonly now: Date;
  /** The home of intermediates' keys: one without its key cannot sign. */
  readonly keys: Pick<KeyHome, 'has'>;
}

/**
 * The intermediate that signs or is to sign: issued by this root, before half of its life, with its key. The one that
 * signs already comes before others, then the newest. Undefined if a new one is needed. Homes are asked in this order
 * and no further than needed: one that an operator has left behind is not asked while another key signs.
 */
export async function freshIntermediate<T extends AuthorityRecord>(
  records: readonly T[],
  root: AuthorityRecord,
  { now, keys }: Choice,
): Promise<T | undefined> {
  const fresh = records.filter(
    (each) => keepsKey(each) && isUnder(each, root) && isFresh(parseCertificate(each.certificate), now),
  );
  const others = fresh.filter((each) => !maySign(each)).toReversed();
  for (const each of [...fresh.filter(maySign), ...others]) if (await keys.has(each.key)) return each;
  return undefined;
}

/**
 * The intermediate that goes on signing while its root cannot make another one: issued by this root, valid, with its
 * key, whatever its age. The one that signs already comes before others, then the last to end. Undefined if there is
 * none.
 */
export async function lastIntermediate<T extends AuthorityRecord>(
  records: readonly T[],
  root: AuthorityRecord,
  { now, keys }: Choice,
): Promise<T | undefined> {
  const valid = records.filter((each) => keepsKey(each) && isUnder(each, root) && isValid(each, now));
  const found = await Promise.all(valid.map(({ key }) => keys.has(key)));
  const usable = valid.filter((_, n) => found[n] === true);
  return usable.find(maySign) ?? usable.at(-1);
}

const isValid = ({ certificate, notAfter }: AuthorityRecord, now: Date): boolean =>
  parseCertificate(certificate).notBefore <= now && now < notAfter;

/** What makes `chosen` the one that signs, and removes what nothing can sign with any more. */
export function movesFor(
  records: readonly AuthorityRecord[],
  chosen: AuthorityRecord,
  now: Date,
): readonly AuthorityMove[] {
  const others = records.filter(({ kind, serial }) => kind === 'intermediate' && serial !== chosen.serial);
  return [
    // What nothing will sign with again is only something to steal. Before its end it may sign again: a clock that was
    // ahead has made a successor that is not valid yet.
    ...others
      .filter((each) => keepsKey(each) && each.notAfter <= now)
      .map(({ serial, state }) => ({ serial, from: state, to: 'removed' }) as const),
    ...others
      .filter((each) => maySign(each) && each.notAfter > now)
      .map(({ serial, state }) => ({ serial, from: state, to: 'retiring' }) as const),
    ...(maySign(chosen) ? [] : [{ serial: chosen.serial, from: chosen.state, to: 'active' } as const]),
  ];
}

/** Throws config: agents of that trust domain would not believe this root. */
export function ensureRootOf(root: AuthorityRecord, trustDomain: TrustDomain): void {
  const names = readSubjectAltName(parseCertificate(root.certificate), 'store') ?? [];
  const domains = names.map(({ value }) => text(value));
  const holds = domains.length === 0 || domains.includes(trustDomainId(trustDomain));
  const says = `the config has trustDomain ${trustDomain}, the root of this dataDir is of ${domains.join(', ')}`;
  ensure(holds, 'config', `${says}: correct trustDomain or dataDir`);
}

/** Throws authority_unfit, with both ends of the validity. */
export function ensureInTime({ notBefore, notAfter }: Certificate, now: Date): void {
  const [from, to] = [notBefore.toISOString(), notAfter.toISOString()];
  const inTime = notBefore <= now && now < notAfter;
  ensure(inTime, 'authority_unfit', `the root is valid from ${from} to ${to}; now is ${now.toISOString()}`);
}

/** SHA-256 of the key, hexadecimal. A record's certificate never changes. */
export const keyNameOf = ({ certificate }: AuthorityRecord): string =>
  hash('sha256', parseCertificate(certificate).spki, 'hex');

/** Throws key_wrong if the key is not that of the record. */
export function ensureKeyOf(
  { serial, algorithm, certificate }: Pick<AuthorityRecord, 'serial' | 'algorithm' | 'certificate'>,
  key: { readonly spki: Uint8Array; readonly algorithm: string },
): void {
  const same = hex(key.spki) === hex(parseCertificate(certificate).spki) && key.algorithm === algorithm;
  ensure(same, 'key_wrong', `the key of authority ${serial} is another one`);
}

/** From its beginning until half-way between the moment it was made and its end. */
function isFresh({ notBefore, notAfter }: Certificate, now: Date): boolean {
  return notBefore <= now && now < addSeconds(notBefore, (notAfter.getTime() - notBefore.getTime()) / 2000);
}
