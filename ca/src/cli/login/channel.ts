/** gRPC to a CA on another machine: over TLS 1.3, and only to a server with the name and the mark of the CA. */
import net from 'node:net';
import tls from 'node:tls';
import { equal } from '@chancery/shared/ground/bytes.ts';
import { ensure, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { roleNamedBy } from '@chancery/shared/spiffe/reserved.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { hostAndPort } from '@chancery/shared/text/address.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import { chainFrom } from '@chancery/shared/tls/peer.ts';
import { hasMark, verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import * as grpc from '@grpc/grpc-js';

export interface Channel {
  readonly address: string;
  readonly credentials: grpc.ChannelCredentials;
  readonly options: grpc.ClientOptions;
  /** The leaf that the CA has shown, X.509 DER; undefined before the first connection. */
  readonly shown: () => Uint8Array | undefined;
}

/**
 * Without an SVID, only calls that anyone may make are answered. All connections go to the certificate that was shown
 * first, so that what is proved of it holds for each answer.
 */
export function channelTo(address: string, bundle: Bundle, svid: Svid | undefined): Channel {
  const context = tls.createSecureContext(clientTls(svid, bundle));
  let shown: Uint8Array | undefined;
  const credentials = grpc.credentials.createFromSecureContext(context, {
    checkServerIdentity: (_host, certificate) => {
      try {
        const chain = chainFrom(certificate);
        const peer = verifySvid(chain, bundle, new Date());
        const isCa = roleNamedBy(peer.id) === 'ca' && hasMark(peer, 'ca');
        ensure(isCa, 'wrong_peer', `${address} is answered by ${peer.id}, which is no CA`);
        shown ??= chain[0];
        const isSame = equal(chain[0] ?? new Uint8Array(), shown ?? new Uint8Array());
        ensure(isSame, 'wrong_peer', `${address} shows another certificate than before: try again`);
        return undefined;
      } catch (error) {
        return refusalOf(error, 'wrong_peer', 'the certificate of the CA could not be read');
      }
    },
  });
  // RFC 6066 section 3 has no IP addresses in SNI; the CA is known by its SPIFFE ID anyway.
  const named =
    net.isIP(hostAndPort(address).host) === 0 ? {} : { 'grpc.ssl_target_name_override': 'chancery-ca' };
  return { address, credentials, options: { 'grpc.enable_retries': 0, ...named }, shown: () => shown };
}
