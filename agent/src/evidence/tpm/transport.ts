/** What a file and a socket have in common where a TPM is behind them. */

/** Carries one command and brings its whole response. Never called again before it has answered. */
export interface TpmTransport {
  exchange(command: Uint8Array): Promise<Uint8Array>;
  /** Ends what is in flight; idempotent. */
  destroy(): void;
}
