/** Connects to the CA: gRPC over TLS, verified by the CA's name and mark, or over the CA's own unix socket. */

import net from 'node:net';
import tls, { type PeerCertificate } from 'node:tls';
import { ensure, IdentityError, isRefusal, REFUSALS, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import { ensureNotRevoked, type RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { roleNamedBy } from '@chancery/shared/spiffe/reserved.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { hostAndPort } from '@chancery/shared/text/address.ts';
import { plainNetwork } from '@chancery/shared/text/network-sentence.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { chainFrom } from '@chancery/shared/tls/peer.ts';
import { hasMark, type VerifiedSvid, verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import * as grpc from '@grpc/grpc-js';

/** What a ts-proto client is made from. */
export interface Target {
  readonly address: string;
  readonly credentials: grpc.ChannelCredentials;
  readonly options: grpc.ClientOptions;
  /** The peer of the last handshake; undefined before the first, and always over a unix socket. */
  readonly ca?: () => VerifiedSvid | undefined;
}

/** What the agent knows when the CA answers. */
export interface Judge {
  /** The time at which validity is checked. */
  now(): Date;
  /** Undefined before the CA has sent any: at the first join, and for programs other than agents. */
  readonly revocations?: Source<RevocationSet>;
}

/** Keepalive notices within seconds a CA whose machine is gone. One channel each: a new SVID is a new connection. */
const OPTIONS: grpc.ClientOptions = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.enable_channelz': 0,
  'grpc.max_reconnect_backoff_ms': 5_000,
};

/** Without an SVID, only calls that need no certificate work. */
export function tlsTarget(address: string, bundle: Bundle, svid: Svid | undefined, judge: Judge): Target {
  const context = tls.createSecureContext(clientTls(svid, bundle));
  let ca: VerifiedSvid | undefined;
  const credentials = grpc.credentials.createFromSecureContext(context, {
    // OpenSSL has built a path by now; our own checks judge the name and the profile.
    checkServerIdentity: (_host, certificate) => {
      const verdict = verdictOn(certificate, bundle, judge);
      if (verdict instanceof Error) return verdict;
      ca = verdict;
      return undefined;
    },
  });
  return { address, credentials, options: { ...OPTIONS, ...serverName(address) }, ca: () => ca };
}

/** The file system says who may have made the socket. Answers are verified against the bundle all the same. */
export function unixTarget(path: string): Target {
  return { address: `unix:${path}`, credentials: grpc.credentials.createInsecure(), options: OPTIONS };
}

/** For the only call that needs no trust: its answer is checked against a pin. */
export function unverifiedTarget(address: string): Target {
  const credentials = grpc.credentials.createSsl(null, null, null, { rejectUnauthorized: false });
  return { address, credentials, options: { ...OPTIONS, ...serverName(address) } };
}

/** RFC 6066 section 3 has no IP addresses in SNI, and Node refuses them; the CA is known by its SPIFFE ID anyway. */
function serverName(address: string): grpc.ClientOptions {
  return net.isIP(hostAndPort(address).host) === 0 ? {} : { 'grpc.ssl_target_name_override': 'chancery-ca' };
}

function verdictOn(leaf: PeerCertificate, bundle: Bundle, judge: Judge): VerifiedSvid | Error {
  try {
    const peer = verifySvid(chainFrom(leaf), bundle, judge.now());
    ensureCa(peer, judge);
    return peer;
  } catch (error) {
    return refusalOf(error, 'wrong_peer', 'the certificate of the CA could not be read');
  }
}

/** A name, the mark that no workload's certificate has, and no revocation. Throws wrong_peer, revoked_peer. */
export function ensureCa(peer: VerifiedSvid, { now, revocations }: Judge): void {
  ensure(roleNamedBy(peer.id) === 'ca', 'wrong_peer', `the CA's address is answered by ${peer.id}`);
  const older = 'an older chancery-ca makes none: upgrade the CA first';
  ensure(hasMark(peer, 'ca'), 'wrong_peer', `the certificate of ${peer.id} has no mark of a CA; ${older}`);
  if (revocations !== undefined) ensureNotRevoked(revocations.current(), peer, now());
}

/** What grpc-js writes around the reason of a failed connection. */
const NOTES = /^No connection established\. Last error: (Error: )?|\. Resolution note:\s*$/g;
/** The details of grpc-js for a call that we ended because our own time was up. */
const CANCELLED_HERE = 'Cancelled on client';
/** What OpenSSL says of a chain that ends at no root of the bundle. */
const STRANGE_ROOT =
  /unable to (?:get (?:local )?issuer|verify the first) certificate|self-signed certificate/;
/** What OpenSSL and our own checks say of a certificate that begins later. */
const TOO_NEW = /certificate is not (?:yet valid|valid before)/;
const BRING =
  "unless that ends by itself, put what chancery-ca bundle prints into this agent's ca.bundle, remove its " +
  'dataDir/state.json and restart it';

/** The CA's refusal, by its public sentence, or unavailable. */
export function refusalFromCa(error: grpc.ServiceError): IdentityError {
  const away: readonly number[] = [
    grpc.status.UNAVAILABLE,
    grpc.status.DEADLINE_EXCEEDED,
    grpc.status.CANCELLED,
  ];
  if (error.details === CANCELLED_HERE)
    return new IdentityError('unavailable', 'the CA has not answered yet', { cause: error });
  const details = plainNetwork(error.details.replace(NOTES, ''));
  if (away.includes(error.code) && isSaidByCa(error))
    return new IdentityError('unavailable', `the CA cannot do this now: ${details}`, { cause: error });
  if (away.includes(error.code) && STRANGE_ROOT.test(details)) {
    const says = `what answers at the CA's address is under no root that this agent trusts (${details}); ${BRING}`;
    return new IdentityError('unavailable', says, { cause: error });
  }
  if (away.includes(error.code) && TOO_NEW.test(details)) {
    const says = `by this machine's clock, which may be behind, the CA's certificate is not valid yet (${details})`;
    return new IdentityError('unavailable', `${says}: unless that passes within a minute, set the clock`, {
      cause: error,
    });
  }
  if (away.includes(error.code))
    return new IdentityError('unavailable', `the CA does not answer: ${details}`, { cause: error });
  const status = grpc.status[error.code] ?? String(error.code);
  return new IdentityError('refused_by_ca', `the CA refused (${status}): ${details}`, { cause: error });
}

/** Whether the CA itself sent this: its public sentence for the status, which grpc-js never says. */
const isSaidByCa = ({ code, details }: grpc.ServiceError): boolean =>
  Object.values(REFUSALS).some(
    (each) =>
      grpc.status[each.grpc] === code &&
      (details === each.says || details.startsWith(`${each.says} (reference `)),
  );

/** Whether the CA does not take the caller for one of its own: with another certificate it may. */
export function isUnauthenticated(error: unknown): boolean {
  if (!isRefusal(error, 'refused_by_ca')) return false;
  return (error.cause as grpc.ServiceError).code === grpc.status.UNAUTHENTICATED;
}

/** Whether the CA refused the certificate that the call came with, and not what the call asked for. */
export function isRefusedCertificate(error: unknown): boolean {
  if (!isUnauthenticated(error)) return false;
  const { details } = (error as IdentityError).cause as grpc.ServiceError;
  return details.startsWith(REFUSALS.expired_peer.says);
}
