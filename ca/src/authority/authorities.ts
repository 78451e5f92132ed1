/**
 * The CA's own keys: a root that is in the bundle, and an issuing intermediate under it that renews itself at half of
 * its life, with a new key and without a change of the bundle (architecture.md section 7).
 */
import { hash } from 'node:crypto';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { type TrustDomain, trustDomainId } from '@chancery/shared/spiffe/id.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { keyIdentifierOf, readSubjectAltName } from '@chancery/shared/x509/extensions.ts';
import { text } from '@chancery/shared/x509/names.ts';
import { verifyPath } from '@chancery/shared/x509/verify/path.ts';
import type { AuditIntake, AuthorityRecord, AuthorityStore, StoredAuthority } from '../store/store.ts';
import { certify } from './certify.ts';
import type { KeyHomes } from './key-files.ts';
import { type LeafTemplate, leafTemplate } from './profile.ts';

/** An authority in the act of signing leaves. */
export interface Issuer {
  readonly serial: string;
  readonly certificate: Certificate;
  readonly signer: Signer;
  readonly template: LeafTemplate;
  /** X.509 DER from the issuer up, without the root. */
  readonly chain: readonly Uint8Array[];
}

export interface AuthorityDeps {
  readonly trustDomain: TrustDomain;
  readonly rootTtl: number;
  readonly intermediateTtl: number;
  readonly keys: KeyHomes;
  readonly store: AuthorityStore & Pick<AuditIntake, 'append'>;
  readonly clock: Clock;
  readonly random: (size: number) => Uint8Array;
}

export interface AuthorityState {
  readonly serial: string;
  readonly kind: 'root' | 'intermediate';
  readonly notAfter: Date;
}

/** The authorities on record, and the one of them that signs. */
interface Fresh {
  readonly records: readonly AuthorityRecord[];
  readonly issuer: Issuer;
}

/** Signs for one trust domain. Made by `open`, which loads or makes the keys; needs no closing. */
export class Authorities {
  readonly #deps: AuthorityDeps;
  readonly #bundle: LiveValue<Bundle>;
  readonly #root: AuthorityRecord;
  #fresh: Fresh;
  #keyNames: ReadonlySet<string>;
  /** The instant of the last path check that the issuer passed: the check costs two signatures, so once a second. */
  #fitAt = Number.NaN;

  private constructor(deps: AuthorityDeps, root: StoredAuthority, fresh: Fresh) {
    this.#deps = deps;
    this.#root = root;
    this.#fresh = fresh;
    this.#keyNames = keyNamesOf(fresh);
    const { certificate, sequence } = root;
    const bundle = { trustDomain: deps.trustDomain, authorities: [certificate], sequence };
    this.#bundle = new LiveValue<Bundle>(() => new IdentityError('internal', 'no bundle'), bundle);
  }

  /** Loads the authorities; makes an intermediate if none is fresh. Throws store, file, file_mode, authority_unfit. */
  static async open(deps: AuthorityDeps): Promise<Authorities> {
    const records = await deps.store.authorities();
    const root = records.find(({ kind }) => kind === 'root');
    if (root === undefined) throw new IdentityError('store', NO_ROOT);
    ensureRootOf(root, deps.trustDomain);
    return new Authorities(deps, root, await freshIssuer(records, root, deps));
  }

  get bundle(): Source<Bundle> {
    return this.#bundle;
  }

  /** For metrics: every authority that is still in use. */
  states(): readonly AuthorityState[] {
    const { records, issuer } = this.#fresh;
    return records
      .filter(({ serial, kind }) => kind === 'root' || serial === issuer.serial)
      .map(({ serial, kind, notAfter }) => ({ serial, kind, notAfter }));
  }

  isAuthorityKey(keySha256: Uint8Array): boolean {
    return this.#keyNames.has(hex(keySha256));
  }

  /** Throws authority_unfit: the CA does not sign when its own chain is not valid now. */
  issuer(now: Date): Issuer {
    const { issuer } = this.#fresh;
    const second = Math.floor(now.getTime() / 1000);
    if (second !== this.#fitAt) this.#ensureFit(issuer, now);
    this.#fitAt = second;
    return issuer;
  }

  /** Has another intermediate sign from half of its life on. Throws authority_unfit, store, file. */
  async renewIfDue(): Promise<void> {
    const { records, issuer } = this.#fresh;
    if (isFresh(issuer.certificate, this.#deps.clock.now())) return;
    this.#fresh = await freshIssuer(records, this.#root, this.#deps);
    this.#keyNames = keyNamesOf(this.#fresh);
    this.#fitAt = Number.NaN;
  }

  #ensureFit(issuer: Issuer, now: Date): void {
    const anchors = [parseCertificate(this.#root.certificate)];
    try {
      verifyPath({ leaf: issuer.certificate, intermediates: [], anchors, now });
    } catch (error) {
      const says = error instanceof Error ? error.message : String(error);
      throw new IdentityError('authority_unfit', `the issuing authority is not valid now: ${says}`, {
        cause: error,
      });
    }
  }
}

/** Why a CA without a root does not start, and what to do. */
export const NO_ROOT =
  'there is no root yet: finish it with chancery-ca init --resume, or, if this CA has run before, restore dataDir';

/** Makes the root of a new trust domain. Throws store if there is one. */
export async function createRoot(deps: AuthorityDeps): Promise<AuthorityRecord> {
  const records = await deps.store.authorities();
  ensure(records.length === 0, 'store', 'this CA has a root already');
  return certify('root', { ...deps, ttlSeconds: deps.rootTtl }, undefined);
}

/** The newest intermediate that is valid, before half of its life and has its key, or a new one. */
async function freshIssuer(
  records: readonly AuthorityRecord[],
  root: AuthorityRecord,
  deps: AuthorityDeps,
): Promise<Fresh> {
  const now = deps.clock.now();
  const fresh = records.findLast(
    ({ kind, certificate, serial }) =>
      kind === 'intermediate' &&
      isFresh(parseCertificate(certificate), now) &&
      deps.keys.intermediate.has(serial),
  );
  const chosen = fresh ?? (await makeIntermediate(root, deps));
  const all = fresh === undefined ? [...records, chosen] : records;
  const issuer = issuerOf(chosen, await deps.keys.intermediate.load(chosen.serial));
  // What nothing will sign with again is only something to steal. Before its end it may sign again: a clock that was
  // ahead has made a successor that is not valid yet.
  for (const { kind, serial, notAfter } of all)
    if (kind === 'intermediate' && serial !== chosen.serial && notAfter <= now)
      await deps.keys.intermediate.remove(serial);
  return { records: all, issuer };
}

async function makeIntermediate(root: AuthorityRecord, deps: AuthorityDeps): Promise<AuthorityRecord> {
  const certificate = parseCertificate(root.certificate);
  // Before there is a key: one that nothing can certify would be left behind at each try.
  ensureInTime(certificate, deps.clock.now());
  const signer = await deps.keys.root.load(root.serial);
  return certify('intermediate', { ...deps, ttlSeconds: deps.intermediateTtl }, { certificate, signer });
}

function issuerOf(record: AuthorityRecord, signer: Signer): Issuer {
  const certificate = parseCertificate(record.certificate);
  ensure(
    hex(signer.spki) === hex(certificate.spki),
    'file',
    `the key of authority ${record.serial} is another one`,
  );
  const template = leafTemplate(certificate, keyIdentifierOf(certificate.spki, 'certificate_parse'));
  return { serial: record.serial, certificate, signer, template, chain: [record.certificate] };
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

const keyNamesOf = ({ records }: Fresh): ReadonlySet<string> =>
  new Set(records.map(({ certificate }) => hash('sha256', parseCertificate(certificate).spki, 'hex')));

/** From its beginning until half-way between the moment it was made and its end. */
export function isFresh({ notBefore, notAfter }: Certificate, now: Date): boolean {
  return notBefore <= now && now < addSeconds(notBefore, (notAfter.getTime() - notBefore.getTime()) / 2000);
}
