/**
 * Gets one SVID: a fresh key, its CSR, the platform's evidence, and a look at all that comes back before it
 * is used.
 */
import type { KeyObject } from 'node:crypto';
import type {
  AttestationClient,
  AttestRequest,
  AttestResponse,
  IdentityClient,
  Issued,
} from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { asBuffer, equal } from '@chancery/shared/bytes.ts';
import type { Clock } from '@chancery/shared/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/errors.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/tls/source.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { verifySvid } from '@chancery/shared/x509/svid.ts';
import type * as grpc from '@grpc/grpc-js';
import type { EvidenceSource, Exchange } from '../evidence/evidence.ts';
import { refusalFromCa } from './channel.ts';

export interface ObtainRequest {
  readonly evidence: EvidenceSource;
  readonly bundle: Bundle;
  /** The SPIFFE ID asked for, or the one being renewed; undefined takes the CA's default. */
  readonly id: SpiffeId | undefined;
  /** 16 random bytes that name this process to the CA. */
  readonly instance: Uint8Array;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** One whole exchange takes a TPM about 100 ms; a CA that says nothing for this long is treated as away. */
const EXCHANGE_MS = 30_000;

type Call = grpc.ClientDuplexStream<AttestRequest, AttestResponse>;

export const join = (client: AttestationClient, request: ObtainRequest): Promise<Svid> =>
  obtain((options) => client.attest(options), request);

export const renew = (client: IdentityClient, request: ObtainRequest): Promise<Svid> =>
  obtain((options) => client.renew(options), request);

async function obtain(open: (options: grpc.CallOptions) => Call, request: ObtainRequest): Promise<Svid> {
  const key = generateKey();
  const signer = signerOf(key);
  const csr = await writeCsr(signer);
  const exchange = await request.evidence.begin(signer.spki, request.signal);
  const call = open({ deadline: Date.now() + EXCHANGE_MS });
  const cancel = () => call.cancel();
  request.signal.addEventListener('abort', cancel, { once: true });
  try {
    const { id = '', instance, evidence } = request;
    const hello = { platform: evidence.platform, csr: asBuffer(csr), evidence: asBuffer(exchange.opening) };
    call.write({
      message: { $case: 'hello', value: { ...hello, spiffeId: id, instance: asBuffer(instance) } },
    });
    const issued = await converse(call, exchange, signer.spki, request);
    return acceptIssued(issued, key, signer.spki, request);
  } finally {
    request.signal.removeEventListener('abort', cancel);
    await exchange.end();
    call.cancel();
  }
}

function converse(call: Call, exchange: Exchange, spki: Uint8Array, request: ObtainRequest): Promise<Issued> {
  return new Promise((resolve, reject) => {
    const answer = async ({ message }: AttestResponse): Promise<void> => {
      if (message?.$case === 'issued') return resolve(message.value);
      ensure(
        message?.$case === 'challenge',
        'message_parse',
        'the CA sent a message that is neither challenge nor issued',
      );
      const { nonce, question } = message.value;
      const binding = attestationBinding(request.bundle.trustDomain, nonce, spki);
      const evidence = await exchange.answer(question, binding);
      call.write({ message: { $case: 'evidence', value: { nonce, evidence: asBuffer(evidence) } } });
    };
    call.on('data', (response: AttestResponse) => answer(response).catch(reject));
    call.on('error', (error: grpc.ServiceError) => reject(refusalFromCa(error)));
    call.on('end', () =>
      reject(new IdentityError('unavailable', 'the CA ended the exchange without a certificate')),
    );
  });
}

/** The certificate must be for our key, for the name we expect, of our trust domain, and good now. */
export function acceptIssued(
  issued: Issued,
  key: KeyObject,
  spki: Uint8Array,
  { bundle, id, clock }: Pick<ObtainRequest, 'bundle' | 'id' | 'clock'>,
): Svid {
  const { id: named, certificate } = verifySvid(issued.chain, bundle, clock.now());
  ensure(equal(certificate.spki, spki), 'svid', 'the CA certified another key than ours');
  ensure(id === undefined || named === id, 'svid', `the CA certified ${named}, expected ${id}`);
  const { notBefore, notAfter } = certificate;
  const renewAfter = new Date(Number(issued.renewAfter) * 1000);
  ensure(
    renewAfter > notBefore && renewAfter < notAfter,
    'svid',
    'the CA would have us renew outside the lifetime',
  );
  return { id: named, chain: issued.chain, key, notBefore, notAfter, renewAfter };
}
