/**
 * Which certificate took the place of which, for as long as the old one is valid. Gateways are told, for an open call
 * may go on under the successor of the certificate that it was made with (docs/mcp.md, "Calls that outlive a
 * certificate"). Never between two SPIFFE IDs or two nodes: `predecessorOf` is the only way in.
 */
import type { Clock } from '@chancery/shared/clock.ts';
import type { Holder } from '@chancery/shared/evidence/several.ts';
import { LiveValue, type Source } from '@chancery/shared/source.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Revocations } from '../revocation/revocations.ts';
import type { RecordedIssuance, Store, Succession } from '../store/store.ts';

/** In all, and of one node: a node that renews over and over pushes out its own and nobody else's. */
const MAX_KEPT = 65_536;
const MAX_PER_NODE = 256;

/** Those with a number above the last one that a stream was sent. */
export interface Since {
  readonly list: readonly Succession[];
  readonly last: number;
}

export class Successions {
  readonly #clock: Clock;
  /** By number, ascending. */
  readonly #kept = new Map<number, Succession>();
  /** Their numbers by node, ascending. */
  readonly #byNode = new Map<string, number[]>();
  readonly #last = new LiveValue<number>(() => new TypeError('no number'), 0);
  #afterSweep = 0;

  constructor(clock: Clock, known: readonly Succession[] = []) {
    this.#clock = clock;
    for (const each of known) this.add(each);
  }

  /** The number of the newest. */
  get changes(): Source<number> {
    return this.#last;
  }

  add(succession: Succession): void {
    if (this.#kept.size > 2 * this.#afterSweep + MAX_PER_NODE) this.#sweep();
    const node = nodeOf(succession);
    const own = this.#byNode.get(node) ?? [];
    const number = this.#last.current() + 1;
    if (own.length >= MAX_PER_NODE) this.#drop(node);
    else if (this.#kept.size >= MAX_KEPT) this.#drop(this.#fullest());
    this.#kept.set(number, succession);
    own.push(number);
    this.#byNode.set(node, own);
    this.#last.publish(number);
  }

  since(number: number): Since {
    const [now, last] = [this.#clock.now(), this.#last.current()];
    const all = number === 0 ? [...this.#kept.values()] : this.#between(number, last);
    return { list: all.filter(({ until }) => until > now), last };
  }

  #between(after: number, last: number): readonly Succession[] {
    const found: Succession[] = [];
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

const nodeOf = ({ holder: { platform, node } }: Succession): string => `${platform}/${node}`;

export interface SuccessionDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly revocations: Revocations;
}

/** Whose certificate is to take the place of another. */
export interface Successor extends Holder {
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
  const peer = { id, serial: record.serial, origin: record.origin, holder: { platform, node } };
  return same && isGood(peer, revocations) ? record : undefined;
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
