/**
 * The CA's own keys: a root that is in the bundle, and an issuing intermediate under it that renews itself at half of
 * its life, with a new key and without a change of the bundle (architecture.md section 7).
 */
import { hash } from 'node:crypto';
import { hex } from '@chancery/shared/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/errors.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import { LiveValue, type Source } from '@chancery/shared/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { keyIdentifierOf } from '@chancery/shared/x509/extensions.ts';
import { verifyPath } from '@chancery/shared/x509/path.ts';
import type { AuthorityRecord, Store } from '../store/store.ts';
import { certify } from './certify.ts';
import type { AuthorityKeys } from './key-files.ts';
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
  readonly keys: AuthorityKeys;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: (size: number) => Uint8Array;
}

export interface AuthorityState {
  readonly serial: string;
  readonly kind: 'root' | 'intermediate';
  readonly notAfter: Date;
}

export class Authorities {
  readonly #deps: AuthorityDeps;
  readonly #bundle: LiveValue<Bundle>;
  readonly #root: AuthorityRecord;
  readonly #keyNames: Set<string>;
  #records: readonly AuthorityRecord[];
  #issuer: Issuer | undefined;
  /** The instant of the last path check that the issuer passed: the check costs two signatures, so once a second. */
  #fitAt = Number.NaN;

  private constructor(deps: AuthorityDeps, records: readonly AuthorityRecord[], root: AuthorityRecord) {
    this.#deps = deps;
    this.#records = records;
    this.#root = root;
    this.#keyNames = new Set(records.map(keyNameOf));
    const bundle = { trustDomain: deps.trustDomain, authorities: [root.certificate], sequence: 1n };
    this.#bundle = new LiveValue<Bundle>(() => new IdentityError('internal', 'no bundle'), bundle);
  }

  /**
   * Loads the authorities and renews the intermediate where that is due. Throws store, file, file_mode,
   * authority_unfit.
   */
  static async open(deps: AuthorityDeps): Promise<Authorities> {
    const records = await deps.store.authorities();
    const root = records.find(({ kind }) => kind === 'root');
    if (root === undefined) throw new IdentityError('store', 'there is no root yet: run chancery-ca init');
    const authorities = new Authorities(deps, records, root);
    await authorities.renewIfDue();
    return authorities;
  }

  get bundle(): Source<Bundle> {
    return this.#bundle;
  }

  /** For metrics: every authority that is still in use. */
  states(): readonly AuthorityState[] {
    const current = this.#issuer?.serial;
    return this.#records
      .filter(({ serial, kind }) => kind === 'root' || serial === current)
      .map(({ serial, kind, notAfter }) => ({ serial, kind, notAfter }));
  }

  isAuthorityKey(keySha256: Uint8Array): boolean {
    return this.#keyNames.has(hex(keySha256));
  }

  /** Throws authority_unfit: the CA does not sign when its own chain is not valid now. */
  issuer(now: Date): Issuer {
    const issuer = this.#issuer;
    if (issuer === undefined) throw new IdentityError('authority_unfit', 'there is no issuing authority');
    const second = Math.floor(now.getTime() / 1000);
    if (second !== this.#fitAt) this.#ensureFit(issuer, now);
    this.#fitAt = second;
    return issuer;
  }

  /**
   * Takes the newest intermediate that is before half of its life, or makes one. Throws authority_unfit,
   * store, file.
   */
  async renewIfDue(): Promise<void> {
    const now = this.#deps.clock.now();
    if (this.#issuer !== undefined && now < halfLife(this.#issuer.certificate)) return;
    const fresh = this.#records.findLast(
      ({ kind, certificate }) => kind === 'intermediate' && now < halfLife(parseCertificate(certificate)),
    );
    const record = fresh ?? (await this.#makeIntermediate());
    this.#issuer = issuerOf(record, await this.#deps.keys.load(record.serial));
    this.#fitAt = Number.NaN;
  }

  async #makeIntermediate(): Promise<AuthorityRecord> {
    const certificate = parseCertificate(this.#root.certificate);
    // Before there is a key: one that nothing can certify would be left behind at each try.
    ensureInTime(certificate, this.#deps.clock.now());
    const root = { certificate, signer: await this.#deps.keys.load(this.#root.serial) };
    const deps = { ...this.#deps, ttlSeconds: this.#deps.intermediateTtl };
    const record = await certify('intermediate', deps, root);
    this.#records = [...this.#records, record];
    this.#keyNames.add(keyNameOf(record));
    return record;
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

/** Makes the root of a new trust domain. Throws store where there is one. */
export async function createRoot(deps: AuthorityDeps): Promise<AuthorityRecord> {
  const records = await deps.store.authorities();
  ensure(records.length === 0, 'store', 'this CA has a root already');
  return certify('root', { ...deps, ttlSeconds: deps.rootTtl }, undefined);
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

function ensureInTime({ notBefore, notAfter }: Certificate, now: Date): void {
  const [from, to] = [notBefore.toISOString(), notAfter.toISOString()];
  const inTime = notBefore <= now && now < notAfter;
  ensure(inTime, 'authority_unfit', `the root is valid from ${from} to ${to}; now is ${now.toISOString()}`);
}

const keyNameOf = (record: AuthorityRecord): string =>
  hash('sha256', parseCertificate(record.certificate).spki, 'hex');

/** Half-way between the moment it was made and its end. */
function halfLife({ notBefore, notAfter }: Certificate): Date {
  return addSeconds(notBefore, (notAfter.getTime() - notBefore.getTime()) / 2000);
}
