/** How an operator knows a TPM: SHA-256 of its endorsement key, as the CA's attribute `ek` has it. */

import { hash } from 'node:crypto';
import { TpmCommands } from '@chancery/agent/evidence/tpm/commands.ts';
import { openTpm } from '@chancery/agent/evidence/tpm/device.ts';
import { findEndorsementKey } from '@chancery/agent/evidence/tpm/endorsement.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';

export async function endorsementKeyName(device: string): Promise<string> {
  const opened = await openTpm(device);
  try {
    const { certificate } = await findEndorsementKey(new TpmCommands(opened));
    return hash('sha256', parseCertificate(certificate).spki, 'hex');
  } finally {
    await opened.close();
  }
}
