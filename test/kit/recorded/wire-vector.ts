/** A recording of what agents and the CA said to each other, as bytes. */
import { AttestationClient, IdentityClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';

/** With what reads and writes their messages today. */
export const METHODS = {
  Attest: AttestationClient.service.attest,
  IssueX509: IdentityClient.service.issueX509,
  Watch: TrustClient.service.watch,
} as const;

export interface Recorded {
  readonly method: keyof typeof METHODS;
  readonly from: 'agent' | 'ca';
  /** Hexadecimal. */
  readonly bytes: string;
}

export interface WireVector {
  readonly messages: readonly Recorded[];
}
