/** Whether the identity of this process is revoked, which is why gateways end its connections. */
import { hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import { describeRevocation } from '@chancery/shared/revocation/revocation.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';

export interface OwnRevocationOptions {
  readonly svid: Source<Svid>;
  readonly revocations: Source<RevocationSet>;
  readonly clock: Clock;
  /** A revocation of this identity that the agent knows of and that is not in the set that it passed on. */
  readonly revocation?: () => Promise<string | undefined>;
}

/** The revocation in words. Undefined if there is none, or if nobody can say. */
export async function ownRevocation({
  svid,
  revocations,
  clock,
  revocation,
}: OwnRevocationOptions): Promise<string | undefined> {
  try {
    const { id, chain } = svid.current();
    const serial = hex(parseCertificate(chain[0] ?? new Uint8Array()).serial);
    const found = revocations.current().revoked({ id, serial }, clock.now());
    return found === undefined ? await revocation?.() : describeRevocation(found);
  } catch {
    // Neither is known before the first snapshot, or while the agent is away.
    return undefined;
  }
}
