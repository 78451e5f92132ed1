/** A revocation list that may be used for longer than certificates live. */
import { parseDuration } from '@chancery/shared/config/duration.ts';
import type { Resource } from '../registry/resources.ts';

/** Of the config. */
export interface ListLife {
  readonly listen?: string | undefined;
  /** Seconds. */
  readonly ttl: number;
}

/**
 * A warning if lists are served over HTTP whose nextUpdate is later than any certificate lives: a client that keeps one
 * for so long learns of no revocation before the certificate has ended (RFC 5280 section 5.1.2.5).
 */
export function staleListWarning(
  { listen, ttl }: ListLife,
  resources: readonly Resource[],
): string | undefined {
  const lives = resources.flatMap((each) => (each.kind === 'Identity' ? [parseDuration(each.x509.ttl)] : []));
  const longest = Math.max(...lives);
  if (listen === undefined || lives.length === 0 || ttl <= longest) return undefined;
  return (
    `crl.ttl is ${ttl} s, and no certificate lives longer than ${longest} s: a client that keeps a list until its ` +
    'nextUpdate learns of no revocation before the certificate has ended. Set crl.ttl to less than the longest x509.ttl'
  );
}
