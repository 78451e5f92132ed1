/** What `ceremony sign` signs: the label of the file says which of these it is. */
import { labelOf } from '../../ceremony/block.ts';
import { LIST_REQUEST_LABEL, planListing, signList } from '../../ceremony/list.ts';
import { planSigning, type SignOrder, signPlan } from '../../ceremony/sign.ts';
import type { Facts } from '../../ceremony/transcript.ts';
import { planVouching, signVoucher } from '../../ceremony/voucher.ts';
import { listFacts, planFacts, voucherFacts } from './facts.ts';

/** Each try draws another serial number, and begins at another second. */
const lookedAt = ([name, value]: Facts[number]): Facts[number] => {
  if (name === 'serial') return [name, 'made when it is signed'];
  return [name, name === 'not before' || name === 'not after' ? `${value}, if it is signed now` : value];
};

type Signer = Parameters<typeof signPlan>[1];

/** A file that may be signed. */
export interface Signing {
  /** Of the transcript. */
  readonly name: string;
  readonly facts: Facts;
  /** What a look without a signature shows, where that differs: each try draws another serial number. */
  readonly looked?: Facts;
  /** Returns the answer, in PEM. Throws file. */
  sign(signer: Signer): Promise<string>;
}

/** Throws as `planSigning`, as `planVouching` for the certificate of another root, and as `planListing`. */
export function signingOf(order: SignOrder, path: string): Signing {
  const about = { path, bytes: order.request, root: order.root, now: order.now };
  if (labelOf(order.request) === 'CERTIFICATE') {
    const plan = planVouching(order);
    const name = `vouch-${plan.next.serial}`;
    return { name, facts: voucherFacts(plan, about), sign: (signer) => signVoucher(plan, signer) };
  }
  if (labelOf(order.request) === LIST_REQUEST_LABEL) {
    const plan = planListing(order);
    const name = `list-${plan.list.number.toString(16)}`;
    return { name, facts: listFacts(plan, about), sign: (signer) => signList(plan, signer) };
  }
  const plan = planSigning(order);
  return {
    name: `sign-${plan.serial}`,
    facts: planFacts(plan, about),
    looked: planFacts(plan, about).map(lookedAt),
    sign: (signer) => signPlan(plan, signer),
  };
}
