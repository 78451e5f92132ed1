/** Pushed states with the signatures that a CA gives them. */
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { bundleDigest, policyDigest, revocationsDigest } from '@chancery/shared/voucher/state-digest.ts';
import { signState } from '@chancery/shared/voucher/state-note.ts';
import type { VoucherLog } from './voucher.ts';

/** What has notes of the messages of the trust stream. */
interface Pushed {
  readonly bundle: Parameters<typeof bundleDigest>[0] & { readonly sequence: bigint };
  readonly policy: { readonly version: bigint; readonly resources: readonly string[] };
  readonly revocations: {
    readonly sequence: bigint;
    readonly list: Parameters<typeof revocationsDigest>[0];
  };
}

/** All three parts signed by this key; the policy for `subject`. */
export function signedState<T extends Pushed>(
  state: T,
  { verifier, privateKey }: Pick<VoucherLog, 'verifier' | 'privateKey'>,
  subject: SpiffeId,
) {
  const { bundle, policy, revocations } = state;
  const sign = (claim: Parameters<typeof signState>[0]): string => signState(claim, verifier, privateKey);
  const notes = {
    bundle: sign({ part: 'bundle', number: bundle.sequence, digest: bundleDigest(bundle) }),
    policy: sign({
      part: 'policy',
      number: policy.version,
      subject,
      digest: policyDigest(policy.resources),
    }),
    revocations: sign({
      part: 'revocations',
      number: revocations.sequence,
      digest: revocationsDigest(revocations.list),
    }),
  };
  return {
    ...state,
    bundle: { ...bundle, note: notes.bundle },
    policy: { ...policy, note: notes.policy },
    revocations: { ...revocations, note: notes.revocations },
  };
}
