/**
 * Limits of what callers have open or start. Certified callers, the local socket and strangers each have places and
 * rates of their own, so that none can take what another needs.
 */

import { Buckets } from '@chancery/shared/door/buckets.ts';
import { NETWORK_SHARES, type ShareKeys } from '@chancery/shared/door/keys.ts';
import { type Place, Places } from '@chancery/shared/door/places.ts';
import { type Node, nodeName } from '@chancery/shared/evidence/node.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';

export interface LimitSettings {
  readonly attestationsPerSecond: number;
  readonly attestationBurst: number;
  readonly openAttestations: number;
  readonly openAttestationsPerAddress: number;
}

export type Share = 'certified' | 'local' | 'stranger';

const EXCHANGES = 'starts exchanges';
/** When this part of the places is taken, messages must come within these seconds. */
const PATIENCE = [
  [0.9, 1],
  [0.5, 3],
] as const;

/** Streams of the agents of one node; each has two while it renews. */
const TRUST_STREAMS = 64;

/** Streams with one derived certificate, so that none locks out the others. */
const DERIVED_STREAMS = 4;

/** A certificate. `origin` is the serial of the one that it was requested with. */
interface Follower extends Node {
  readonly serial: string;
  readonly origin?: string | undefined;
}

/** Records of one gateway: two for each call, at the fastest rate of a gateway. */
const RECORDS = { perSecond: 4_000, burst: 16_000 };
const RECORD_BYTES = { perSecond: 4 * 1024 * 1024, burst: 16 * 1024 * 1024 };

/** Lists that one peer hands back to a restored CA: one after each restore, and some tries. */
const HANDED_BACK = { perSecond: 0.05, burst: 4 };

interface Room {
  readonly places: Places;
  readonly addresses: Buckets;
  readonly networks: Buckets;
}

const streams = (what: string, perAddress: number): Places =>
  new Places({
    what,
    total: Number.POSITIVE_INFINITY,
    perAddress,
    perNetwork: TRUST_STREAMS,
    few: 1,
    givesWay: 'anyone',
    replacesOwn: false,
  });

/** Answers of many megabytes that callers are being sent. A fleet asks at once when a list is new. */
const DOWNLOADS: Readonly<Record<Share, number>> = { certified: 1024, local: 64, stranger: 64 };
const DOWNLOADS_OF_ONE = 4;

const downloads = (total: number): Places =>
  new Places({
    what: 'downloads',
    total,
    perAddress: DOWNLOADS_OF_ONE,
    perNetwork: DOWNLOADS_OF_ONE * NETWORK_SHARES,
    few: 1,
    givesWay: 'anyone',
    replacesOwn: false,
  });

/** The limits of one CA. The caller leaves each place that it gets. */
export class Limits {
  readonly #rooms: Readonly<Record<Share, Room>>;
  /** Calls that are answered at once take no place, but have a rate. */
  readonly #calls: Buckets;
  readonly #agents = streams('trust streams', TRUST_STREAMS);
  readonly #derived = streams('trust streams', DERIVED_STREAMS);
  readonly #reporters = streams('report streams', TRUST_STREAMS);
  readonly #records: Buckets;
  readonly #recordBytes: Buckets;
  readonly #handedBack: Buckets;
  readonly #downloads: Readonly<Record<Share, Places>> = {
    certified: downloads(DOWNLOADS.certified),
    local: downloads(DOWNLOADS.local),
    stranger: downloads(DOWNLOADS.stranger),
  };

  constructor(settings: LimitSettings, clock: Clock) {
    const rate = { perSecond: settings.attestationsPerSecond, burst: settings.attestationBurst };
    const wide = { perSecond: rate.perSecond * NETWORK_SHARES, burst: rate.burst * NETWORK_SHARES };
    const room = (): Room => ({
      places: new Places({
        what: 'exchanges',
        total: settings.openAttestations,
        perAddress: settings.openAttestationsPerAddress,
        perNetwork: settings.openAttestationsPerAddress * NETWORK_SHARES,
        few: 1,
        givesWay: 'anyone',
        replacesOwn: false,
      }),
      addresses: new Buckets(rate, clock),
      networks: new Buckets(wide, clock),
    });
    this.#rooms = { certified: room(), local: room(), stranger: room() };
    this.#calls = new Buckets(rate, clock);
    this.#records = new Buckets(RECORDS, clock);
    this.#recordBytes = new Buckets(RECORD_BYTES, clock);
    this.#handedBack = new Buckets(HANDED_BACK, clock);
  }

  /** Open exchanges, of all shares. */
  get open(): number {
    return Object.values(this.#rooms).reduce((sum, { places }) => sum + places.open, 0);
  }

  /** A place for one long answer. Throws rate. */
  download(share: Share, keys: ShareKeys): Place {
    return this.#downloads[share].take(keys);
  }

  /** A place for one exchange. Throws rate. */
  enter(share: Share, keys: ShareKeys): Place {
    const { places, addresses, networks } = this.#rooms[share];
    const place = places.take(keys);
    try {
      addresses.spend(keys.address, EXCHANGES);
      if (keys.network !== undefined) networks.spend(keys.network, EXCHANGES);
    } catch (error) {
      place.leave();
      throw error;
    }
    return place;
  }

  /** Counts one unary call, as many times as it asks for certificates, or the start of one stream. Throws rate. */
  call(rpc: string, key: string, certificates = 1): void {
    this.#calls.spend(`${rpc} of ${key}`, 'comes', certificates);
  }

  /**
   * A place for one trust stream. Derived certificates (IssueX509) of a node have another share than its agents. Throws
   * rate.
   */
  follow(follower: Follower): Place {
    const { origin, serial } = follower;
    const name = nodeName(follower);
    if (origin === undefined) return this.#agents.take({ address: name });
    return this.#derived.take({
      address: `certificate ${serial} by IssueX509 of ${name}`,
      network: `${name}, for certificates by IssueX509,`,
    });
  }

  /** A place for one stream of a gateway's records. Throws rate. */
  report(node: Node): Place {
    return this.#reporters.take({ address: nodeName(node) });
  }

  /** Counts one list that this peer is asked for. Throws rate. */
  handBack(key: string): void {
    this.#handedBack.spend(key, 'hands lists back');
  }

  /** Counts records of one gateway, which waits while this throws rate. */
  records(gateway: string, count: number, bytes: number): void {
    this.#records.spend(gateway, 'reports', count);
    try {
      this.#recordBytes.spend(gateway, 'reports', bytes);
    } catch (error) {
      this.#records.spend(gateway, 'reports', -count);
      throw error;
    }
  }

  /** The seconds that a caller has: fewer than `seconds` while places are scarce. */
  patience(share: Share, seconds: number): number {
    const { pressure } = this.#rooms[share].places;
    const [, scarce] = PATIENCE.find(([part]) => pressure >= part) ?? [0, seconds];
    return Math.min(scarce, seconds);
  }
}
