/** A certification: this key lives in the TPM of this AK. */
import { equal } from '../bytes.ts';
import { ensure } from '../errors.ts';
import type { Statement } from '../evidence/tpm.ts';
import { readCertify } from './attest.ts';
import { nameOf, type PublicArea } from './public-area.ts';
import { type Speaker, verifyStatement } from './statement.ts';

/** The name hashes the attributes, so what `key`'s template promises holds for the certified key. */
export function verifyCertify(certify: Statement, key: PublicArea, speaker: Speaker): void {
  const attest = readCertify(certify.attest);
  ensure(equal(attest.name, nameOf(key)), 'certify_name', 'the statement certifies another key');
  verifyStatement(attest, certify.signature, speaker);
}
