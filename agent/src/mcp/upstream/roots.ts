/** The authorities of an https server, from a file of the operator. */
import { readPem, writePem } from '@chancery/shared/der/pem.ts';
import { inFile, readWholeFile } from '@chancery/shared/unix/files/whole-file.ts';

/** More than all roots of a system take. */
const MAX_BYTES = 4 * 1024 * 1024;
const LABEL = 'CERTIFICATE';

/**
 * What reads the PEM file, at each call, and gives nothing but certificates in PEM. Both throw config: a file that is
 * missing at the start is told at the start. Blocks.
 */
export function rootsIn(file: string): () => string {
  const read = (): string =>
    inFile(file, 'config', () => {
      const bytes = readWholeFile(file, { maxBytes: MAX_BYTES, code: 'config' });
      // OpenSSL would take a file without a certificate without a word, and then trust nobody.
      return readPem(bytes.toString('latin1'), LABEL, 'config')
        .map((der) => writePem(LABEL, der))
        .join('');
    });
  read();
  return read;
}
