/**
 * The CA's own keys: roots that are in the bundle, and an issuing intermediate under the active root that renews itself
 * at half of its life, with a new key and without a change of the bundle (architecture.md section 7). All of it follows
 * from the records in the store; what is here is what they said last.
 */
import { hex } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { endOfChain } from '@chancery/shared/x509/verify/cross.ts';
import { verifyPath } from '@chancery/shared/x509/verify/path.ts';
import { isOffline } from '../keys/offline.ts';
import { isInBundle, isStandby, maySign } from '../store/authority-states.ts';
import type { AuthorityRecord, StoredAuthority } from '../store/store.ts';
import { lackingAbove } from './above.ts';
import type { AuthorityDeps } from './certify.ts';
import type { Issuer } from './issuer.ts';
import {
  bundleOf,
  callersBundle,
  freshIntermediate,
  isTainted,
  keyNameOf,
  lastIntermediate,
  longestTrusted,
  type PushedBundle,
} from './records.ts';
import { forgetKeys, keepKeys, makeIntermediate, type Settled, settle, signing } from './settle.ts';

export interface AuthorityInUse extends Pick<AuthorityRecord, 'serial' | 'kind' | 'notAfter'> {
  /** `standby` for a root that stands by: it is published, and no rotation is under way for it. */
  readonly state: AuthorityRecord['state'] | 'standby';
  /**
   * Of a root that a CA above has certified: when the first certificate of that chain ends. Now for one that signs and
   * has none, where another root had one.
   */
  readonly crossUntil?: Date;
}

/** Signs for one trust domain. Made by `open`, which loads or makes the keys; needs no closing. */
export class Authorities {
  readonly #deps: AuthorityDeps;
  readonly #bundle = new LiveValue<PushedBundle>(() => new IdentityError('internal', 'no bundle'));
  readonly #records = new LiveValue<readonly StoredAuthority[]>(
    () => new IdentityError('internal', 'no authorities'),
  );
  readonly #callers = new LiveValue<Bundle>(() => new IdentityError('internal', 'no bundle'));
  readonly #keyNames = new Map<string, string>();
  #settled: Settled;
  #anchors: readonly Certificate[] = [];
  #ownIssuer: Issuer | undefined;
  /** Those that were removed and have no key any more, by serial. */
  readonly #forgotten = new Set<string>();
  /** What was told last of keys that could not be removed or moved. */
  readonly #told = new Map<string, string>();
  #refreshing: Promise<unknown> = Promise.resolve();
  /** The instant of the last path check that the issuer passed: the check costs two signatures, so once a second. */
  #fitAt = Number.NaN;

  /** How often this CA was restored from a backup. */
  readonly life: number;

  private constructor(deps: AuthorityDeps, settled: Settled, life: number) {
    this.life = life;
    this.#deps = deps;
    this.#settled = settled;
    this.#take(settled);
  }

  /** Loads the authorities; makes an intermediate if none is fresh. Throws store, file, file_mode, authority_unfit. */
  static async open(deps: AuthorityDeps): Promise<Authorities> {
    const opened = new Authorities(deps, await settle(deps, undefined), await deps.store.life());
    await opened.#tidyKeys();
    return opened;
  }

  /** The bundle: roots that are published, active or retiring, and which of them agents are told to leave. */
  get bundle(): Source<PushedBundle> {
    return this.#bundle;
  }

  /** With what the paths of callers are built: see `callersBundle`. */
  get callers(): Source<Bundle> {
    return this.#callers;
  }

  /** Whether one of the authorities above a certificate is tainted; they are named by their keys. */
  readonly isTainted = ({ authorities }: { readonly authorities: readonly string[] }): boolean => {
    const tainted = this.#settled.records.filter(isTainted).map(keyNameOf);
    return authorities.some((each) => tainted.includes(each));
  };

  /** All that the store had when it was read last; published when one of them is new or in another state. */
  get records(): Source<readonly StoredAuthority[]> {
    return this.#records;
  }

  /** For metrics: what is in the bundle, and what signs. */
  inUse(): readonly AuthorityInUse[] {
    const { records, issuer } = this.#settled;
    const now = this.#deps.clock.now();
    const lacking = lackingAbove(records, now).filter(({ state }) => state === 'active');
    return records
      .filter((each) => isInBundle(each) || each.serial === issuer?.serial)
      .map((each) => {
        const { serial, kind, state, notAfter, cross } = each;
        const until = cross === undefined ? undefined : endOfChain(cross.chain);
        const end = lacking.includes(each) ? now : until;
        const above = end === undefined ? {} : { crossUntil: end };
        return { serial, kind, state: isStandby(each) ? 'standby' : state, notAfter, ...above };
      });
  }

  /**
   * What signs the CA's own certificate: an intermediate under the root that peers have had longest, so that a holder
   * of that root alone can still reach the CA. It leaves `without` (a root's serial) out. Throws authority_unfit,
   * store, file, file_mode, lint.
   */
  async ownIssuer(without?: string): Promise<Issuer> {
    const now = this.#deps.clock.now();
    const root = longestTrusted(this.#settled.records, { now, without });
    if (root === undefined || maySign(root)) return this.issuer(now);
    const keys = this.#deps.keys.intermediate;
    const { records } = this.#settled;
    const choice = { now, keys };
    const last = isOffline(root) ? await lastIntermediate(records, root, choice) : undefined;
    const ready = (await freshIntermediate(records, root, choice)) ?? last;
    const chosen = ready ?? (await makeIntermediate(root, this.#deps));
    if (ready === undefined) await this.refresh();
    this.#ownIssuer = await signing(chosen, this.#deps, this.#ownIssuer);
    this.#ensureFit(this.#ownIssuer, now);
    return this.#ownIssuer;
  }

  /** Of any authority that this CA ever had. */
  isAuthorityKey(keySha256: Uint8Array): boolean {
    return this.#keyNames.has(hex(keySha256));
  }

  /** False while an offline root has signed no intermediate that is valid: the CA waits for its answer. */
  get canSign(): boolean {
    return this.#settled.issuer !== undefined;
  }

  /** Throws authority_unfit: the CA does not sign when its own chain is not valid now. */
  issuer(now: Date): Issuer {
    const { issuer } = this.#settled;
    ensure(issuer !== undefined, 'authority_unfit', WAITS);
    const second = Math.floor(now.getTime() / 1000);
    if (second !== this.#fitAt) this.#ensureFit(issuer, now);
    this.#fitAt = second;
    return issuer;
  }

  /**
   * Reads the records again: another intermediate signs from half of its life on, and a bundle that changed is
   * published. Throws authority_unfit, store, file; what signed before then goes on, as long as it is fit.
   */
  refresh(): Promise<void> {
    const refreshed = this.#refreshing.then(() => this.#refresh());
    this.#refreshing = refreshed.catch(() => {});
    return refreshed;
  }

  async #refresh(): Promise<void> {
    // First of all: a root that left the bundle must not wait for an intermediate that cannot be made.
    const { authorities: records, jwtKeys } = await this.#deps.store.allAuthorities();
    this.#take({ records, jwtKeys, issuer: await this.#successor(records) });
    this.#take(await settle(this.#deps, this.#settled.issuer));
    await this.#tidyKeys();
  }

  /**
   * Agents renew at once when they are told to leave a root, so who signs changes with the bundle and not after it. The
   * one before goes on where the key of the new one does not load; `settle` says why.
   */
  async #successor(records: readonly AuthorityRecord[]): Promise<Issuer | undefined> {
    const { issuer } = this.#settled;
    const active = records.find((each) => each.kind === 'intermediate' && maySign(each));
    if (active === undefined) return issuer;
    return signing(active, this.#deps, issuer).catch(() => issuer);
  }

  #take(settled: Settled): void {
    const { records } = settled;
    this.#settled = settled;
    this.#fitAt = Number.NaN;
    const named = new Set(this.#keyNames.values());
    for (const each of records) if (!named.has(each.serial)) this.#keyNames.set(keyNameOf(each), each.serial);
    const { jwtKeys } = settled;
    const bundle = bundleOf({ authorities: records, jwtKeys }, this.#deps.trustDomain);
    const isNews = !this.#bundle.has() || bundle.sequence > this.#bundle.current().sequence;
    if (isNews) {
      this.#anchors = bundle.authorities.map((der) => parseCertificate(der));
      this.#callers.publish(callersBundle(bundle, records));
      this.#bundle.publish(bundle);
    }
    if (!this.#records.has() || standingsOf(this.#records.current()) !== standingsOf(records))
      this.#records.publish(records);
  }

  /** What could not be done is tried again with each refresh, and told once. */
  async #tidyKeys(): Promise<void> {
    const { keys } = this.#deps;
    const { records, jwtKeys } = this.#settled;
    this.#tell(UNMOVED, await keepKeys(records, keys));
    this.#tell(UNFORGOTTEN, await forgetKeys([...records, ...jwtKeys], keys, this.#forgotten));
  }

  #tell(what: string, failure: unknown): void {
    const says = failure === undefined ? undefined : String(failure);
    if (says !== undefined && says !== this.#told.get(what)) this.#deps.log.warn({ err: failure }, what);
    if (says === undefined) this.#told.delete(what);
    else this.#told.set(what, says);
  }

  #ensureFit(issuer: Issuer, now: Date): void {
    try {
      verifyPath({ leaf: issuer.certificate, intermediates: [], anchors: this.#anchors, now });
    } catch (error) {
      const says = error instanceof Error ? error.message : String(error);
      throw new IdentityError('authority_unfit', `the issuing authority is not valid now: ${says}`, {
        cause: error,
      });
    }
  }
}

const WAITS =
  'the root is offline and has signed no intermediate that is valid now: carry the request to it ' +
  '(chancery-ca authorities request), and import the answer';

const UNFORGOTTEN = 'the key of an authority that was removed could not be removed yet';
const UNMOVED =
  'the key of a root that stood by and signs now is not in dataDir/keys yet: dataDir/standby is needed';

/** Equal for records of which none is new or in another state. */
const standingsOf = (records: readonly AuthorityRecord[]): string =>
  records.map(({ serial, state }) => `${serial} ${state}`).join();
