/** What became of a connection, in words that may go to a client: no address of what stands behind us. */
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { NETWORK_SENTENCES } from '@chancery/shared/text/network-sentence.ts';

/** Of a refusal its own words; of anything else the kind. */
export function reasonOf(error: unknown): string {
  if (isRefusal(error)) return error.message;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'HPE_HEADER_OVERFLOW') return `the headers of its answer are too large (${code})`;
  if (code.startsWith('HPE_')) return `it does not speak HTTP (${code})`;
  return `${NETWORK_SENTENCES[code] ?? 'the connection failed'}${code === '' ? '' : ` (${code})`}`;
}
