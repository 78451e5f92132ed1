/** Waits for certificates that begin a little later by this machine's clock. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';

/** A certificate that is valid sooner than this is waited for: another one would be valid no sooner. */
const LONGEST_WAIT_SECONDS = 60;

/**
 * Where this clock is a little behind, a chain is not valid yet by it, though the CA and all others take it. It is used
 * when it is: until then nobody here could tell whether it is good. `onWait` gets when that will be, if it is waited
 * for. Throws certificate_parse, and the abort.
 */
export async function untilBegun(
  chain: readonly Uint8Array[],
  clock: Clock,
  signal: AbortSignal,
  onWait: (begins: Date) => void,
): Promise<void> {
  // Of the whole chain: an issuer may be as new as the leaf.
  const begins = new Date(Math.max(0, ...chain.map((der) => parseCertificate(der).notBefore.getTime())));
  const seconds = (begins.getTime() - clock.now().getTime()) / 1000;
  if (seconds <= 0 || seconds > LONGEST_WAIT_SECONDS) return;
  onWait(begins);
  await clock.sleepUntil(begins, signal);
}
