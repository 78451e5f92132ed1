/** What a rotation waits for that roots sign on their own machines, and what is taken of it. */
import { hash } from 'node:crypto';
import { equal } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { type Voucher, voucherOf, voucherStatement } from '@chancery/shared/voucher/voucher.ts';
import { IDENTIFIER, isSignedBy } from '@chancery/shared/x509/algorithm.ts';
import { parseCertificate, publicKeyOf } from '@chancery/shared/x509/certificate.ts';
import type { AuthorityDeps } from '../authority/certify.ts';
import { freshIntermediate, lastIntermediate, rootOf } from '../authority/records.ts';
import { makeIntermediate } from '../authority/settle.ts';
import { readVoucherAnswer } from '../ceremony/voucher.ts';
import { isOffline } from '../keys/offline.ts';
import type { AuthorityRecord, StoredAuthority } from '../store/store.ts';
import type { Standing } from './stage.ts';

type ReadyDeps = Pick<AuthorityDeps, 'keys' | 'clock'>;

/** A sentence for each signature that the next step needs and that has not come. */
export async function missing(
  records: readonly StoredAuthority[],
  { stage, active, other }: Standing,
  deps: ReadyDeps,
): Promise<readonly string[]> {
  if (other === undefined) return [];
  if (stage === 'prepared' && isOffline(active))
    return [`root ${active.serial} is offline, and has to vouch for root ${other.serial}: ${CARRY}`];
  if (stage !== 'published' || !isOffline(other)) return [];
  if ((await readyUnder(records, other, deps)) !== undefined) return [];
  return [`root ${other.serial} is offline, and has to sign an intermediate: ${CARRY}`];
}

const CARRY = 'carry the request to it (chancery-ca authorities request), and import the answer';

/** An intermediate that can sign under this root without its key; undefined if there is none. */
export async function readyUnder(
  records: readonly StoredAuthority[],
  root: StoredAuthority,
  { keys, clock }: ReadyDeps,
): Promise<StoredAuthority | undefined> {
  const choice = { now: clock.now(), keys: keys.intermediate };
  const fresh = await freshIntermediate(records, root, choice);
  return fresh ?? (isOffline(root) ? lastIntermediate(records, root, choice) : undefined);
}

/** What signs under this root from now on, made if the root is at hand. Throws rotation, and as `makeIntermediate`. */
export async function intermediateUnder(
  records: readonly StoredAuthority[],
  root: StoredAuthority,
  deps: AuthorityDeps,
): Promise<AuthorityRecord> {
  const ready = await readyUnder(records, root, deps);
  if (ready !== undefined) return ready;
  const says = `root ${root.serial} is offline, and no intermediate of it is valid`;
  ensure(!isOffline(root), 'rotation', `${says}: it cannot sign before it has made one`);
  return makeIntermediate(root, deps);
}

/** The word of the active root, which is offline, for a root that is prepared. */
export interface TakenVoucher {
  readonly root: StoredAuthority;
  readonly voucher: Voucher;
}

/** Verifies the answer. Throws authority_answer. */
export function takeVoucher(
  bytes: Uint8Array,
  records: readonly StoredAuthority[],
  { trustDomain }: Pick<AuthorityDeps, 'trustDomain'>,
): TakenVoucher {
  const CODE = 'authority_answer';
  const { by, next, signature } = readVoucherAnswer(bytes);
  const active = rootOf(records);
  const isBy = equal(by, nameOf(active));
  ensure(isBy, CODE, `the voucher is not of root ${active.serial}, which signs now`);
  const root = records.find((each) => each.kind === 'root' && equal(next, nameOf(each)));
  ensure(root !== undefined, CODE, 'the voucher is for a root that this CA does not know');
  const { serial, state } = root;
  const says = `the voucher is for root ${serial}, which is ${state} and waits for none`;
  ensure(state === 'prepared', CODE, says);
  const key = parseCertificate(active.certificate);
  const algorithm = IDENTIFIER[active.algorithm];
  const data = voucherStatement(trustDomain, active.certificate, root.certificate);
  const isSigned = isSignedBy({ algorithm, data, signature }, publicKeyOf(key));
  ensure(isSigned, CODE, 'the signature of the voucher is not that of the root');
  return { root, voucher: voucherOf(active.certificate, root.certificate, signature) };
}

const nameOf = ({ certificate }: StoredAuthority): Uint8Array => hash('sha256', certificate, 'buffer');
