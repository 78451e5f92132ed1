/** What became of a connection, in words that may go to a client: no address of what stands behind us. */
import { isRefusal } from '@chancery/shared/errors.ts';

/** Of Node and OpenSSL. */
const SAYS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  ETIMEDOUT: 'the connection timed out',
  EHOSTUNREACH: 'there is no route to its host',
  ENETUNREACH: 'there is no route to its network',
  ENOTFOUND: 'its name has no address',
  EAI_AGAIN: 'its name could not be looked up',
  ENOENT: 'its socket does not exist',
  EACCES: 'its socket may not be opened',
  ECONNABORTED: 'the connection was aborted',
};

/** Of a refusal its own words; of anything else the kind. */
export function reasonOf(error: unknown): string {
  if (isRefusal(error)) return error.message;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code.startsWith('HPE_')) return `it does not speak HTTP (${code})`;
  return `${SAYS[code] ?? 'the connection failed'}${code === '' ? '' : ` (${code})`}`;
}
