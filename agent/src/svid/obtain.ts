/** Gets one SVID: makes a key and a CSR, sends the platform's evidence, and checks everything that comes back. */
import type { KeyObject } from 'node:crypto';
import type {
  AttestationClient,
  AttestRequest,
  AttestResponse,
  IdentityClient,
  Issued,
} from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { successionStatement } from '@chancery/shared/evidence/succession.ts';
import { asBuffer, equal } from '@chancery/shared/ground/bytes.ts';
import { type Clock, unixSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import { generateKey, type Signer, signerOf } from '@chancery/shared/keys/key.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { type VerifiedSvid, verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import type * as grpc from '@grpc/grpc-js';
import type { EvidenceSource, Exchange } from '../evidence/evidence.ts';
import { untilBegun } from './begun.ts';
import { refusalFromCa } from './channel.ts';
import type { KeylessSvid } from './life.ts';
import { describeSkew, isSkewed, type SkewWarning, skewOf } from './skew.ts';

export interface ObtainRequest {
  readonly evidence: EvidenceSource;
  readonly bundle: Bundle;
  /** The SPIFFE ID asked for, or the one being renewed; undefined takes the CA's default. */
  readonly id: SpiffeId | undefined;
  /** 16 random bytes that name this process to the CA. */
  readonly instance: Uint8Array;
  readonly clock: Clock;
  /** Checked for the CA's own certificate; undefined if none are known yet. */
  readonly revocations?: Source<RevocationSet>;
  /**
   * Gets the authorities that come with the answer, and resolves with the bundle that the answer is verified against;
   * without it that is `bundle`.
   */
  readonly learn?: ((authorities: readonly Uint8Array[]) => Promise<Bundle>) | undefined;
  /** Gets the difference of the clocks. */
  readonly skew?: SkewWarning;
  /** Called where the certificate has come and is not valid yet by this clock, with what is waited for. */
  readonly onWait?: ((why: IdentityError) => void) | undefined;
  readonly signal: AbortSignal;
  /** The certificate that the new one replaces, if a join has to name it. */
  readonly succeeds?: Svid | undefined;
}

/** An exchange with a TPM takes about 100 ms; a CA that is silent for this long is treated as away. */
const EXCHANGE_MS = 30_000;

type AttestStream = grpc.ClientDuplexStream<AttestRequest, AttestResponse>;

/**
 * Joins, with evidence and a key in memory. Takes at most 30 s, and up to a minute more where this machine's clock is
 * behind the CA's. Throws refused_by_ca, unavailable, svid,
 * expired_peer, message_parse, and what the evidence throws.
 */
export const join = (client: AttestationClient, request: ObtainRequest): Promise<Svid> =>
  withFreshKey((options) => client.attest(options), request);

/** Renews over mutual TLS, with fresh evidence and a new key in memory. Throws what `join` throws. */
export const renew = (client: IdentityClient, request: ObtainRequest): Promise<Svid> =>
  withFreshKey((options) => client.renew(options), request);

/** For a key that lives elsewhere than in memory. */
export const joinWith = (
  client: AttestationClient,
  signer: Signer,
  request: ObtainRequest,
): Promise<KeylessSvid> => obtain((options) => client.attest(options), signer, request);

type Open = (options: grpc.CallOptions) => AttestStream;

/**
 * A key without a certificate is used again in the next attempt: the CA may have bound a token to it, and there may be
 * no other token for minutes.
 */
const uncertified = new WeakMap<EvidenceSource, KeyObject>();

async function withFreshKey(open: Open, request: ObtainRequest): Promise<Svid> {
  const key = uncertified.get(request.evidence) ?? generateKey();
  uncertified.set(request.evidence, key);
  const certified = await obtain(open, signerOf(key), request);
  uncertified.delete(request.evidence);
  return { ...certified, key };
}

async function obtain(open: Open, signer: Signer, request: ObtainRequest): Promise<KeylessSvid> {
  const issued = await issuedFor(open, signer, request);
  const ahead = skewOf(request.clock.now(), issued.now);
  request.skew?.hear(ahead);
  const bundle = (await request.learn?.(issued.bundle)) ?? request.bundle;
  const { clock, onWait, signal } = request;
  await untilBegun(issued.chain, clock, signal, (begins) => {
    const says = `the certificate is not valid before ${begins.toISOString()}, and is used then`;
    const why = ahead === undefined ? says : `${describeSkew(ahead)}: ${says}`;
    onWait?.(new IdentityError('expired_peer', why));
  });
  return acceptIssued(issued, signer.spki, { ...request, bundle, ahead });
}

async function issuedFor(open: Open, signer: Signer, request: ObtainRequest): Promise<Issued> {
  const csr = await writeCsr(signer);
  const exchange = await request.evidence.begin(signer.spki, request.signal);
  const call = open({ deadline: Date.now() + EXCHANGE_MS });
  const cancel = () => call.cancel();
  request.signal.addEventListener('abort', cancel, { once: true });
  try {
    const { id = '', instance, evidence } = request;
    const hello = { platform: evidence.platform, csr: asBuffer(csr), evidence: asBuffer(exchange.opening) };
    const succeeds = await proofOf(request, signer.spki);
    const now = unixSeconds(request.clock.now());
    const whose = { spiffeId: id, instance: asBuffer(instance), succeeds, now };
    call.write({ message: { $case: 'hello', value: { ...hello, ...whose } } });
    return await converse(call, exchange, signer.spki, request);
  } finally {
    request.signal.removeEventListener('abort', cancel);
    call.cancel();
    // The failure of the exchange matters more. A device that could not be freed is freed before the next one.
    await exchange.end().catch(() => {});
  }
}

/** Signs with the old key for the new one. */
async function proofOf({ succeeds, bundle }: ObtainRequest, spki: Uint8Array) {
  if (succeeds === undefined) return undefined;
  const { serial } = parseCertificate(succeeds.chain[0] ?? new Uint8Array());
  const old = signerOf(succeeds.key);
  const signature = await old.sign(successionStatement(bundle.trustDomain, serial, spki));
  return { serial: asBuffer(serial), publicKey: asBuffer(old.spki), signature: asBuffer(signature) };
}

function converse(
  call: AttestStream,
  exchange: Exchange,
  spki: Uint8Array,
  request: ObtainRequest,
): Promise<Issued> {
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

interface Expected extends Pick<ObtainRequest, 'bundle' | 'id' | 'clock'> {
  /** Seconds by which this clock was ahead as the answer came; undefined if the CA does not tell its time. */
  readonly ahead: number | undefined;
}

/** Checks that the certificate is for our key and the expected name, of our trust domain, and valid now. */
export function acceptIssued(
  issued: Issued,
  spki: Uint8Array,
  { bundle, id, clock, ahead }: Expected,
): KeylessSvid {
  const now = clock.now();
  const { id: named, certificate } = verified(issued, bundle, { now, ahead });
  ensure(equal(certificate.spki, spki), 'svid', 'the CA certified another key than ours');
  ensure(id === undefined || named === id, 'svid', `the CA certified ${named}, expected ${id}`);
  const { notBefore, notAfter } = certificate;
  const asked = new Date(Number(issued.renewAfter) * 1000);
  ensure(
    asked > notBefore && asked < notAfter,
    'svid',
    "the CA's time for renewal is outside the certificate's lifetime",
  );
  const renewAfter = ahead === undefined ? asked : renewalBy(issued, asked, { now, notAfter });
  return { id: named, chain: issued.chain, notBefore, notAfter, renewAfter };
}

interface Moment {
  readonly now: Date;
  /** Seconds by which this clock is ahead of the CA's. */
  readonly ahead: number | undefined;
}

function verified(issued: Issued, bundle: Bundle, { now, ahead }: Moment): VerifiedSvid {
  try {
    return verifySvid(issued.chain, bundle, now);
  } catch (error) {
    if (!isSkewed(ahead) || !isRefusal(error, 'expired_peer')) throw error;
    throw new IdentityError('expired_peer', `${describeSkew(ahead)}: ${error.message}`, { cause: error });
  }
}

/** If this clock leaves less than 1/60 of the wait asked for, the certificate counts as expired. */
const LEAST_SHARE = 1 / 60;

/**
 * The time of renewal: not before the time that the CA names, and not sooner from now than the CA's wait, because a
 * clock that is ahead would make the agent renew in a loop. At most half of the remaining time, so that the certificate
 * is still valid. Throws expired_peer.
 */
function renewalBy(issued: Issued, asked: Date, { now, notAfter }: { now: Date; notAfter: Date }): Date {
  const wait = Number(issued.renewAfter - issued.now) * 1000;
  const left = notAfter.getTime() - now.getTime();
  const says = `the new certificate ends in ${Math.ceil(left / 1000)} s by this machine's clock: set the clock`;
  ensure(left >= wait * LEAST_SHARE, 'expired_peer', says);
  return new Date(Math.max(asked.getTime(), now.getTime() + Math.min(wait, left / 2)));
}
