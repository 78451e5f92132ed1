/**
 * Which certificate took the place of which, for as long as the old one is valid. Gateways are told, for an open call
 * may go on under the successor of the certificate that it was made with (docs/mcp.md, "Calls that outlive a
 * certificate"). Never between two SPIFFE IDs or two nodes: `predecessorOf` is on every way in.
 */
import { createHmac, createPublicKey, hash, verify } from 'node:crypto';
import type { SuccessionProof as Proof } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { type Node, nodeName } from '@chancery/shared/evidence/node.ts';
import { successionStatement } from '@chancery/shared/evidence/succession.ts';
import { asBuffer, equal, hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { SpiffeId, TrustDomain } from '@chancery/shared/spiffe/id.ts';
import type { ProvenKey } from '@chancery/shared/x509/csr.ts';
import type { Revocations } from '../revocation/revocations.ts';
import type { CertificateStore, RecordedIssuance, Succession } from '../store/store.ts';

/** Gateways hear of what came within this together, and of a lone one at once. */
const BATCH_MS = 50;
const SHARE_BYTES = 8;
/**
 * In all, and of one node: a node that renews over and over pushes out its own and nobody else's. All guests of a node
 * renew at the same moment, each with a link that must reach gateways.
 */
const MAX_KEPT = 65_536;
const MAX_PER_NODE = 4_096;

export interface SharedSuccession extends Succession {
  /** By which a gateway knows those of one node, without its name. */
  readonly share: Uint8Array;
}

/** Those with a number above the last one that a stream was sent. */
export interface Since {
  readonly list: readonly SharedSuccession[];
  readonly last: number;
}

/** In memory, and limited for each node. Gateways hear of several changes at once, after BATCH_MS. */
export class Successions {
  readonly #clock: Clock;
  readonly #shareKey: Uint8Array;
  /** By number, ascending. */
  readonly #kept = new Map<number, SharedSuccession>();
  /** Their numbers by node, ascending. */
  readonly #byNode = new Map<string, number[]>();
  readonly #changes = new LiveValue<number>(() => new TypeError('no number'), 0);
  #last = 0;
  /** Told within BATCH_MS, and whether there is more to tell then. */
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
    const own = this.#byNode.get(node) ?? [];
    const number = this.#last + 1;
    if (own.length >= MAX_PER_NODE) this.#drop(node);
    else if (this.#kept.size >= MAX_KEPT) this.#drop(this.#fullest());
    const share = createHmac('sha256', this.#shareKey).update(node).digest().subarray(0, SHARE_BYTES);
    this.#kept.set(number, { ...succession, share });
    own.push(number);
    this.#byNode.set(node, own);
    this.#last = number;
  }

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
    const own = this.#byNode.get(node) ?? [];
    const oldest = own.shift();
    if (oldest !== undefined) this.#kept.delete(oldest);
    if (own.length === 0) this.#byNode.delete(node);
  }

  #fullest(): string {
    let [fullest, most] = ['', 0];
    for (const [node, { length }] of this.#byNode) if (length > most) [fullest, most] = [node, length];
    return fullest;
  }

  #sweep(): void {
    const now = this.#clock.now();
    for (const [number, { until }] of this.#kept) if (until <= now) this.#kept.delete(number);
    for (const [node, own] of this.#byNode) {
      const left = own.filter((number) => this.#kept.has(number));
      if (left.length === 0) this.#byNode.delete(node);
      else this.#byNode.set(node, left);
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

/** Whose certificate is to take the place of another. */
export interface Successor extends Node {
  readonly id: SpiffeId;
}

/**
 * The certificate of this serial, where the successor has its SPIFFE ID and its node and it is good now. Undefined
 * where it is not: then the new certificate takes nothing over.
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

/** As an agent sends it, and the new key, which is proven. */
export interface ProofOfSuccession {
  readonly proof: Proof | undefined;
  readonly key: ProvenKey;
  readonly trustDomain: TrustDomain;
}

/**
 * The certificate that the agent says the new one takes the place of: what `predecessorOf` returns, once the old key
 * has signed for the new one. Undefined where the agent names none, or one that there is nothing to take over from.
 * Throws csr_pop.
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
  } catch {
    return false;
  }
}

/** Renewals between two certificates of one agent while the older is valid: it renews at half of life. */
const MAX_STEPS = 8;

/** Whether the agent whose certificate is `serial` had `old`: it is the same certificate, or its successor. */
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
