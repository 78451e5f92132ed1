/** The peer of a connection to the CA, checked again at each use. */
import { type ShareKeys, shareKeys } from '@chancery/shared/door/keys.ts';
import { roleNamedBy } from '@chancery/shared/spiffe/reserved.ts';
import type { LivePeer } from '@chancery/shared/unix/peer-credentials.ts';
import { hasMark, type VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import type { Person } from '../operator/roles.ts';
import type { Asker } from '../operator/verb.ts';

interface Answered {
  /** Keeps the connection from giving way to others until the returned function is called. */
  readonly answer?: () => () => void;
}

/** A caller over TLS. `svid` throws for a caller without a certificate, and for one whose certificate is not good. */
export interface TlsCaller extends Answered {
  readonly via: 'tls';
  readonly address: string;
  /** Verified against the current bundle. Throws no_peer, expired_peer, chain, svid. */
  svid(now: Date): VerifiedSvid;
  readonly shownCertificate: boolean;
  /** The leaf that the CA shows on this connection, X.509 DER: it may have another one for new connections by now. */
  readonly sees?: () => Uint8Array | undefined;
  /**
   * Who calls, looked up now. Undefined if no good certificate of an operator was shown. Throws revoked_peer.
   */
  readonly person?: () => Asker['person'];
}

export interface UnixCaller extends Answered {
  readonly via: 'admin' | 'join';
  readonly address: string;
  readonly peer: LivePeer;
}

export type Caller = TlsCaller | UnixCaller;

/** The asker of an operator's verb: the kernel-verified peer on the admin socket, or a certificate by sign-in. */
export const askerOf = (caller: Caller): Asker => ({
  address: caller.address,
  local: caller.via === 'admin' ? caller.peer : undefined,
  person: caller.via === 'tls' ? caller.person?.() : undefined,
});

/**
 * How to find the person of a caller; undefined unless it shows an operator's certificate that is good now. Throws what
 * `find` knows at once.
 */
export function personOf(
  caller: TlsCaller,
  now: Date,
  find: (svid: VerifiedSvid) => () => Promise<Person>,
): Asker['person'] {
  const { kind, svid } = standingOf(caller, now);
  if (kind !== 'operator' || svid === undefined) return undefined;
  return Object.assign(find(svid), { id: svid.id });
}

/** The keys that limits count by: a user of this machine, or an address and its network. */
export const limitKeys = (caller: Caller): ShareKeys =>
  caller.via === 'tls' ? shareKeys(caller.address) : { address: `uid ${caller.peer.uid}` };

/** The key for rates: a certified peer's certificate, since others may share its address. */
export function callerKey(caller: Caller, now: Date): string {
  const { svid } = standingOf(caller, now);
  return svid === undefined ? limitKeys(caller).address : `certificate ${svid.serial}`;
}

/**
 * The keys by which a flooding peer is slowed: a certified peer's certificate, so that its neighbours need not wait.
 */
export const slowKeys = (keys: ShareKeys, svid: Pick<VerifiedSvid, 'serial'> | undefined): ShareKeys =>
  svid === undefined ? keys : { address: `certificate ${svid.serial}` };

/** The kind of caller, for its bounds. A stranger has no certificate, or one that is not good. */
export type Standing =
  | { readonly kind: 'operator' | 'stranger' | 'known'; readonly svid?: undefined }
  | { readonly kind: 'known' | 'operator'; readonly svid: VerifiedSvid };

/** The name of an operator, and the mark that no workload's certificate has. */
const isOperator = (svid: VerifiedSvid): boolean =>
  roleNamedBy(svid.id) === 'operator' && hasMark(svid, 'operator');

/** Never throws: a caller whose certificate does not verify is a stranger. */
export function standingOf(caller: Caller, now: Date): Standing {
  if (caller.via !== 'tls') return { kind: caller.via === 'admin' ? 'operator' : 'known' };
  if (!caller.shownCertificate) return { kind: 'stranger' };
  try {
    const svid = caller.svid(now);
    return { kind: isOperator(svid) ? 'operator' : 'known', svid };
  } catch {
    return { kind: 'stranger' };
  }
}
