/** What `ceremony sign` signs: the label of the file says which of these it is. */
import { labelOf } from '../../ceremony/block.ts';
import { planSigning, type SignOrder, signPlan } from '../../ceremony/sign.ts';
import type { Facts } from '../../ceremony/transcript.ts';
import { planVouching, signVoucher } from '../../ceremony/voucher.ts';
import { planFacts, voucherFacts } from './facts.ts';

type Signer = Parameters<typeof signPlan>[1];

/** A file that may be signed. */
export interface Signing {
  /** Of the transcript. */
  readonly name: string;
  readonly facts: Facts;
  /** Returns the answer, in PEM. Throws file. */
  sign(signer: Signer): Promise<string>;
}

/** Throws as `planSigning`, and as `planVouching` for the certificate of another root. */
export function signingOf(order: SignOrder, path: string): Signing {
  const about = { path, bytes: order.request, root: order.root, now: order.now };
  if (labelOf(order.request) === 'CERTIFICATE') {
    const plan = planVouching(order);
    const name = `vouch-${plan.next.serial}`;
    return { name, facts: voucherFacts(plan, about), sign: (signer) => signVoucher(plan, signer) };
  }
  const plan = planSigning(order);
  return {
    name: `sign-${plan.serial}`,
    facts: planFacts(plan, about),
    sign: (signer) => signPlan(plan, signer),
  };
}
