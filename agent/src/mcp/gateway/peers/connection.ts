/** A connection of a caller as the gateway keeps it, and what decides about all of them. */
import type { Connections } from '@chancery/shared/door/connections.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import type { OpenCall } from './open-call.ts';

/** Which certificates replaced which, by the CA. */
export interface Successions {
  /** Whether `next` replaced `old`. Both are serials. */
  follows(next: string, old: string): boolean;
  /** Returns what ends it. */
  onChange(listener: () => void): () => void;
}

export interface PeersOptions {
  readonly bundle: Source<Bundle>;
  readonly revocations: Source<RevocationSet>;
  readonly clock: Clock;
  readonly connections: Connections;
  readonly successions: Successions;
  /** The longest life of a claimed call at this server, from its request on, however often it is claimed. */
  readonly maxCallSeconds: (server: string | undefined) => number;
  /** `peer` is undefined for a stranger. */
  readonly onRefused: (error: IdentityError, peer: VerifiedSvid | undefined, address: string) => void;
}

/** The certificate that is to hold a connection. */
export interface Claimant {
  readonly peer: VerifiedSvid;
  readonly chain: readonly Uint8Array[];
}

export interface Connection {
  /** The peer of the handshake. */
  readonly peer: VerifiedSvid;
  /** SHA-256 of its secret. */
  readonly digest: Uint8Array;
  /** Open requests, and when each began. */
  readonly calls: Map<OpenCall, Date>;
  /** The peer by the certificate that the connection counts under now; its SPIFFE ID is that of `peer`. */
  current: VerifiedSvid;
  /** Its chain, X.509 DER. */
  chain: readonly Uint8Array[];
  /** The peer by the certificates before, oldest first. */
  readonly former: VerifiedSvid[];
  until: Date;
}
