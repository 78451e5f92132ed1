/** What the CA sent to this agent: the bundle, the policy and the revocations, in force and on disk. */
import type { Revocations as RevocationsMessage } from '@chancery/proto/gen/chancery/v1/trust.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { endsOf } from '@chancery/shared/policy/resources/until.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { rootName } from '@chancery/shared/voucher/voucher.ts';
import { ensureUntainted, isSameBundle, isTainted, newIn } from '../accept.ts';
import { Vouching } from '../vouching.ts';
import { type CrossChains, crossChainsIn, isSameChains } from './cross-chains.ts';
import type { KnownGood } from './last-known-good.ts';
import { type Held, heldOf, Owed, type SavedOwed } from './owed.ts';
import { type Part, Reading } from './reading.ts';
import { NO_REVOCATIONS, readRevocations } from './revocations.ts';
import { Sharing } from './sharing.ts';
import { type Kept, Signed } from './signed.ts';
import {
  bundleOf,
  endedIn,
  ensureForThisVersion,
  policyAt,
  policyOf,
  type ReadPolicy,
  readPolicy,
  type State,
  savedPolicy,
} from './snapshot.ts';

export type SavedTrust = Omit<KnownGood, 'svid'>;

/** The state in force. `bundle` and `policy` throw unavailable until there is one. */
export class TrustState {
  readonly bundle = new LiveValue<Bundle>(() => new IdentityError('unavailable', 'there is no bundle yet'));
  readonly policy = new LiveValue<Policy>(
    () => new IdentityError('unavailable', 'the CA has sent no policy yet'),
  );
  /** Empty until the CA has sent some; until then there is no policy either. */
  readonly revocations = new LiveValue<RevocationSet>(
    () => new IdentityError('internal', 'no revocations'),
    NO_REVOCATIONS,
  );
  /** Subject key identifiers of authorities that retire: what they issued has to be renewed. Not saved. */
  readonly retiring = new LiveValue<readonly Uint8Array[]>(
    () => new IdentityError('internal', 'no authorities'),
    [],
  );
  /**
   * How peers that trust a CA above get to the roots: chains of X.509 DER, as the CA sent them. Nothing is trusted by
   * them, and they are verified before they are handed on.
   */
  readonly crossChains = new LiveValue<CrossChains>(() => new IdentityError('internal', 'no chains'), []);
  /** Among how many gateways the rates of the policy are divided. */
  readonly sharing = new Sharing();
  /** The resources of `policy`, as the CA sent them. */
  resources: readonly string[] = [];
  /** The parts of the last message that are in force. */
  taken: readonly Part[] = [];
  /** Resolves when they are on disk, and rejects if they cannot be. */
  saved: Promise<void> = Promise.resolve();
  /** Which new authorities may be trusted. */
  readonly vouching = new Vouching((der) => isTainted(der, this.revocations.current()));
  /** Whether the last message has an authority that nothing vouches for yet. */
  isUnvouched = false;
  readonly #save: (state: SavedTrust) => Promise<void>;
  readonly #signed: Signed;
  readonly #clock: Pick<Clock, 'now'>;
  #read: ReadPolicy | undefined;
  /** How many resources of it have ended. */
  #ended = 0;
  #revoked: RevocationsMessage | undefined;
  /** The message whose bundle is in force. */
  #followed: { readonly message: State['bundle']; readonly bundle: Bundle } | undefined;
  /** Of the revocations in force, if all of them could be read. */
  #note = '';
  /** The revocations, as the CA has said them. */
  #said: RevocationSet = NO_REVOCATIONS;
  readonly #owed = new Owed();

  /** `save` rejects if the state cannot be written. `subject` is the SPIFFE ID that the CA sends policies for. */
  constructor(save: (state: SavedTrust) => Promise<void>, clock: Pick<Clock, 'now'>, subject: () => string) {
    this.#save = save;
    this.#clock = clock;
    this.#signed = new Signed(subject);
  }

  /** Takes a state from the disk, before anything is served. */
  resume({ bundle, policy, revocations, crossChains = [], gateways = 1, ...signed }: SavedTrust): void {
    this.resumeRevocations(revocations);
    this.sharing.resume(gateways);
    this.remember(signed);
    this.#hand(crossChains);
    this.bundle.publish(bundle);
    this.#enforce(readPolicy({ version: policy.version, resources: [...policy.resources] }));
  }

  /** Takes these from the disk. */
  resumeRevocations(revocations: RevocationSet): void {
    this.#said = revocations;
    this.#putRevocations();
  }

  /**
   * Takes from the disk what the key of the log has signed. An agent whose certificate has ended joins anew, and must
   * not take unsigned states then.
   */
  remember({
    logKey,
    left = [],
    signed = {},
    kept,
    owed = [],
  }: Pick<SavedTrust, 'logKey' | 'left' | 'signed' | 'kept' | 'owed'>): void {
    this.#owed.resume(owed);
    this.vouching.keep(logKey);
    this.vouching.leave(left);
    this.#signed.resume(signed, kept?.checkpoint ?? '', this.vouching.key);
    this.#note = kept?.note ?? '';
    this.#putRevocations();
  }

  /** All that is in force, as it is saved. Throws unavailable before the first snapshot. */
  state(): SavedTrust {
    const policy = { version: this.#policyVersion(), resources: this.resources };
    const { logKey, left } = this.vouching;
    const [signed, kept] = [this.#signed.numbers, this.#kept()];
    return {
      bundle: this.bundle.current(),
      policy,
      revocations: this.#said,
      logKey,
      left,
      signed,
      kept,
      crossChains: this.crossChains.current(),
      owed: this.#owed.list,
      gateways: this.sharing.gateways,
    };
  }

  /** Takes how many gateways share the rates. The CA may say nothing else for hours, so it is saved at once. */
  readonly hearGateways = (gateways: number): void => {
    if (this.sharing.hear(gateways)) this.#save(this.state()).catch(() => {});
  };

  /** What comes with a bundle that is in force. */
  #follow(message: State): void {
    if (message.bundle !== this.#followed?.message) this.retiring.publish(message.bundle?.retiringX509 ?? []);
    this.#followed = { message: message.bundle, bundle: this.bundle.current() };
    this.#hand(crossChainsIn(message));
  }

  #hand(chains: CrossChains): void {
    if (!isSameChains(chains, this.crossChains.current())) this.crossChains.publish(chains);
  }

  /**
   * Puts a snapshot in force, each part by its own rules: a part that is refused keeps no other one out. Throws if any
   * part must not be acknowledged; the others may be when `saved` resolves. With a full disk all are in force, too.
   * Revocations come first: they only take away. `ensureSender` throws if one of them revokes the sender.
   */
  accept(message: State, ensureSender: () => void = () => {}): void {
    this.taken = [];
    const reading = new Reading();
    reading.take('revocations', () => this.#revoke(message));
    const before = this.state();
    const usable = reading.mayRead(['bundle', 'policy'], () => {
      ensureSender();
      ensureForThisVersion(message);
    });
    const untainted = () =>
      ensureUntainted(this.#bundleIn(message, before.bundle), this.revocations.current());
    const bundle = usable ? reading.take('bundle', untainted) : undefined;
    // The first bundle names the key.
    if (before.logKey === undefined && bundle !== undefined)
      reading.mayRead(['revocations'], () => this.#signed.ensure('revocations', message, this.vouching.key));
    const policy = usable ? reading.take('policy', () => this.#policyIn(message)) : undefined;
    this.#signed.see(message.checkpoint ?? '', this.vouching.key);
    this.#putInForce(bundle, policy);
    if (bundle !== undefined) this.#follow(message);
    const { logKey, left } = this.vouching;
    this.saved = this.#save({
      ...before,
      logKey,
      left,
      signed: this.#signed.numbers,
      kept: this.#kept(),
      crossChains: this.crossChains.current(),
      ...(bundle && { bundle }),
      ...(policy && { policy: savedPolicy(policy.message) }),
    });
    // Without a waiter, a rejection must not end the process.
    this.saved.catch(() => {});
    this.taken = reading.taken;
    reading.ensureWhole();
  }

  /** The key of the log counts from the first bundle on that is taken: that one the CA's certificate vouches for. */
  #bundleIn(message: State, known: Bundle): Bundle {
    const followed = this.#followed;
    if (followed !== undefined && followed.message === message.bundle && followed.bundle === known) {
      this.isUnvouched = false;
      this.#signed.ensure('bundle', message, this.vouching.key);
      return known;
    }
    const { isVouched } = this.vouching;
    const fresh = newIn(known, { authorities: message.bundle?.x509Authorities ?? [] });
    this.isUnvouched = isVouched !== undefined && fresh.some((der) => !isVouched(der));
    const bundle = bundleOf(message, known, isVouched);
    this.#signed.ensure('bundle', message, this.vouching.key);
    this.vouching.keep(message.bundle?.logKey);
    this.vouching.leave(newIn(bundle, known).map(rootName));
    return bundle;
  }

  #policyIn(message: State): ReadPolicy {
    this.#signed.ensure('policy', message, this.vouching.key);
    return policyOf(message, this.#read);
  }

  #putRevocations(): void {
    const set = this.#owed.with(this.#said);
    if (set !== this.revocations.current()) this.revocations.publish(set);
  }

  #revoke(state: State): true {
    const { revocations: message } = state;
    ensure(message !== undefined, 'message_parse', 'a snapshot is without its revocations');
    this.#signed.ensure('revocations', state, this.vouching.key);
    const { set, unreadable } = readRevocations(message);
    if (message !== this.#revoked) this.#said = set;
    this.#putRevocations();
    this.#revoked = message;
    this.#note = unreadable === undefined ? message.note : '';
    if (unreadable !== undefined) throw unreadable;
    return true;
  }

  #kept(): Kept | undefined {
    return this.#note === '' ? undefined : { note: this.#note, checkpoint: this.#signed.checkpoint };
  }

  /** What the CA gets back before it is followed: none if it has signed no revocations. */
  readonly toHandBack = (): readonly Held[] => {
    const now = this.#inForce();
    return [...this.#owed.list.filter(({ note }) => note !== now[0]?.note), ...now].map(heldOf);
  };

  /**
   * What is not taken now is kept beside what takes its place. Where the CA could not take it yet, both are in force
   * until it has.
   */
  readonly handedBack = ({ note }: Held, outcome: 'taken' | 'unwanted' | 'refused' | 'failed'): void => {
    const [before, isHad] = [this.#owed.list, outcome === 'taken' || outcome === 'unwanted'];
    if (isHad) this.#owed.drop(note);
    else for (const each of this.#inForce()) if (each.note === note) this.#owed.keep(each);
    if (outcome === 'refused') this.#owed.refuse(note);
    this.#putRevocations();
    // The CA may say nothing for hours. What cannot be written now is written with what it says next.
    if (this.#owed.list !== before) this.#save(this.state()).catch(() => {});
  };

  #inForce(): readonly SavedOwed[] {
    const kept = this.#kept();
    return kept === undefined ? [] : [{ ...kept, revocations: this.#said }];
  }

  #putInForce(bundle: Bundle | undefined, policy: ReadPolicy | undefined): void {
    if (bundle !== undefined && !isSameBundle(this.bundle.current(), bundle)) this.bundle.publish(bundle);
    if (policy !== undefined && policy !== this.#read) this.#enforce(policy);
  }

  #enforce(read: ReadPolicy): void {
    const now = this.#clock.now();
    this.#read = read;
    this.#ended = endedIn(read, now);
    this.resources = read.message.resources;
    this.policy.publish(policyAt(read, now));
  }

  /** When resources of the policy end or have ended. */
  readonly ends = (): readonly Date[] => this.#read?.resources.flatMap(endsOf) ?? [];

  /** Puts the policy in force again if a resource of it has ended since, or the clock was set back before an end. */
  readonly refresh = (): void => {
    const read = this.#read;
    if (read !== undefined && endedIn(read, this.#clock.now()) !== this.#ended) this.#enforce(read);
  };

  #policyVersion(): bigint {
    try {
      return this.policy.current().version;
    } catch {
      return 0n;
    }
  }
}
