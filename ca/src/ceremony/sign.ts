/** Signs a request for an intermediate with the offline root. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { equal, hex } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import { assembleCertificate } from '@chancery/shared/x509/compose/tbs.ts';
import { draftAuthority, validityWithin } from '../authority/draft.ts';
import type { Validity } from '../authority/profile.ts';
import { ensureInTime } from '../authority/records.ts';
import { drawSerial } from '../authority/serial.ts';
import { filesOf, writeNew } from './folder.ts';
import { OFFLINE_BACKDATE_SECONDS } from './make.ts';
import { type AuthorityRequest, readAuthorityRequest } from './request.ts';
import { type RootFile, writeCertificate } from './root.ts';

export interface SignOrder {
  readonly dir: string;
  readonly root: RootFile;
  /** The file of the request, whole. */
  readonly request: Uint8Array;
  readonly ttlSeconds: number;
  readonly now: Date;
  readonly random: (size: number) => Uint8Array;
}

/** What would be signed, which a person looks at before. */
export interface SigningPlan {
  readonly request: AuthorityRequest;
  readonly serial: string;
  readonly validity: Validity;
  readonly tbs: Uint8Array;
  /** Where the ceremony keeps the certificate. */
  readonly issued: string;
}

/**
 * Throws authority_request for a request that this root must not sign, csr_parse, csr_key, csr_pop, lint; and
 * authority_unfit if the root is not valid now.
 */
export function planSigning({ dir, root, request: bytes, ttlSeconds, now, random }: SignOrder): SigningPlan {
  const { certificate, trustDomain, algorithm } = root;
  const request = readAuthorityRequest(bytes, 'intermediate');
  const { spki, sha256 } = request.key;
  const of = `the request is of trust domain ${request.trustDomain}, this root is of ${trustDomain}`;
  ensure(request.trustDomain === trustDomain, 'authority_request', of);
  const own = 'the request is for the key of the root itself';
  ensure(!equal(spki, certificate.spki), 'authority_request', own);
  // By the key: so a request is signed once, and a lost answer is not another certificate.
  const issued = join(filesOf(dir).issued, `${hex(sha256)}.pem`);
  ensure(!existsSync(issued), 'authority_request', `this request was signed before: its answer is ${issued}`);
  ensureInTime(certificate, now);
  const validity = validityWithin(certificate, {
    now,
    ttlSeconds,
    backdateSeconds: OFFLINE_BACKDATE_SECONDS,
  });
  const serial = drawSerial(now, random, 0);
  const draft = { kind: 'intermediate', trustDomain, spki, crlUrl: undefined, serial, validity } as const;
  const tbs = draftAuthority({ ...draft, parent: certificate, algorithm });
  return { request, serial: hex(serial), validity, tbs, issued };
}

/** Signs, and keeps the certificate before it is given out; returns it in PEM. Throws file. */
export async function signPlan({ tbs, issued }: SigningPlan, signer: Signer): Promise<string> {
  const pem = writeCertificate(assembleCertificate(tbs, signer.algorithm, await signer.sign(tbs)));
  writeNew(issued, pem);
  return pem;
}
