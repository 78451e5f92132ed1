/**
 * Whether the key of the CA's audit log stands behind the certificate that the CA shows: asked on each channel before
 * anything else. A thief of a root or an intermediate has such a certificate, and cannot answer.
 */
import { randomBytes } from 'node:crypto';
import { type ProveResponse, SignInClient } from '@chancery/proto/gen/chancery/v1/sign_in.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { readVerifierKey } from '@chancery/shared/tlog/note.ts';
import { NONCE_BYTES, verifyPeer } from '@chancery/shared/voucher/peer-note.ts';
import * as grpc from '@grpc/grpc-js';
import { olderCa } from '../flags.ts';
import type { Channel } from './channel.ts';

const CALL_MS = 30_000;
/** What OpenSSL says of a chain that ends in a root which is not known. */
const OTHER_ROOT =
  /unable to (get (local )?issuer|verify the first) certificate|self.signed certificate|certificate signature failure/;

/**
 * Resolves with the key of the log: `known`, or without it the one that the CA names. Throws wrong_peer for who cannot
 * prove it, unavailable, refused_by_ca.
 */
export async function proveCa(channel: Channel, known: string | undefined): Promise<string> {
  const { address, shown } = channel;
  const nonce = randomBytes(NONCE_BYTES);
  const { note, logKey } = await askFor(nonce, channel);
  try {
    const certificate = shown();
    ensure(certificate !== undefined, 'internal', `${address} was asked without a connection`);
    verifyPeer(note, { nonce, certificate }, readVerifierKey(known ?? logKey));
  } catch (error) {
    if (!isRefusal(error, 'tlog')) throw error;
    const says = `the key of the CA's audit log does not stand behind the certificate that ${address} shows`;
    const then = 'it may be a thief of an authority: use the admin socket on the machine of the CA';
    throw new IdentityError('wrong_peer', `${says} (${error.message}): ${then}`, { cause: error });
  }
  return known ?? logKey;
}

function askFor(nonce: Buffer, { address, credentials, options }: Channel): Promise<ProveResponse> {
  const client = new SignInClient(address, credentials, options);
  const deadline = new Date(Date.now() + CALL_MS);
  return new Promise<ProveResponse>((resolve, reject) => {
    client.prove({ nonce }, new grpc.Metadata(), { deadline }, (error, response) =>
      error ? reject(callFailed(address, error)) : resolve(response),
    );
  }).finally(() => client.close());
}

/** The CA's refusal, or why there is no answer and what to do. */
export function callFailed(address: string, error: grpc.ServiceError): IdentityError {
  const { code, details } = error;
  const { UNAVAILABLE, DEADLINE_EXCEEDED, UNIMPLEMENTED } = grpc.status;
  const because = { cause: error };
  if (code === UNIMPLEMENTED)
    return new IdentityError('unavailable', olderCa(`a call to ${address}`), because);
  if (code === UNAVAILABLE && OTHER_ROOT.test(details)) {
    const says = `the CA at ${address} has another root than your last sign-in or your --bundle`;
    const then = `chancery-ca login --ca ${address} --bundle FILE, which \`chancery-ca bundle\` prints there`;
    return new IdentityError('wrong_peer', `${says}: ${then}`, because);
  }
  if (code === UNAVAILABLE || code === DEADLINE_EXCEEDED)
    return new IdentityError('unavailable', `the CA at ${address} does not answer: ${details}`, because);
  const says = `the CA refused: ${details}; its audit log has the reason`;
  return new IdentityError('refused_by_ca', says, because);
}
