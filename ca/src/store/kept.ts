/** How long a certificate's record outlives it, in milliseconds. */
export const KEPT_EXPIRED_MS = 30 * 86_400_000;
