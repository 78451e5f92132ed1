/** Why a connection failed, in words that may go to a client: without the address of the server behind the gateway. */
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { NETWORK_SENTENCES } from '@chancery/shared/text/network-sentence.ts';

/** The message of a refusal; for other errors, their kind. */
export function reasonOf(error: unknown): string {
  if (isRefusal(error)) return error.message;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'HPE_HEADER_OVERFLOW') return `the headers of its answer are too large (${code})`;
  if (code.startsWith('HPE_')) return `it does not speak HTTP (${code})`;
  return `${NETWORK_SENTENCES[code] ?? 'the connection failed'}${code === '' ? '' : ` (${code})`}`;
}
