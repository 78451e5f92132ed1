/**
 * How an offline root vouches for another root: it gets the certificate of the other one, as `ceremony export` writes
 * it, and gives back a signature that the CA puts into its audit log.
 */
import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { writePem } from '@chancery/shared/der/pem.ts';
import { DerReader } from '@chancery/shared/der/read.ts';
import * as der from '@chancery/shared/der/write.ts';
import { equal, hex } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Signer } from '@chancery/shared/keys/key.ts';
import { voucherStatement } from '@chancery/shared/voucher/voucher.ts';
import { ensureInTime } from '../authority/records.ts';
import { oneBlock } from './block.ts';
import { filesOf, writeNew } from './folder.ts';
import { type RootFile, readRoot } from './root.ts';

/** Of the answer. */
export const VOUCHER_LABEL = 'CHANCERY ROOT VOUCHER';

export interface VouchOrder {
  readonly dir: string;
  readonly root: RootFile;
  /** The file with the certificate of the other root, whole. */
  readonly request: Uint8Array;
  readonly now: Date;
}

/** What would be vouched for, which a person looks at before. */
export interface VouchPlan {
  readonly by: RootFile;
  readonly next: RootFile;
  /** Where the ceremony keeps the answer. */
  readonly issued: string;
}

const sha256 = (bytes: Uint8Array): Uint8Array => hash('sha256', bytes, 'buffer');

/**
 * Throws authority_request for a root that this one must not vouch for; as `readRoot` for any other file;
 * authority_unfit if one of the two is not valid now.
 */
export function planVouching({ dir, root, request, now }: VouchOrder): VouchPlan {
  const next = readRoot(request);
  const of = `the other root is of trust domain ${next.trustDomain}, this root is of ${root.trustDomain}`;
  ensure(next.trustDomain === root.trustDomain, 'authority_request', of);
  const isOwn = equal(next.certificate.spki, root.certificate.spki);
  ensure(!isOwn, 'authority_request', 'the other root has the key of this one: it needs no voucher');
  for (const { certificate } of [root, next]) ensureInTime(certificate, now);
  const issued = join(filesOf(dir).issued, `voucher-${hex(sha256(next.certificate.der))}.pem`);
  const says = `this root was vouched for before: the answer is ${issued}`;
  ensure(!existsSync(issued), 'authority_request', says);
  return { by: root, next, issued };
}

/** Signs, and keeps the answer before it is given out; returns it in PEM. Throws file. */
export async function signVoucher({ by, next, issued }: VouchPlan, signer: Signer): Promise<string> {
  const [own, other] = [by.certificate.der, next.certificate.der];
  const signature = await signer.sign(voucherStatement(by.trustDomain, own, other));
  const parts = [sha256(own), sha256(other), signature].map((each) => der.octets(each));
  const pem = writePem(VOUCHER_LABEL, der.sequence(...parts));
  writeNew(issued, pem);
  return pem;
}

/** Whose word it is, and for whom: SHA-256 of both certificates. Nothing of it is verified. */
export interface VoucherAnswer {
  readonly by: Uint8Array;
  readonly next: Uint8Array;
  readonly signature: Uint8Array;
}

/** Throws authority_answer. */
export function readVoucherAnswer(bytes: Uint8Array): VoucherAnswer {
  const outer = new DerReader(oneBlock(bytes, VOUCHER_LABEL, 'authority_answer'), 'authority_answer');
  const body = outer.sequence('voucher');
  const [by, next] = [body.octets('root'), body.octets('other root')];
  const signature = body.octets('signature');
  body.done('voucher');
  outer.done('voucher');
  return { by, next, signature };
}
