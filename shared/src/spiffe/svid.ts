/** What a TLS endpoint of ours is made from, live. */
import type { KeyObject } from 'node:crypto';
import type { SpiffeId } from './id.ts';

/** An X.509-SVID with its private key. */
export interface Svid {
  readonly id: SpiffeId;
  /** X.509 DER, leaf first, without the root. */
  readonly chain: readonly Uint8Array[];
  readonly key: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** When to renew, as the CA advises. */
  readonly renewAfter: Date;
}
