/** What a file and a socket in front of a TPM have in common. */

/** Sends one command and returns its whole response. Called again only after it has answered. */
export interface TpmTransport {
  /** Sends one command and resolves with its whole response. */
  exchange(command: Uint8Array): Promise<Uint8Array>;
  /** Ends an open command; idempotent. */
  destroy(): void;
}
