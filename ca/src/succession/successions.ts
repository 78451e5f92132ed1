/**
 * Which certificate replaced which, for as long as the old one is valid. Gateways get these links, because an open call
 * may continue under the successor of its certificate (docs/mcp.md, "Calls that outlive a certificate"). Both
 * certificates have the same SPIFFE ID and node: `predecessorOf` checks that for every link.
 */
import { createHmac, createPublicKey, hash, verify } from 'node:crypto';
import type { SuccessionProof as Proof } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { type Node, nodeName } from '@chancery/shared/evidence/node.ts';
import { successionStatement } from '@chancery/shared/evidence/succession.ts';
import { asBuffer, equal, hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { SpiffeId, TrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { ProvenKey } from '@chancery/shared/x509/csr.ts';
import type { Revocations } from '../revocation/revocations.ts';
import type { CertificateStore, RecordedIssuance, Succession } from '../store/store.ts';

/** Gateways get links that come within this time together, and a single one at once. */
const BATCH_MS = 50;
const SHARE_BYTES = 8;
/**
 * Links in all and of one node: a node that renews often pushes out only its own links. All derived certificates of a
 * node are renewed at the same moment, and each link must reach gateways.
 */
export const MAX_KEPT = 65_536;
const MAX_PER_NODE = 4_096;

export interface SharedSuccession extends Succession {
  /** Marks the links of one node for gateways, without its name. */
  readonly share: Uint8Array;
}

/** The links with a number above the last one that a stream was sent. */
export interface Since {
  readonly list: readonly SharedSuccession[];
  readonly last: number;
}

/** The links of one node. */
interface Own {
  /** Made once: a start reads thousands of links. */
  readonly share: Uint8Array;
  /** Ascending. */
  readonly numbers: number[];
}

/** Kept in memory, and bounded for each node. Gateways get several changes together, after BATCH_MS. */
export class Successions {
  readonly #clock: Clock;
  readonly #shareKey: Uint8Array;
  /** By number, ascending. */
  readonly #kept = new Map<number, SharedSuccession>();
  readonly #byNode = new Map<string, Own>();
  readonly #changes = new LiveValue<number>(() => new TypeError('no number'), 0);
  #last = 0;
  /** Whether listeners were called within the last BATCH_MS, and whether there is more. */
  #told = false;
  #more = false;
  #afterSweep = 0;

  /** `shareKey` hides the nodes' names from gateways. */
  constructor(clock: Clock, shareKey: Uint8Array, known: readonly Succession[] = []) {
    this.#clock = clock;
    this.#shareKey = shareKey;
    for (const each of known) this.#insert(each);
  }

  /** The number of the newest, in batches. */
  get changes(): Source<number> {
    return this.#changes;
  }

  /** Keeps the link and notifies the listeners. */
  add(succession: Succession): void {
    this.#insert(succession);
    this.#tell();
  }

  #tell(): void {
    this.#more = this.#told;
    if (this.#told) return;
    this.#told = true;
    this.#changes.publish(this.#last);
    const end = new Date(this.#clock.now().getTime() + BATCH_MS);
    void this.#clock.sleepUntil(end).then(() => {
      this.#told = false;
      if (this.#more) this.#tell();
    });
  }

  #insert(succession: Succession): void {
    if (this.#kept.size > 2 * this.#afterSweep + MAX_PER_NODE) this.#sweep();
    const node = nodeOf(succession);
    const own = this.#byNode.get(node) ?? { share: this.#shareOf(node), numbers: [] };
    const number = this.#last + 1;
    if (own.numbers.length >= MAX_PER_NODE) this.#drop(node);
    else if (this.#kept.size >= MAX_KEPT) this.#drop(this.#fullest());
    this.#kept.set(number, { ...succession, share: own.share });
    own.numbers.push(number);
    this.#byNode.set(node, own);
    this.#last = number;
  }

  #shareOf(node: string): Uint8Array {
    return createHmac('sha256', this.#shareKey).update(node).digest().subarray(0, SHARE_BYTES);
  }

  /** The links after `number` whose old certificate is still valid, and the number of the last; 0 gives all. */
  since(number: number): Since {
    const [now, last] = [this.#clock.now(), this.#last];
    const all = number === 0 ? [...this.#kept.values()] : this.#between(number, last);
    return { list: all.filter(({ until }) => until > now), last };
  }

  #between(after: number, last: number): readonly SharedSuccession[] {
    const found: SharedSuccession[] = [];
    for (let number = after + 1; number <= last; number += 1) {
      const each = this.#kept.get(number);
      if (each !== undefined) found.push(each);
    }
    return found;
  }

  #drop(node: string): void {
    const numbers = this.#byNode.get(node)?.numbers ?? [];
    const oldest = numbers.shift();
    if (oldest !== undefined) this.#kept.delete(oldest);
    if (numbers.length === 0) this.#byNode.delete(node);
  }

  #fullest(): string {
    let [fullest, most] = ['', 0];
    for (const [node, { numbers }] of this.#byNode)
      if (numbers.length > most) [fullest, most] = [node, numbers.length];
    return fullest;
  }

  #sweep(): void {
    const now = this.#clock.now();
    for (const [number, { until }] of this.#kept) if (until <= now) this.#kept.delete(number);
    for (const [node, { share, numbers }] of this.#byNode) {
      const left = numbers.filter((number) => this.#kept.has(number));
      if (left.length === 0) this.#byNode.delete(node);
      else this.#byNode.set(node, { share, numbers: left });
    }
    this.#afterSweep = this.#kept.size;
  }
}

const nodeOf = ({ node }: Succession): string => nodeName(node);

export interface SuccessionDeps {
  readonly store: Pick<CertificateStore, 'issuance'>;
  readonly clock: Clock;
  readonly revocations: Revocations;
}

/** The SPIFFE ID and node of a certificate that is to replace another. */
export interface Successor extends Node {
  readonly id: SpiffeId;
}

/**
 * The certificate with this serial, if it is good now and has the successor's SPIFFE ID and node. Otherwise undefined:
 * then the new certificate replaces none.
 */
export async function predecessorOf(
  serial: string | undefined,
  { id, platform, node }: Successor,
  { store, clock, revocations }: SuccessionDeps,
): Promise<RecordedIssuance | undefined> {
  const record = serial === undefined ? undefined : await store.issuance(serial);
  if (record === undefined || record.notAfter <= clock.now()) return undefined;
  const same = record.id === id && record.platform === platform && record.node === node;
  const peer = { id, serial: record.serial, origin: record.origin, node: { platform, node } };
  return same && isGood(peer, revocations) ? record : undefined;
}

/** The proof of an agent, and the new key, which is proven. */
export interface ProofOfSuccession {
  readonly proof: Proof | undefined;
  readonly key: ProvenKey;
  readonly trustDomain: TrustDomain;
}

/**
 * The certificate that the new one replaces, as the agent claims: what `predecessorOf` returns, after the old key has
 * signed for the new one. Undefined if the agent names none, or `predecessorOf` finds none. Throws csr_pop.
 */
export async function provenPredecessor(
  { proof, key, trustDomain }: ProofOfSuccession,
  successor: Successor,
  deps: SuccessionDeps,
): Promise<RecordedIssuance | undefined> {
  if (proof === undefined) return undefined;
  const { serial, publicKey, signature } = proof;
  const old = await predecessorOf(hex(serial), successor, deps);
  if (old === undefined) return undefined;
  const statement = successionStatement(trustDomain, serial, key.spki);
  const proven =
    equal(hash('sha256', publicKey, 'buffer'), old.keySha256) && isSigned(statement, publicKey, signature);
  ensure(proven, 'csr_pop', `the key of certificate ${old.serial} has not signed for the new key`);
  return old;
}

function isSigned(statement: Uint8Array, spki: Uint8Array, signature: Uint8Array): boolean {
  const key = createPublicKey({ key: asBuffer(spki), format: 'der', type: 'spki' });
  return verify('sha256', statement, key, signature);
}

function isGood(peer: Parameters<Revocations['ensureGood']>[0], revocations: Revocations): boolean {
  try {
    revocations.ensureGood(peer, 'revoked_peer');
    return true;
  } catch (error) {
    if (!isRefusal(error, 'revoked_peer')) throw error;
    return false;
  }
}

/** The most renewals between two certificates of one agent while the older is valid: it renews at half of its life. */
const MAX_STEPS = 8;

/** True if certificate `serial` is `old`, or replaced it in at most 8 renewals. */
export async function comesOf(
  serial: string,
  old: string,
  { store }: Pick<SuccessionDeps, 'store'>,
): Promise<boolean> {
  let at: string | undefined = serial;
  for (let step = 0; step <= MAX_STEPS && at !== undefined; step += 1) {
    if (at === old) return true;
    at = (await store.issuance(at))?.succeeds;
  }
  return false;
}
