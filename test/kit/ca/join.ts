/** Ways to a certificate of a test CA. */

import { randomBytes } from 'node:crypto';
import type { EvidenceSource } from '@chancery/agent/evidence/evidence.ts';
import { unixEvidence } from '@chancery/agent/evidence/unix.ts';
import { unixTarget } from '@chancery/agent/svid/channel.ts';
import { join } from '@chancery/agent/svid/obtain.ts';
import {
  AttestationClient,
  type AttestRequest,
  IdentityClient,
  type Issued,
} from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import type { TestCa } from './ca.ts';
import { type Talk, talk } from './talk.ts';

/** Joins as an agent does: over the CA's socket with peer credentials, or over TLS with the given evidence. */
export async function joinAs(
  ca: TestCa,
  {
    id,
    evidence = unixEvidence(),
    instance = randomBytes(16),
  }: { id?: SpiffeId; evidence?: EvidenceSource; instance?: Uint8Array } = {},
): Promise<Svid> {
  const target = evidence.platform === 'unix' ? unixTarget(ca.joinSocket) : ca.target();
  const client = new AttestationClient(target.address, target.credentials, target.options);
  const { bundle, clock } = ca;
  try {
    return await join(client, {
      evidence,
      bundle,
      id,
      instance,
      clock,
      signal: AbortSignal.timeout(120_000),
    });
  } finally {
    client.close();
  }
}

export const freshCsr = async (): Promise<Buffer> => Buffer.from(await writeCsr(signerOf(generateKey())));

/** A hello that would be accepted on the CA's socket. */
export async function helloMessage(changes: Partial<HelloFields> = {}): Promise<AttestRequest> {
  const fields = {
    platform: 'unix',
    csr: await freshCsr(),
    evidence: Buffer.alloc(0),
    spiffeId: '',
    instance: randomBytes(16),
    succeeds: undefined,
    now: 0n,
  };
  return { message: { $case: 'hello', value: { ...fields, ...changes } } };
}

interface HelloFields {
  readonly platform: string;
  readonly csr: Buffer;
  readonly evidence: Buffer;
  readonly spiffeId: string;
  readonly instance: Buffer;
}

/** A raw Attest stream: on the CA's socket, or over TLS. */
export function openAttest(ca: TestCa, over: 'unix' | 'tls' = 'unix') {
  const target = over === 'unix' ? unixTarget(ca.joinSocket) : ca.target();
  const client = new AttestationClient(target.address, target.credentials, target.options);
  return opened(talk(client.attest()), client);
}

export function openRenew(ca: TestCa, svid: Svid | undefined) {
  const target = svid === undefined ? ca.target() : ca.target(svid);
  const client = new IdentityClient(target.address, target.credentials, target.options);
  return opened(talk(client.renew()), client);
}

function opened<Req, Res>(call: Talk<Req, Res>, client: { close(): void }) {
  const close = (): void => {
    call.cancel();
    client.close();
  };
  return { ...call, close };
}

/** One unary call for one more certificate. Throws the gRPC error. */
export async function issueOne(ca: TestCa, svid: Svid, csr?: Buffer): Promise<Issued> {
  const target = ca.target(svid);
  const client = new IdentityClient(target.address, target.credentials, target.options);
  const csrs = [csr ?? (await freshCsr())];
  try {
    return await new Promise<Issued>((resolve, reject) => {
      client.issueX509({ csrs, succeeds: Buffer.alloc(0), scope: '' }, (error, answer) => {
        const [issued] = answer?.issued ?? [];
        if (error !== null || issued === undefined) reject(error ?? new Error('nothing was issued'));
        else resolve(issued);
      });
    });
  } finally {
    client.close();
  }
}
