/** Who is at the other end of a connection to the CA, and whether they still are who they were. */
import { type ShareKeys, shareKeys } from '@chancery/shared/door/keys.ts';
import type { LivePeer } from '@chancery/shared/unix/peer-credentials.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import type { Asker } from '../operator/verb.ts';

interface Answered {
  /** Keeps the connection from giving way to others until the returned function is called. */
  readonly answer?: () => () => void;
}

/**
 * Over TLS; `svid` is undefined for a caller without a certificate and a refusal for one whose certificate is
 * not good.
 */
export interface TlsCaller extends Answered {
  readonly via: 'tls';
  readonly address: string;
  /** Verified against the bundle as it is now. Throws no_peer, expired_peer, chain, svid. */
  svid(now: Date): VerifiedSvid;
  readonly shownCertificate: boolean;
}

export interface UnixCaller extends Answered {
  readonly via: 'admin' | 'join';
  readonly address: string;
  readonly peer: LivePeer;
}

export type Caller = TlsCaller | UnixCaller;

/** Who asks for a verb of the operator: on the admin socket the kernel says who that is. */
export const askerOf = (caller: Caller): Asker => ({
  address: caller.address,
  local: caller.via === 'admin' ? caller.peer : undefined,
});

/** Whom a limit counts: a user of this machine, or an address and its network. */
export const limitKeys = (caller: Caller): ShareKeys =>
  caller.via === 'tls' ? shareKeys(caller.address) : { address: `uid ${caller.peer.uid}` };

/** Who has a rate of its own: a certified peer by its certificate, since others may have its address. */
export function callerKey(caller: Caller, now: Date): string {
  const { svid } = standingOf(caller, now);
  return svid === undefined ? limitKeys(caller).address : `certificate ${svid.serial}`;
}

/** Whom a goodbye makes wait: a certified peer by its certificate, so that no neighbour waits for what it did. */
export const slowKeys = (keys: ShareKeys, svid: Pick<VerifiedSvid, 'serial'> | undefined): ShareKeys =>
  svid === undefined ? keys : { address: `certificate ${svid.serial}` };

/** What its bounds are by; a stranger's certificate is missing, or no longer good. */
export type Standing =
  | { readonly kind: 'operator' | 'stranger' | 'known'; readonly svid?: undefined }
  | { readonly kind: 'known'; readonly svid: VerifiedSvid };

/** Never throws: a certificate that does not verify makes a stranger. */
export function standingOf(caller: Caller, now: Date): Standing {
  if (caller.via !== 'tls') return { kind: caller.via === 'admin' ? 'operator' : 'known' };
  if (!caller.shownCertificate) return { kind: 'stranger' };
  try {
    return { kind: 'known', svid: caller.svid(now) };
  } catch {
    return { kind: 'stranger' };
  }
}
